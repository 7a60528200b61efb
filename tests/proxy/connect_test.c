#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/connect.h"

#define PATIENCE 20000 /* ms for a connection on loopback */

/* A socket of 127.0.0.1 that listens if it shall; its port. */
static int
open_door(bool listens, uint16_t *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	if (listens)
		assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(
	    getsockname(fd, (struct sockaddr *)&address, &size), 0);
	*port = ntohs(address.sin_port);
	return fd;
}

static void
add(struct address_list *list, const char *text)
{
	union address *address = &list->addresses[list->count++];

	address->in = (struct sockaddr_in){ .sin_family = AF_INET };
	assert_int_equal(inet_pton(AF_INET, text, &address->in.sin_addr), 1);
}

/* As a session does it: on to the next until one stands. 0, or errno. */
static int
go_on(struct stream *stream, const struct address_list *list, size_t *next,
    uint16_t port)
{
	int error = 0;

	while (connect_next(stream, list, next, port, &error)) {
		struct pollfd poll_fd = { .fd = stream->fd, .events = POLLOUT };

		assert_int_equal(poll(&poll_fd, 1, PATIENCE), 1);
		error = connect_finish(stream);
		if (error == 0)
			return 0;
	}
	return error;
}

static void
test_second(void **state)
{
	struct stream stream = { .fd = -1 };
	struct address_list list = { .count = 0 };
	size_t next = 0;
	uint16_t port;
	int door = open_door(true, &port);

	(void)state;
	add(&list, "127.0.0.2");
	add(&list, "127.0.0.1");
	add(&list, "127.0.0.3");
	assert_int_equal(go_on(&stream, &list, &next, port), 0);
	assert_int_equal(next, 2);
	stream_close(&stream);
	close(door);
}

static void
test_none(void **state)
{
	struct stream stream = { .fd = -1 };
	struct address_list list = { .count = 0 };
	int error = EBUSY;
	size_t next = 0;
	uint16_t port;
	int door = open_door(false, &port);

	(void)state;
	assert_false(connect_next(&stream, &list, &next, port, &error));
	assert_int_equal(error, EBUSY);
	add(&list, "127.0.0.1");
	add(&list, "127.0.0.2");
	assert_int_equal(go_on(&stream, &list, &next, port), ECONNREFUSED);
	assert_int_equal(next, 2);
	assert_int_equal(stream.fd, -1);
	close(door);
}

/* What cannot even begin is passed over within the call. */
static void
test_at_once(void **state)
{
	struct stream stream = { .fd = -1 };
	struct address_list list = { .count = 1 };
	int error = 0;
	size_t next = 0;
	uint16_t port;
	int door = open_door(true, &port);

	(void)state;
	list.addresses[0].any.sa_family = AF_UNIX;
	assert_false(connect_next(&stream, &list, &next, port, &error));
	assert_int_not_equal(error, 0);
	add(&list, "127.0.0.1");
	next = 0;
	assert_int_equal(go_on(&stream, &list, &next, port), 0);
	stream_close(&stream);
	close(door);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_second),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
