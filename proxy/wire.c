#include "proxy/wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>

static int
wire_read(BIO *bio, char *data, size_t size, size_t *moved)
{
	struct wire *wire = BIO_get_data(bio);
	ssize_t got;

	BIO_clear_retry_flags(bio);
	*moved = 0;
	if (wire->empty) {
		BIO_set_retry_read(bio);
		return 0;
	}
	got = recv(wire->fd, data, size, 0);
	wire->empty = got < (ssize_t)size;
	if (got > 0) {
		*moved = (size_t)got;
		return 1;
	}
	if (got == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	else if (errno == EAGAIN || errno == EINTR)
		BIO_set_retry_read(bio);
	return 0;
}

static int
wire_write(BIO *bio, const char *data, size_t size, size_t *moved)
{
	struct wire *wire = BIO_get_data(bio);
	ssize_t sent = send(
	    wire->fd, data, size, MSG_NOSIGNAL | (wire->more ? MSG_MORE : 0));

	BIO_clear_retry_flags(bio);
	*moved = sent > 0 ? (size_t)sent : 0;
	if (sent > 0) {
		wire->held = wire->more;
		wire->spoke = true;
		return 1;
	}
	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(bio);
	return 0;
}

static long
wire_control(BIO *bio, int command, long number, void *pointer)
{
	(void)number;
	(void)pointer;
	if (command == BIO_CTRL_FLUSH)
		return 1;
	if (command == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return 0;
}

/* OpenSSL makes methods at run time alone: one for the process, never freed. */
static BIO_METHOD *method;
static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT;

static void
make_method(void)
{
	BIO_METHOD *made =
	    BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");

	if (made && BIO_meth_set_read_ex(made, wire_read) == 1 &&
	    BIO_meth_set_write_ex(made, wire_write) == 1 &&
	    BIO_meth_set_ctrl(made, wire_control) == 1)
		method = made;
	else
		BIO_meth_free(made);
}

int
wire_attach(struct wire *wire, SSL *ssl, int fd)
{
	BIO *bio = NULL;

	if (CRYPTO_THREAD_run_once(&once, make_method) == 1 && method)
		bio = BIO_new(method);
	if (!bio)
		return -1;
	*wire = (struct wire){ .fd = fd };
	BIO_set_data(bio, wire);
	BIO_set_init(bio, 1);
	SSL_set_bio(ssl, bio, bio);
	return 0;
}

/* Said anew, this option has the system send at once what it holds back. */
void
wire_push(struct wire *wire)
{
	int one = 1;

	if (wire->held)
		setsockopt(
		    wire->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	wire->held = false;
}
