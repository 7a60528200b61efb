#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "kdc-plugin/nearest.h"
#include "tests/lib/entry.h"

#define NOW INT64_C(1800000000000000) /* 20270115080000Z */

static const char file[] = "# the realm of the cell\n"
			   "kdc X.TEST 192.0.2.1 88 kdc1 north\n"
			   "kdc  X.TEST 192.0.2.2  88 kdc2 south # comment\n"
			   "kdc X.TEST 2001:db8::3 750 kdc3 south\n"
			   "kdc Y.TEST 192.0.2.9 88 kdc9 south\n"
			   "kpasswd X.TEST 192.0.2.1 464 kdc1 north\n"
			   "kdc X.TEST 192.0.2.4 88 kdc4\n";

/* Last parts of the addresses, in order. */
static void
assert_order(const char *text, const char *service, const char *site,
    const struct cell *cell, const char *expected)
{
	struct nearest servers[NEAREST_MAX];
	struct buf order = buf_bounded(1000);
	size_t count =
	    nearest_find(servers, slice_from(text), slice_from(service),
		slice_from("X.TEST"), slice_from(site), cell, NOW);

	for (size_t i = 0; i < count; i++) {
		const struct sockaddr_in *four =
		    (const struct sockaddr_in *)&servers[i].address;
		const struct sockaddr_in6 *six =
		    (const struct sockaddr_in6 *)&servers[i].address;

		if (four->sin_family == AF_INET)
			(void)buf_printf(&order, "%u:%u ",
			    ntohl(four->sin_addr.s_addr) & 255,
			    ntohs(four->sin_port));
		else
			(void)buf_printf(&order, "six%u:%u ",
			    six->sin6_addr.s6_addr[15], ntohs(six->sin6_port));
	}
	assert_string_equal(buf_string(&order), expected);
	buf_free(&order);
}

static void
test_sites(void **state)
{
	(void)state;
	assert_order(file, "kdc", "", NULL, "1:88 2:88 six3:750 4:88 ");
	assert_order(file, "kdc", "south", NULL, "2:88 six3:750 1:88 4:88 ");
	assert_order(file, "kdc", "NORTH", NULL, "1:88 2:88 six3:750 4:88 ");
	assert_order(file, "kpasswd", "south", NULL, "1:464 ");
	assert_order(file, "kadmin", "south", NULL, "");
}

/* Whoever is down is asked last, near or not. */
static void
test_states(void **state)
{
	struct cell *cell = cell_new();

	(void)state;
	entry_add(cell,
	    ENTRY({ CELL_KIND, "host" }, { CELL_NAME, "kdc2" },
		{ CELL_TRANSITION, "20270115075959.000000Z 0 failed 100" }));
	entry_add(cell,
	    ENTRY({ CELL_KIND, "host" }, { CELL_NAME, "kdc3" },
		{ CELL_TRANSITION, "20270115075959.000000Z 0 up 100" },
		{ CELL_TRANSITION, "20270115080001.000000Z 0 down 100" }));
	entry_add(cell, ENTRY({ CELL_KIND, "host" }, { CELL_NAME, "kdc4" },
			    { CELL_STATE, "down" }));
	assert_int_equal(cell_finish(cell), 0);
	assert_order(file, "kdc", "south", cell, "six3:750 1:88 2:88 4:88 ");
	cell_free(&cell);
}

static void
test_malformed(void **state)
{
	static const char *const lines[] = { "", "\n\n\n", "kdc", "kdc X.TEST",
		"kdc X.TEST kdc1.x.test 88 kdc1", "kdc X.TEST 192.0.2.1 0 kdc1",
		"kdc X.TEST 192.0.2.1 65536 kdc1",
		"kdc X.TEST 192.0.2.1 -88 kdc1", "kdc X.TEST 192.0.2.1 88",
		"kdc X.TEST 192.0.2.1 88 kdc1 south down",
		"KDC X.TEST 192.0.2.1 88 kdc1", "kdc x.test 192.0.2.1 88 kdc1",
		"kdc X.TEST 192.0.2.256 88 kdc1" };
	struct buf many = buf_bounded(100000);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_order(lines[i], "kdc", "south", NULL, "");
	/* More than there is room for: the first ones. */
	for (int i = 0; i < 1000; i++)
		(void)buf_add_string(&many, "kdc X.TEST 192.0.2.1 88 kdc1\n");
	{
		struct nearest servers[NEAREST_MAX];

		assert_int_equal(
		    nearest_find(servers, buf_slice(&many), slice_from("kdc"),
			slice_from("X.TEST"), slice_from(""), NULL, NOW),
		    NEAREST_MAX);
	}
	buf_free(&many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sites),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
