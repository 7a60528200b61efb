/*
 * stream: one connection, plain or TLS, never blocking.
 *
 * A stream owns its descriptor and its SSL, and stays in its place. It has no
 * buffers of its own: what could not be written stays with the caller, who
 * tries again when libevent says so. TLS may have to read in order to write and
 * the other way round; stream_events() turns what the caller wants to do into
 * what to wait for.
 */
#ifndef PROXY_STREAM_H
#define PROXY_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <openssl/ssl.h>

#include "lib/buf.h"
#include "proxy/wire.h"

enum stream_result {
	STREAM_DONE,  /* something was moved */
	STREAM_AGAIN, /* nothing could be: wait */
	STREAM_END,   /* the peer closed its side in order */
	STREAM_FAILED /* errno, or stream_why() */
};

struct stream {
	int fd;             /* owned; -1: closed */
	SSL *ssl;           /* owned; NULL: plain */
	struct wire wire;   /* of TLS */
	bool greets;        /* set by the owner: it speaks first behind TLS */
	bool read_writes;   /* to read on, TLS waits for writability */
	bool write_reads;   /* to write on, TLS waits for readability */
	bool finished;      /* the peer was told that nothing more comes */
	const char *failed; /* static text, or NULL */
};

/* Takes the descriptor, which must be non-blocking. */
void stream_open(struct stream *stream, int fd);
/* Closes at once. Also takes a stream that is closed. */
void stream_close(struct stream *stream);

/* Begins TLS as a server or client of that context; 0, or -1 without memory. */
int stream_tls_server(struct stream *stream, SSL_CTX *context);
/* name: to be sent and verified; borrowed for the call. */
int stream_tls_client(
    struct stream *stream, SSL_CTX *context, const char *name);
/* DONE when the handshake is through. */
enum stream_result stream_handshake(struct stream *stream);

/* At most size octets; *moved says how many on DONE. */
enum stream_result stream_read(
    struct stream *stream, void *data, size_t size, size_t *moved);
enum stream_result stream_write(
    struct stream *stream, const void *data, size_t size, size_t *moved);
/* Writes what a buffer holds. DONE when it is empty then. */
enum stream_result stream_flush(struct stream *stream, struct buf *out);
/* Reads at most size octets to the end of a buffer; FAILED also when it is
 * full. */
enum stream_result stream_fill(
    struct stream *stream, struct buf *in, size_t size);
/* TLS has just read all that there was; the next octet brings an event. */
bool stream_is_empty(const struct stream *stream);
/* Octets that TLS has decrypted already, which no event will announce. */
bool stream_has_pending(const struct stream *stream);
/* TLS says so to its peer; for a connection that is closed next. */
void stream_say_goodbye(struct stream *stream);
/* Says to the peer that nothing more comes; reading goes on. */
void stream_finish(struct stream *stream);

/* EV_READ and EV_WRITE as libevent should wait for them. */
short stream_events(
    const struct stream *stream, bool wants_read, bool wants_write);

/* The peer's certificate did not hold. */
bool stream_is_untrusted(const struct stream *stream);
/* Why the last call failed; static text. */
const char *stream_why(const struct stream *stream);

#endif
