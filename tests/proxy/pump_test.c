#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/pump.h"

/*
 * client <-> front [flows] back <-> server, all on loopback: the flows stand
 * between two real connections.
 */
struct plumbing {
	struct pump pump;
	int client, server;
	struct stream front, back;
	struct flow to_back, to_front;
};

static int
loopback_pair(int *other)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t size = sizeof(address);
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listening, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(
	    getsockname(listening, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(
	    connect(one, (struct sockaddr *)&address, sizeof(address)), 0);
	*other = accept(listening, NULL, NULL);
	assert_true(*other >= 0);
	close(listening);
	fcntl(one, F_SETFL, O_NONBLOCK);
	fcntl(*other, F_SETFL, O_NONBLOCK);
	return one;
}

static int
set_up(void **state)
{
	struct plumbing *pipes = calloc(1, sizeof(*pipes));
	int front, back;

	assert_non_null(pipes);
	pipes->client = loopback_pair(&front);
	pipes->server = loopback_pair(&back);
	stream_open(&pipes->front, front);
	stream_open(&pipes->back, back);
	assert_int_equal(pump_open(&pipes->pump), 0);
	flow_open(&pipes->to_back);
	flow_open(&pipes->to_front);
	*state = pipes;
	return 0;
}

static int
tear_down(void **state)
{
	struct plumbing *pipes = *state;

	flow_close(&pipes->pump, &pipes->to_back);
	flow_close(&pipes->pump, &pipes->to_front);
	stream_close(&pipes->front);
	stream_close(&pipes->back);
	pump_close(&pipes->pump);
	close(pipes->client);
	close(pipes->server);
	free(pipes);
	return 0;
}

/* One turn of both flows, as the session does when both sides have events. */
static int
turn(struct plumbing *pipes, struct stream **failed)
{
	bool more = false;

	pipes->to_back.readable = pipes->to_front.readable = true;
	if (pump_flow(&pipes->pump, &pipes->to_back, &pipes->front,
		&pipes->back, &more, failed) < 0)
		return -1;
	return pump_flow(&pipes->pump, &pipes->to_front, &pipes->back,
	    &pipes->front, &more, failed);
}

/* An octet that depends on its place, without a short period. */
static char
octet_at(uint64_t place)
{
	return (char)((place * 2654435761u) >> 13);
}

/* What one end says and hears, checked octet by octet. */
struct voice {
	int fd;
	uint64_t said, said_max, heard;
	bool ended;
};

static void
say(struct voice *voice, size_t most)
{
	char chunk[65536];
	uint64_t left = voice->said_max - voice->said;
	size_t size = left < most ? (size_t)left : most;
	ssize_t sent;

	if (size > sizeof(chunk))
		size = sizeof(chunk);
	if (size == 0)
		return;
	for (size_t i = 0; i < size; i++)
		chunk[i] = octet_at(voice->said + i);
	sent = send(voice->fd, chunk, size, MSG_NOSIGNAL);
	if (sent > 0)
		voice->said += (uint64_t)sent;
	else
		assert_int_equal(errno, EAGAIN);
}

static void
hear(struct voice *voice, size_t most)
{
	char chunk[65536];
	ssize_t got = recv(
	    voice->fd, chunk, most < sizeof(chunk) ? most : sizeof(chunk), 0);

	if (got == 0)
		voice->ended = true;
	else if (got < 0)
		assert_int_equal(errno, EAGAIN);
	for (ssize_t i = 0; i < got; i++)
		if (chunk[i] != octet_at(voice->heard + (uint64_t)i))
			fail_msg("octet %llu is wrong",
			    (unsigned long long)(voice->heard + (uint64_t)i));
	if (got > 0)
		voice->heard += (uint64_t)got;
}

/* Both ways at once, with pieces of all sizes; splicing takes part in it. */
static void
test_octets(void **state)
{
	struct plumbing *pipes = *state;
	struct voice client = { .fd = pipes->client, .said_max = 20 << 20 };
	struct voice server = { .fd = pipes->server, .said_max = 7 << 20 };
	struct stream *failed = NULL;
	bool spliced = false;
	unsigned dice = 1;

	while (
	    client.heard < server.said_max || server.heard < client.said_max) {
		dice = dice * 1103515245 + 12345;
		if (dice >> 16 & 1)
			say(&client, dice >> 8 & 0xffff);
		if (dice >> 16 & 2)
			say(&server, dice >> 12 & 0xffff);
		assert_int_equal(turn(pipes, &failed), 0);
		spliced |= pipes->pump.pipe_count > 0;
		if (dice >> 16 & 4)
			hear(&client, dice >> 8 & 0xffff);
		if (dice >> 16 & 24)
			hear(&server, dice >> 8 & 0x1ffff);
	}
	assert_true(spliced);
	assert_int_equal(pipes->to_back.moved, client.said_max);
	assert_int_equal(pipes->to_front.moved, server.said_max);
	assert_false(flow_waits(&pipes->to_back));
	assert_null(pipes->to_back.waiting.data);
	assert_null(pipes->to_front.waiting.data);
}

/* A receiver that takes nothing stops the sender; what waits is bounded. */
static void
test_backpressure(void **state)
{
	struct plumbing *pipes = *state;
	struct voice client = { .fd = pipes->client, .said_max = 1ull << 40 };
	struct voice server = { .fd = pipes->server };
	struct stream *failed = NULL;
	uint64_t before = 1;

	while (client.said != before) {
		before = client.said;
		for (int i = 0; i < 64; i++) {
			say(&client, 65536);
			assert_int_equal(turn(pipes, &failed), 0);
			assert_true(pipes->to_back.waiting.size <= PUMP_CHUNK);
		}
	}
	assert_true(flow_waits(&pipes->to_back));
	assert_false(flow_wants(&pipes->to_back));
	client.said_max = client.said;
	while (server.heard < client.said_max) {
		hear(&server, 65536);
		assert_int_equal(turn(pipes, &failed), 0);
	}
	assert_true(flow_wants(&pipes->to_back));
}

/* One side says no more: the other is told, and may go on. */
static void
test_half_close(void **state)
{
	struct plumbing *pipes = *state;
	struct voice client = { .fd = pipes->client, .said_max = 100000 };
	struct voice server = { .fd = pipes->server, .said_max = 3000000 };
	struct stream *failed = NULL;

	while (client.said < client.said_max)
		say(&client, 65536);
	shutdown(pipes->client, SHUT_WR);
	while (!server.ended) {
		assert_int_equal(turn(pipes, &failed), 0);
		hear(&server, 65536);
	}
	assert_int_equal(server.heard, client.said_max);
	assert_true(pipes->to_back.finished);
	assert_false(pipes->to_front.ended);
	while (client.heard < server.said_max) {
		say(&server, 65536);
		assert_int_equal(turn(pipes, &failed), 0);
		hear(&client, 65536);
	}
	shutdown(pipes->server, SHUT_WR);
	while (!pipes->to_front.finished)
		assert_int_equal(turn(pipes, &failed), 0);
	/* That both are finished is told by closing, and by that alone. */
	hear(&client, 65536);
	assert_false(client.ended);
	stream_close(&pipes->front);
	while (!client.ended)
		hear(&client, 65536);
}

/* The end of a sender waits for what its receiver has not taken yet. */
static void
test_end_behind_waiting(void **state)
{
	struct plumbing *pipes = *state;
	struct voice client = { .fd = pipes->client, .said_max = 1ull << 40 };
	struct voice server = { .fd = pipes->server };
	struct stream *failed = NULL;

	while (!flow_waits(&pipes->to_back)) {
		say(&client, 65536);
		assert_int_equal(turn(pipes, &failed), 0);
	}
	shutdown(pipes->client, SHUT_WR);
	assert_int_equal(turn(pipes, &failed), 0);
	assert_false(pipes->to_back.finished);
	while (!server.ended) {
		hear(&server, 65536);
		assert_int_equal(turn(pipes, &failed), 0);
	}
	assert_int_equal(server.heard, client.said);
}

/* Octets that waited since before the login go first. */
static void
test_waiting_first(void **state)
{
	struct plumbing *pipes = *state;
	struct voice client = { .fd = pipes->client, .said_max = 5000 };
	struct voice server = { .fd = pipes->server };
	struct stream *failed = NULL;

	for (int i = 0; i < 1000; i++)
		buf_add_char(&pipes->to_back.waiting, octet_at(client.said++));
	while (client.said < client.said_max)
		say(&client, 5000);
	while (server.heard < client.said_max) {
		assert_int_equal(turn(pipes, &failed), 0);
		hear(&server, 65536);
	}
	assert_int_equal(pipes->to_back.moved, 5000);
}

/* Who failed is named. */
static void
test_failures(void **state)
{
	struct linger at_once = { 1, 0 };
	struct plumbing *pipes = *state;
	struct stream *failed = NULL;
	int result = 0;

	setsockopt(
	    pipes->server, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(pipes->server);
	for (int i = 0; i < 10000 && result == 0; i++) {
		assert_true(send(pipes->client, "x", 1, MSG_NOSIGNAL) == 1);
		result = turn(pipes, &failed);
	}
	assert_int_equal(result, -1);
	assert_ptr_equal(failed, &pipes->back);
	pipes->server = -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_octets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_backpressure, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_half_close, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_end_behind_waiting, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_waiting_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_failures, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
