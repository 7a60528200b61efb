#include "proxy/stream.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <openssl/err.h>

void
stream_open(struct stream *stream, int fd)
{
	*stream = (struct stream){ .fd = fd };
}

void
stream_close(struct stream *stream)
{
	if (stream->ssl)
		SSL_free(stream->ssl);
	if (stream->fd >= 0)
		close(stream->fd);
	*stream = (struct stream){ .fd = -1 };
}

static int
tls_begin(struct stream *stream, SSL_CTX *context)
{
	stream->ssl = SSL_new(context);
	if (!stream->ssl)
		return -1;
	return wire_attach(&stream->wire, stream->ssl, stream->fd);
}

int
stream_tls_server(struct stream *stream, SSL_CTX *context)
{
	if (tls_begin(stream, context) < 0)
		return -1;
	SSL_set_accept_state(stream->ssl);
	return 0;
}

int
stream_tls_client(struct stream *stream, SSL_CTX *context, const char *name)
{
	if (tls_begin(stream, context) < 0)
		return -1;
	SSL_set_connect_state(stream->ssl);
	/* A name that is an address is verified as one, and never sent as SNI.
	 */
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(stream->ssl), name) ==
	    1)
		return 0;
	/* Declared without const, never written. */
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	if (SSL_set_tlsext_host_name(stream->ssl, (char *)(uintptr_t)name) !=
		1 ||
	    SSL_set1_host(stream->ssl, name) != 1)
		return -1;
	return 0;
}

/* What a TLS call that moved nothing is waiting for, or why it failed. */
static enum stream_result
tls_result(struct stream *stream, int returned, bool *crossed, int crossing)
{
	int error = SSL_get_error(stream->ssl, returned);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		*crossed = error == crossing;
		return STREAM_AGAIN;
	}
	if (error == SSL_ERROR_ZERO_RETURN)
		return STREAM_END;
	if (error == SSL_ERROR_SYSCALL) {
		stream->failed = errno ? NULL : "connection was closed";
	} else {
		long verified = SSL_get_verify_result(stream->ssl);

		stream->failed = ERR_reason_error_string(ERR_peek_last_error());
		if (verified != X509_V_OK && !SSL_is_server(stream->ssl))
			stream->failed =
			    X509_verify_cert_error_string(verified);
		if (!stream->failed)
			stream->failed = "TLS failed";
	}
	ERR_clear_error();
	/* After a fatal error OpenSSL forbids to say goodbye. */
	SSL_set_quiet_shutdown(stream->ssl, 1);
	return STREAM_FAILED;
}

enum stream_result
stream_handshake(struct stream *stream)
{
	int returned;

	errno = 0;
	stream->read_writes = false;
	stream->wire.empty = false;
	stream->wire.more = stream->greets && stream->wire.spoke;
	returned = SSL_do_handshake(stream->ssl);
	stream->wire.more = false;
	if (returned == 1)
		return STREAM_DONE;
	wire_push(&stream->wire);
	return tls_result(stream, returned, &stream->read_writes,
		   SSL_ERROR_WANT_WRITE) == STREAM_AGAIN
		   ? STREAM_AGAIN
		   : STREAM_FAILED;
}

static enum stream_result
system_result(ssize_t moved)
{
	if (moved < 0)
		return errno == EAGAIN || errno == EINTR ? STREAM_AGAIN
							 : STREAM_FAILED;
	return moved == 0 ? STREAM_END : STREAM_DONE;
}

enum stream_result
stream_read(struct stream *stream, void *data, size_t size, size_t *moved)
{
	ssize_t got;
	int returned;

	stream->failed = NULL;
	if (!stream->ssl) {
		got = recv(stream->fd, data, size, 0);
		*moved = got > 0 ? (size_t)got : 0;
		return system_result(got);
	}
	errno = 0;
	stream->read_writes = false;
	stream->wire.empty = false;
	returned = SSL_read_ex(stream->ssl, data, size, moved);
	if (returned == 1)
		return STREAM_DONE;
	return tls_result(
	    stream, returned, &stream->read_writes, SSL_ERROR_WANT_WRITE);
}

enum stream_result
stream_write(
    struct stream *stream, const void *data, size_t size, size_t *moved)
{
	ssize_t sent;
	int returned;

	stream->failed = NULL;
	if (!stream->ssl) {
		sent = send(stream->fd, data, size, MSG_NOSIGNAL);
		*moved = sent > 0 ? (size_t)sent : 0;
		return system_result(sent);
	}
	errno = 0;
	stream->write_reads = false;
	stream->wire.empty = false;
	returned = SSL_write_ex(stream->ssl, data, size, moved);
	if (returned == 1)
		return STREAM_DONE;
	return tls_result(
	    stream, returned, &stream->write_reads, SSL_ERROR_WANT_READ);
}

enum stream_result
stream_flush(struct stream *stream, struct buf *out)
{
	size_t moved;

	while (out->size > 0) {
		enum stream_result result =
		    stream_write(stream, out->data, out->size, &moved);

		if (result != STREAM_DONE)
			return result;
		buf_consume(out, moved);
	}
	return STREAM_DONE;
}

enum stream_result
stream_fill(struct stream *stream, struct buf *in, size_t size)
{
	char *room = buf_reserve(in, size);
	enum stream_result result;
	size_t moved;

	if (!room) {
		stream->failed = "it said too much at once";
		return STREAM_FAILED;
	}
	result = stream_read(stream, room, size, &moved);
	if (result == STREAM_DONE)
		buf_grow(in, moved);
	return result;
}

bool
stream_is_empty(const struct stream *stream)
{
	return stream->ssl && stream->wire.empty &&
	       !SSL_has_pending(stream->ssl);
}

bool
stream_has_pending(const struct stream *stream)
{
	return stream->ssl && SSL_has_pending(stream->ssl);
}

void
stream_say_goodbye(struct stream *stream)
{
	if (stream->ssl && SSL_is_init_finished(stream->ssl)) {
		/* It goes with the end of the connection, which follows. */
		stream->wire.more = true;
		SSL_shutdown(stream->ssl);
		ERR_clear_error();
	}
	stream->finished = true;
}

void
stream_finish(struct stream *stream)
{
	stream_say_goodbye(stream);
	shutdown(stream->fd, SHUT_WR);
}

short
stream_events(const struct stream *stream, bool wants_read, bool wants_write)
{
	short events = 0;

	if (wants_read)
		events |= stream->read_writes ? EV_WRITE : EV_READ;
	if (wants_write)
		events |= stream->write_reads ? EV_READ : EV_WRITE;
	return events;
}

bool
stream_is_untrusted(const struct stream *stream)
{
	return stream->ssl && SSL_get_verify_result(stream->ssl) != X509_V_OK;
}

const char *
stream_why(const struct stream *stream)
{
	if (stream->failed)
		return stream->failed;
	return errno ? strerrordesc_np(errno) : "connection was closed";
}
