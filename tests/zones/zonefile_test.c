#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/zones/fixture.h"
#include "zones/zonefile.h"

#define HALF UINT32_C(0x80000000)

static const struct {
	uint32_t a, b;
	bool after;
} orders[] = {
	{ 1, 0, true },
	{ 0, 1, false },
	{ 7, 7, false },
	{ 0, UINT32_MAX, true },
	{ UINT32_MAX, 0, false },
	{ HALF - 1, 0, true },
	/* RFC 1982 leaves this one open: neither is after the other. */
	{ HALF, 0, false },
	{ 0, HALF, false },
	{ HALF + 1, 0, false },
};

static void
test_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		assert_int_equal(
		    zonefile_serial_after(orders[i].a, orders[i].b),
		    orders[i].after);
}

static const struct {
	uint32_t former, base, next;
} nexts[] = {
	{ 1, 1, 2 },
	{ 5, 1, 6 },
	{ 5, 2026010100, 2026010100 },
	{ 2026010100, 5, 2026010101 },
	{ UINT32_MAX - 1, 1, 1 },
	{ UINT32_MAX, UINT32_MAX, 1 },
	{ UINT32_MAX, 7, 7 },
};

static void
test_next(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nexts); i++) {
		uint32_t next =
		    zonefile_serial_next(nexts[i].former, nexts[i].base);

		assert_int_equal(next, nexts[i].next);
		assert_true(zonefile_serial_after(next, nexts[i].former));
	}
}

#define SOA(serial)                                                            \
	"cell.test. 60 IN SOA ns.cell.test. x.cell.test. " serial              \
	" 3600 600 86400 60\n"

static void
test_read_and_write(void **state)
{
	struct config *config = fixture_config("name \"mail.cell.test\" { }\n");
	struct scope scope = scope_new(config, config->zones.items);
	char path[] = "/tmp/postcell-zone-XXXXXX";
	int fd = mkstemp(path);
	struct zonefile_content content, again;
	const char *why = NULL;

	(void)state;
	assert_true(fd >= 0);
	(void)close(fd);
	fixture_write(path, "$ORIGIN cell.test.\n$TTL 60\n"
			    "@ SOA ns x 4294967295 3600 600 86400 60\n"
			    "@ NS ns\nns A 192.0.2.53\nmail A 192.0.2.1\n"
			    "mail TXT \"theirs\"\nproxy1.h A 192.0.2.1\n");
	assert_int_equal(zonefile_read(&content, path, &scope, &why), 0);
	assert_true(content.there);
	assert_int_equal(content.serial, UINT32_MAX);
	FIXTURE_ASSERT_SET(&content.ours,
	    "proxy1.h.cell.test. 60 IN A 192.0.2.1\n"
	    "mail.cell.test. 60 IN A 192.0.2.1\n");
	FIXTURE_ASSERT_SET(&content.others,
	    "cell.test. 60 IN NS ns.cell.test.\n" SOA(
		"0") "mail.cell.test. 60 IN TXT \"theirs\"\n"
		     "ns.cell.test. 60 IN A 192.0.2.53\n");
	content.serial = 9;
	assert_int_equal(zonefile_write(&content, path, &why), 0);
	assert_int_equal(zonefile_read(&again, path, &scope, &why), 0);
	assert_int_equal(again.serial, 9);
	assert_true(rrsets_equal(&content.ours, &again.ours));
	assert_true(rrsets_equal(&content.others, &again.others));
	assert_int_equal(
	    zonefile_write(&content, "/nonexistent/zone", &why), -1);
	zonefile_content_free(&content);
	zonefile_content_free(&again);
	(void)unlink(path);
	assert_int_equal(zonefile_read(&again, path, &scope, &why), 0);
	assert_false(again.there);
	scope_free(&scope);
	config_free(&config);
}

static const char *const bad[] = {
	"",
	"this is no zone\n",
	"a.cell.test. 60 IN A 192.0.2.1\n",
	"other.test. 60 IN SOA a. b. 1 2 3 4 5\n",
	(SOA("1") "a.cell.test. 60 IN A 300.1.1.1\n"),
};

static void
test_bad_files(void **state)
{
	struct config *config = fixture_config("");
	struct scope scope = scope_new(config, config->zones.items);
	char path[] = "/tmp/postcell-zone-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	(void)close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct zonefile_content content;
		const char *why = NULL;

		fixture_write(path, bad[i]);
		assert_int_equal(
		    zonefile_read(&content, path, &scope, &why), -1);
		assert_non_null(why);
	}
	(void)unlink(path);
	scope_free(&scope);
	config_free(&config);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_read_and_write),
		cmocka_unit_test(test_bad_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
