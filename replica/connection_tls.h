/*
 * connection_tls: TLS of one connection to a directory server, without
 * blocking.
 *
 * libldap's own handshake blocks whoever begins it. Here OpenSSL makes it on
 * the descriptor, step by step, and libldap then speaks through a layer of ours
 * below its messages. The server's certificate has to be good and for the host
 * of the URL (RFC 4513 section 3.1.3). One thread.
 */
#ifndef REPLICA_CONNECTION_TLS_H
#define REPLICA_CONNECTION_TLS_H

#include <stddef.h>

#include <ldap.h>

struct connection_tls;

/* Names of files in PEM, read when a connection begins TLS; empty: none. */
struct connection_tls_files {
	const char *ca_file; /* empty: the authorities of the system */
	const char *certificate, *key; /* our own */
};

enum connection_tls_result {
	CONNECTION_TLS_DONE,
	CONNECTION_TLS_READ,  /* go on when the descriptor can be read */
	CONNECTION_TLS_WRITE, /* or written */
	CONNECTION_TLS_FAILED
};

/*
 * fd: connected and non-blocking; stays the caller's. host: a name or an
 * address that the certificate has to be for. NULL with the reason in why.
 */
struct connection_tls *connection_tls_new(int fd, const char *host,
    const struct connection_tls_files *files, char *why, size_t why_size);
/* Not before the LDAP that it was attached to is gone. */
void connection_tls_free(struct connection_tls **tls);

/* As far as it goes; FAILED with the reason in why. */
enum connection_tls_result connection_tls_handshake(
    struct connection_tls *tls, char *why, size_t why_size);

/* All that libldap says and hears goes through it from now on. 0, or -1. */
int connection_tls_attach(struct connection_tls *tls, LDAP *ldap);

#endif
