#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "kdc-plugin/nearest.h"

static const char file[] = "# the realm of the cell\n"
			   "kdc X.TEST 192.0.2.1 88 kdc1 north\n"
			   "kdc  X.TEST 192.0.2.2  88 kdc2 south up # comment\n"
			   "kdc X.TEST 2001:db8::3 750 kdc3 south\n"
			   "kdc Y.TEST 192.0.2.9 88 kdc9 south\n"
			   "kpasswd X.TEST 192.0.2.1 464 kdc1 north\n"
			   "kdc X.TEST 192.0.2.4 88 kdc4\n"
			   "kdc X.TEST 192.0.2.5 88 kdc5 south down\n";

static size_t
find(struct nearest servers[NEAREST_MAX], const char *text,
    enum service_kind service, const char *site)
{
	struct nearest_wish wish = { service, slice_from("X.TEST"),
		slice_from(site) };

	return nearest_find(servers, slice_from(text), &wish);
}

/* Addresses, in order. */
static void
assert_servers(
    const struct nearest *servers, size_t count, const char *expected)
{
	struct buf order = buf_bounded(1000);

	for (size_t i = 0; i < count; i++) {
		(void)endpoint_format(&order, &servers[i].place);
		(void)buf_add_char(&order, ' ');
	}
	assert_string_equal(buf_string(&order), expected);
	buf_free(&order);
}

static void
assert_order(const char *text, enum service_kind service, const char *site,
    const char *expected)
{
	struct nearest servers[NEAREST_MAX];
	size_t count = find(servers, text, service, site);

	nearest_sort(servers, count);
	assert_servers(servers, count, expected);
}

#define ONE   "192.0.2.1:88 "
#define TWO   "192.0.2.2:88 "
#define THREE "[2001:db8::3]:750 "
#define FOUR  "192.0.2.4:88 "
#define FIVE  "192.0.2.5:88 "

/* Whoever is down is asked last, near or not. */
static void
test_sites(void **state)
{
	(void)state;
	assert_order(file, SERVICE_KERBEROS, "", ONE TWO THREE FOUR FIVE);
	assert_order(file, SERVICE_KERBEROS, "south", TWO THREE ONE FOUR FIVE);
	assert_order(file, SERVICE_KERBEROS, "NORTH", ONE TWO THREE FOUR FIVE);
	assert_order(file, SERVICE_KPASSWD, "south", "192.0.2.1:464 ");
}

/* What a server did counts for more than where it is. */
static void
test_experience(void **state)
{
	struct nearest servers[NEAREST_MAX];
	size_t count = find(servers, file, SERVICE_KERBEROS, "south");

	(void)state;
	assert_false(nearest_is_settled(servers, count));
	servers[1].said = EXPERIENCE_SILENT;
	servers[4].said = EXPERIENCE_ANSWERED; /* but it shall be spared */
	assert_false(nearest_is_settled(servers, count));
	nearest_sort(servers, count);
	assert_servers(servers, count, FIVE THREE ONE FOUR TWO);
	servers[3].said = EXPERIENCE_ANSWERED;
	assert_true(nearest_is_settled(servers, count));
	nearest_sort(servers, count);
	assert_servers(servers, count, FOUR FIVE THREE ONE TWO);
	for (size_t i = 0; i < count; i++)
		servers[i].said = EXPERIENCE_SILENT;
	assert_true(nearest_is_settled(servers, count));
}

static void
test_malformed(void **state)
{
	static const char *const lines[] = { "", "\n\n\n", "kdc", "kdc X.TEST",
		"kdc X.TEST kdc1.x.test 88 kdc1", "kdc X.TEST 192.0.2.1 0 kdc1",
		"kdc X.TEST 192.0.2.1 65536 kdc1",
		"kdc X.TEST 192.0.2.1 -88 kdc1", "kdc X.TEST 192.0.2.1 88",
		"kdc X.TEST 192.0.2.1 88 kdc1 south perhaps",
		"kdc X.TEST 192.0.2.1 88 kdc1 south down more",
		"kdc X.TEST [2001:db8::3] 88 kdc1",
		"KDC X.TEST 192.0.2.1 88 kdc1", "kdc x.test 192.0.2.1 88 kdc1",
		"kdc X.TEST 192.0.2.256 88 kdc1" };
	struct nearest servers[NEAREST_MAX];
	struct buf many = buf_bounded(100000);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_order(lines[i], SERVICE_KERBEROS, "south", "");
	/* More than there is room for: the first ones. */
	for (int i = 0; i < 1000; i++)
		(void)buf_add_string(&many, "kdc X.TEST 192.0.2.1 88 kdc1\n");
	assert_int_equal(find(servers, buf_string(&many), SERVICE_KERBEROS, ""),
	    NEAREST_MAX);
	buf_free(&many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sites),
		cmocka_unit_test(test_experience),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
