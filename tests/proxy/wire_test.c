#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "proxy/stream.h"

/* A server's stream and, at the other end, a client without a stream. */
struct pair {
	SSL_CTX *server_context, *client_context;
	struct stream server;
	SSL *client;
	int client_fd;
};

static void
connect_pair(int *client, int *server)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int one = 1, door = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(
	    bind(door, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(door, 1), 0);
	assert_int_equal(
	    getsockname(door, (struct sockaddr *)&address, &size), 0);
	*client = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(*client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	assert_int_equal(
	    connect(*client, (struct sockaddr *)&address, sizeof(address)), 0);
	*server = accept(door, NULL, NULL);
	assert_true(*server >= 0);
	close(door);
	fcntl(*server, F_SETFL, O_NONBLOCK);
	fcntl(*client, F_SETFL, O_NONBLOCK);
}

static void
certify(SSL_CTX *context)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();

	assert_non_null(key);
	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static int
set_up(void **state)
{
	static struct pair pair;
	int fd;

	pair = (struct pair){ .server.fd = -1 };
	pair.server_context = SSL_CTX_new(TLS_server_method());
	pair.client_context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_num_tickets(pair.server_context, 1);
	SSL_CTX_set_read_ahead(pair.server_context, 1);
	certify(pair.server_context);
	connect_pair(&pair.client_fd, &fd);
	stream_open(&pair.server, fd);
	assert_int_equal(
	    stream_tls_server(&pair.server, pair.server_context), 0);
	pair.client = SSL_new(pair.client_context);
	SSL_set_fd(pair.client, pair.client_fd);
	SSL_set_connect_state(pair.client);
	*state = &pair;
	return 0;
}

static int
tear_down(void **state)
{
	struct pair *pair = *state;

	SSL_free(pair->client);
	close(pair->client_fd);
	stream_close(&pair->server);
	SSL_CTX_free(pair->server_context);
	SSL_CTX_free(pair->client_context);
	return 0;
}

static bool
has_input(int fd)
{
	struct pollfd one = { .fd = fd, .events = POLLIN };

	return poll(&one, 1, 0) == 1;
}

/* Until the server is through, which is after its second turn. */
static void
shake_hands(struct pair *pair)
{
	assert_int_equal(SSL_do_handshake(pair->client), -1);
	assert_int_equal(stream_handshake(&pair->server), STREAM_AGAIN);
	/* What came was read whole, and the system is not asked again. */
	assert_true(pair->server.wire.empty);
	assert_int_equal(SSL_do_handshake(pair->client), 1);
	assert_int_equal(stream_handshake(&pair->server), STREAM_DONE);
	assert_true(stream_is_empty(&pair->server));
}

/* The ticket waits for what the server says first, and goes with it. */
static void
test_ticket_with_greeting(void **state)
{
	struct pair *pair = *state;
	char text[8];
	size_t moved;

	pair->server.greets = true;
	shake_hands(pair);
	assert_true(pair->server.wire.held);
	assert_false(has_input(pair->client_fd));
	assert_int_equal(
	    stream_write(&pair->server, "hello", 5, &moved), STREAM_DONE);
	assert_false(pair->server.wire.held);
	assert_int_equal(SSL_read(pair->client, text, sizeof(text)), 5);
}

/* Nothing is said: it is sent for itself. */
static void
test_push(void **state)
{
	struct pair *pair = *state;

	pair->server.greets = true;
	shake_hands(pair);
	assert_false(has_input(pair->client_fd));
	wire_push(&pair->server.wire);
	assert_true(has_input(pair->client_fd));
}

/* Where the client speaks first nothing is held back. */
static void
test_ticket_at_once(void **state)
{
	struct pair *pair = *state;

	shake_hands(pair);
	assert_false(pair->server.wire.held);
	assert_true(has_input(pair->client_fd));
}

/* A command that comes with the end of the handshake is there to be read. */
static void
test_early_command(void **state)
{
	struct pair *pair = *state;
	char text[8];
	size_t moved;

	assert_int_equal(SSL_do_handshake(pair->client), -1);
	assert_int_equal(stream_handshake(&pair->server), STREAM_AGAIN);
	assert_int_equal(SSL_do_handshake(pair->client), 1);
	assert_int_equal(SSL_write(pair->client, "early", 5), 5);
	assert_int_equal(stream_handshake(&pair->server), STREAM_DONE);
	assert_false(stream_is_empty(&pair->server));
	assert_int_equal(stream_read(&pair->server, text, sizeof(text), &moved),
	    STREAM_DONE);
	assert_int_equal(moved, 5);
}

/* The alert goes with the end, and a connection cut off is an end as well. */
static void
test_ends(void **state)
{
	struct pair *pair = *state;
	char text[8];
	size_t moved;

	SSL_set_options(pair->server.ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
	shake_hands(pair);
	stream_finish(&pair->server);
	assert_int_equal(SSL_read(pair->client, text, sizeof(text)), 0);
	assert_int_equal(SSL_get_error(pair->client, 0), SSL_ERROR_ZERO_RETURN);
	shutdown(pair->client_fd, SHUT_WR);
	assert_int_equal(
	    stream_read(&pair->server, text, sizeof(text), &moved), STREAM_END);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_ticket_with_greeting, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_push, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_ticket_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_early_command, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ends, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
