#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/resolve.h"

#define PATIENCE 20 /* s for any answer */

/*
 * A name server for names that are recipes: "aN.ttlT.test" has N addresses
 * that live for T seconds, "none.test" has none, anything else is unknown.
 * It counts what it was asked.
 */
struct house {
	struct event_base *base;
	struct event *reading;
	struct resolver *resolver;
	int fd;
	unsigned asked;
	bool silent;
};

/* The question's name in dots; returns the octets of the question. */
static size_t
read_name(const uint8_t *message, size_t size, char *name)
{
	size_t at = 12;

	while (at < size && message[at] != 0) {
		size_t length = message[at];

		assert_true(length < 64 && at + length + 5 < size);
		memcpy(name, message + at + 1, length);
		name += length;
		*name++ = '.';
		at += length + 1;
	}
	*name = '\0';
	return at + 5;
}

/* One A record for the name of the question. */
static size_t
add_address(uint8_t *message, size_t at, unsigned ttl, unsigned number)
{
	const uint8_t record[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, (uint8_t)ttl,
		0, 4, 192, 0, 2, (uint8_t)number };

	memcpy(message + at, record, sizeof(record));
	return at + sizeof(record);
}

/* aCOUNT.ttlSECONDS.test. */
static bool
read_wish(const char *name, unsigned *count, unsigned *ttl)
{
	char *rest;

	if (name[0] != 'a')
		return false;
	*count = (unsigned)strtoul(name + 1, &rest, 10);
	if (strncmp(rest, ".ttl", 4) != 0)
		return false;
	*ttl = (unsigned)strtoul(rest + 4, &rest, 10);
	return strcmp(rest, ".test.") == 0;
}

static void
on_question(evutil_socket_t fd, short what, void *context)
{
	struct house *house = context;
	unsigned count = 0, ttl = 0, code = 0;
	struct sockaddr_in peer;
	socklen_t peer_size = sizeof(peer);
	uint8_t message[1024];
	char name[256];
	size_t at;
	ssize_t got = recvfrom(fd, message, sizeof(message), 0,
	    (struct sockaddr *)&peer, &peer_size);

	(void)what;
	assert_true(got > 12);
	at = read_name(message, (size_t)got, name);
	house->asked += message[at - 3] == 1;
	if (house->silent)
		return;
	if (!read_wish(name, &count, &ttl) && strcmp(name, "none.test.") != 0)
		code = 3;
	/* Only IPv4 has addresses here. */
	if (message[at - 3] != 1)
		count = 0;
	message[2] = 0x84;
	message[3] = (uint8_t)code;
	message[6] = 0;
	message[7] = (uint8_t)count;
	memset(message + 8, 0, 4);
	for (unsigned i = 0; i < count; i++)
		at = add_address(message, at, ttl, i + 1);
	assert_true(sendto(fd, message, at, 0, (struct sockaddr *)&peer,
			peer_size) == (ssize_t)at);
}

static int
set_up(void **state)
{
	struct house *house = calloc(1, sizeof(*house));
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t size = sizeof(address);
	const char *servers[1], *why;
	char server[64];
	struct setting_list list = { servers, 1 };

	assert_non_null(house);
	house->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(house->fd, (struct sockaddr *)&address, size), 0);
	getsockname(house->fd, (struct sockaddr *)&address, &size);
	(void)snprintf(
	    server, sizeof(server), "127.0.0.1:%u", ntohs(address.sin_port));
	servers[0] = server;
	house->base = event_base_new();
	house->reading = event_new(
	    house->base, house->fd, EV_READ | EV_PERSIST, on_question, house);
	event_add(house->reading, NULL);
	house->resolver = resolver_new(house->base, &list, &why);
	assert_non_null(house->resolver);
	*state = house;
	return 0;
}

static int
tear_down(void **state)
{
	struct house *house = *state;

	resolver_free(&house->resolver);
	event_free(house->reading);
	event_base_free(house->base);
	close(house->fd);
	free(house);
	return 0;
}

/* What came of one question. */
struct answer {
	bool came;
	struct address_list list;
	const char *why;
};

static void
on_done(void *context, const struct address_list *list, const char *why)
{
	struct answer *answer = context;

	assert_false(answer->came);
	answer->came = true;
	answer->list = *list;
	answer->why = why;
}

static void
wait_for(struct house *house, const bool *came)
{
	struct timeval patience = { PATIENCE, 0 };

	event_base_loopexit(house->base, &patience);
	while (!*came && !event_base_got_exit(house->base))
		event_base_loop(house->base, EVLOOP_ONCE);
	assert_true(*came);
}

static struct answer
look_up(struct house *house, const char *name)
{
	struct answer answer = { false };
	struct resolve_query *query =
	    resolve(house->resolver, name, on_done, &answer);

	assert_int_equal(query == NULL, answer.came);
	wait_for(house, &answer.came);
	return answer;
}

