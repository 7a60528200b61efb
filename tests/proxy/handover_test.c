#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/handover.h"

static int
descriptor(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static bool
survives_exec(int fd)
{
	return !(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static union address
address_of(const char *text, uint16_t port)
{
	union address address = { 0 };

	if (inet_pton(AF_INET, text, &address.in.sin_addr) == 1) {
		address.any.sa_family = AF_INET;
	} else {
		address.any.sa_family = AF_INET6;
		assert_int_equal(
		    inet_pton(AF_INET6, text, &address.in6.sin6_addr), 1);
	}
	address_set_port(&address, port);
	return address;
}

static void
test_round_trip(void **state)
{
	static const char *const addresses[] = { "127.0.0.1",
		"::", "2001:db8:1234:5678:9abc:def0:1234:5678" };
	struct handover before = { .generation = 7,
		.stats_fd = descriptor(),
		.control_fd = descriptor() };
	struct handover after;
	const char *why = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++)
		handover_add_listener(&before,
		    (struct handover_listener){ descriptor(),
			address_of(addresses[i], (uint16_t)(65535 - i)) });
	handover_add_child(&before, (struct child){ CHILD_RELAY, 4711, 6, 12,
					descriptor(), descriptor(), 99 });
	handover_add_child(&before,
	    (struct child){ CHILD_HEALTH, 4712, 7, -1, descriptor(), -1, 99 });
	assert_int_equal(handover_write(&before, &why), 0);
	handover_keep(&before, true);
	assert_true(survives_exec(before.stats_fd));
	assert_true(survives_exec(before.control_fd));
	assert_true(survives_exec(before.listeners[2].fd));
	assert_true(survives_exec(before.children[0].health_fd));

	assert_int_equal(handover_read(&after, &why), 0);
	assert_int_equal(after.generation, 7);
	assert_int_equal(after.stats_fd, before.stats_fd);
	assert_int_equal(after.control_fd, before.control_fd);
	assert_int_equal(after.listener_count, before.listener_count);
	for (size_t i = 0; i < after.listener_count; i++) {
		assert_int_equal(after.listeners[i].fd, before.listeners[i].fd);
		assert_memory_equal(&after.listeners[i].address,
		    &before.listeners[i].address, sizeof(union address));
		assert_false(survives_exec(after.listeners[i].fd));
	}
	assert_int_equal(after.child_count, 2);
	for (size_t i = 0; i < after.child_count; i++) {
		struct child *was = &before.children[i],
			     *is = &after.children[i];

		assert_int_equal(is->role, was->role);
		assert_int_equal(is->pid, was->pid);
		assert_int_equal(is->generation, was->generation);
		assert_int_equal(is->slot, was->slot);
		assert_int_equal(is->parent_fd, was->parent_fd);
		assert_int_equal(is->health_fd, was->health_fd);
		assert_false(survives_exec(is->parent_fd));
	}
	/* It is read once. */
	handover_free(&after);
	assert_int_equal(handover_read(&after, &why), 0);
	assert_int_equal(after.stats_fd, -1);
	assert_int_equal(after.child_count, 0);

	for (int i = 0; i < 3; i++)
		close(before.listeners[i].fd);
	close(before.children[0].parent_fd);
	close(before.children[0].health_fd);
	close(before.children[1].parent_fd);
	close(before.stats_fd);
	close(before.control_fd);
	handover_free(&before);
}

static void
test_nothing(void **state)
{
	struct handover handover;
	const char *why = NULL;

	(void)state;
	unsetenv("POSTCELL_HANDOVER");
	assert_int_equal(handover_read(&handover, &why), 0);
	assert_int_equal(handover.stats_fd, -1);
	assert_int_equal(handover.control_fd, -1);
	assert_int_equal(handover.generation, 0);
}

/* Text of another program is refused, and nothing of it is believed. */
static void
test_faults(void **state)
{
	static const char *const texts[] = {
		"",
		"postcell-handover 2\ngeneration 1\n",
		"postcell-handover 1\nnonsense\n",
		"postcell-handover 1\n\n",
		"postcell-handover 1\ngeneration\n",
		"postcell-handover 1\ngeneration x\n",
		"postcell-handover 1\nlistener 3 127.0.0.1\n",
		"postcell-handover 1\nlistener 3 127.0.0.1 65536\n",
		"postcell-handover 1\nlistener 3 127.0.0 143\n",
		("postcell-handover 1\nlistener 3 "
		 "11111111111111111111111111111111111111111111111111 1\n"),
		"postcell-handover 1\nchild 0 1 2 3 4\n",
		"postcell-handover 1\nchild 0 1 2 3 4 99999999999999\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int fd = descriptor();
		struct handover handover;
		const char *why = NULL;
		char number[16];

		assert_true(write(fd, texts[i], strlen(texts[i])) ==
			    (ssize_t)strlen(texts[i]));
		(void)snprintf(number, sizeof(number), "%d", fd);
		setenv("POSTCELL_HANDOVER", number, 1);
		if (handover_read(&handover, &why) != -1)
			fail_msg("row %zu was taken", i);
		assert_non_null(why);
		assert_null(getenv("POSTCELL_HANDOVER"));
		handover_free(&handover);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
