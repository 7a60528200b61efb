/*
 * wire: what lies between OpenSSL and the socket of a stream.
 *
 * OpenSSL's own BIO for sockets reads on until the system says that there is
 * nothing, and sends each message for itself. This one knows that a read which
 * brought less than it asked for has emptied the socket, and lets the system
 * hold back small messages that something else follows at once: tickets before
 * the greeting, the alert before the end.
 */
#ifndef PROXY_WIRE_H
#define PROXY_WIRE_H

#include <stdbool.h>

struct ssl_st;

/* Part of a stream. */
struct wire {
	int fd;     /* borrowed from the stream */
	bool empty; /* no more is there to be read, unless an event tells */
	bool spoke; /* something was sent already */
	bool more;  /* set by the owner: what is sent now is held back */
	bool held;  /* and was */
};

/* Gives OpenSSL the wire, which must outlive it in its place. 0, or -1 without
 * memory. */
int wire_attach(struct wire *wire, struct ssl_st *ssl, int fd);
/* Sends what is held back, if anything is. */
void wire_push(struct wire *wire);

#endif