static void
test_numeric(void **state)
{
	static const char *const names[] = { "192.0.2.7", "::1",
		"2001:db8::7" };
	struct house *house = *state;

	for (size_t i = 0; i < 3; i++) {
		struct answer answer = { false };
		char text[INET6_ADDRSTRLEN];

		assert_null(
		    resolve(house->resolver, names[i], on_done, &answer));
		assert_true(answer.came);
		assert_int_equal(answer.list.count, 1);
		address_set_port(&answer.list.addresses[0], 143);
		assert_int_equal(address_port(&answer.list.addresses[0]), 143);
		address_text(&answer.list.addresses[0], text, sizeof(text));
		assert_string_equal(text, names[i]);
	}
	assert_int_equal(house->asked, 0);
}

static void
test_addresses(void **state)
{
	struct house *house = *state;
	struct answer answer = look_up(house, "a3.ttl60.test");
	char text[INET6_ADDRSTRLEN];

	assert_int_equal(answer.list.count, 3);
	for (unsigned i = 0; i < 3; i++) {
		char wanted[32];

		(void)snprintf(wanted, sizeof(wanted), "192.0.2.%u", i + 1);
		address_text(&answer.list.addresses[i], text, sizeof(text));
		assert_string_equal(text, wanted);
	}
	answer = look_up(house, "a30.ttl60.test");
	assert_int_equal(answer.list.count, RESOLVE_ADDRESSES_MAX);
}

/* An answer is kept as long as it says, and not a second longer. */
static void
test_ttl(void **state)
{
	struct house *house = *state;

	look_up(house, "a1.ttl60.test");
	look_up(house, "a1.ttl60.test");
	assert_int_equal(house->asked, 1);
	look_up(house, "a1.ttl0.test");
	look_up(house, "a1.ttl0.test");
	assert_int_equal(house->asked, 3);
	look_up(house, "a1.ttl1.test");
	assert_int_equal(house->asked, 4);
	for (int i = 0; i < 100 * PATIENCE && house->asked == 4; i++) {
		assert_int_equal(usleep(10000), 0);
		assert_int_equal(look_up(house, "a1.ttl1.test").list.count, 1);
	}
	assert_int_equal(house->asked, 5);
}

static void
test_failures(void **state)
{
	struct house *house = *state;
	struct answer answer = look_up(house, "unknown.test");

	assert_int_equal(answer.list.count, 0);
	assert_non_null(answer.why);
	answer = look_up(house, "none.test");
	assert_int_equal(answer.list.count, 0);
	assert_non_null(answer.why);
	/* A failure is not kept. */
	assert_int_equal(house->asked, 2);
	look_up(house, "unknown.test");
	assert_int_equal(house->asked, 3);
	answer = look_up(house, "");
	assert_int_equal(answer.list.count, 0);
}

/* Many who wait for one name share a question; who left hears nothing. */
static void
test_waiting(void **state)
{
	struct house *house = *state;
	struct answer answers[5] = { { false } };
	struct resolve_query *queries[5];

	for (size_t i = 0; i < 5; i++) {
		queries[i] = resolve(
		    house->resolver, "a2.ttl60.test", on_done, &answers[i]);
		assert_non_null(queries[i]);
	}
	resolve_cancel(&queries[0]);
	resolve_cancel(&queries[3]);
	assert_null(queries[0]);
	resolve_cancel(&queries[0]);
	wait_for(house, &answers[4].came);
	assert_int_equal(house->asked, 1);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(answers[i].came, i != 0 && i != 3);
	assert_int_equal(answers[1].list.count, 2);
}

/* The resolver may go while questions are open: those left hear of it. */
static void
test_end(void **state)
{
	struct house *house = *state;
	struct answer left = { false }, stays = { false };
	struct resolve_query *query;

	house->silent = true;
	query = resolve(house->resolver, "a1.ttl1.test", on_done, &left);
	assert_non_null(
	    resolve(house->resolver, "a1.ttl1.test", on_done, &stays));
	resolve_cancel(&query);
	resolver_free(&house->resolver);
	assert_false(left.came);
	assert_true(stays.came);
	assert_int_equal(stays.list.count, 0);
}

/* More names than are kept. */
static void
test_many(void **state)
{
	struct house *house = *state;
	char name[64];

	for (unsigned i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "a1.ttl60.test.x%u", i);
		if (i % 2)
			(void)snprintf(name, sizeof(name), "a%u.ttl%u.test",
			    i % 9 + 1, i % 250 + 1);
		look_up(house, name);
	}
	assert_int_equal(look_up(house, "a4.ttl60.test").list.count, 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_numeric, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_addresses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ttl, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_failures, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    test_waiting, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
