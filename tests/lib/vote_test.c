#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "lib/vote.h"
#include "tests/lib/entry.h"

/* A cell of one observer with these votes, and hosts of awkward names. */
static struct cell *
cell_of(const char *first, const char *second)
{
	struct cell *cell = cell_new();

	assert_non_null(cell);
	entry_add(cell, ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "mail" }));
	entry_add(cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "mbox1" }));
	entry_add(cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "mbox2" }));
	entry_add(cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "both" }));
	entry_add(cell, ENTRY({ CELL_KIND, "host" }, { CELL_NAME, "both" }));
	entry_add(
	    cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "rack 1/a" }));
	entry_add(cell, ENTRY({ CELL_KIND, "proxy" }, { CELL_NAME, "proxy1" },
			    { CELL_VOTE, first }, { CELL_VOTE, second }));
	assert_int_equal(cell_finish(cell), 0);
	return cell;
}

static bool
says(const char *first, const char *second, enum host_kind kind,
    const char *name, enum vote_word word)
{
	struct cell *cell = cell_of(first, second);
	const struct host *observer =
	    cell_host(cell, HOST_PROXY, slice_from("proxy1"));
	const struct host *host = cell_host(cell, kind, slice_from(name));
	bool result = vote_says(cell, observer, host, word);

	cell_free(&cell);
	return result;
}

static void
test_says(void **state)
{
	(void)state;
	assert_true(says("mbox1 down", NULL, HOST_SERVER, "mbox1", VOTE_DOWN));
	assert_false(
	    says("mbox1 down", NULL, HOST_SERVER, "mbox1", VOTE_SILENT));
	assert_false(says("mbox1 down", NULL, HOST_SERVER, "mbox2", VOTE_DOWN));
	assert_true(says(
	    "mbox1 silent", "mbox1 down", HOST_SERVER, "mbox1", VOTE_DOWN));
	assert_true(says(
	    "mbox1 silent", "mbox1 down", HOST_SERVER, "mbox1", VOTE_SILENT));
	assert_true(says("MBOX1 Down", NULL, HOST_SERVER, "mbox1", VOTE_DOWN));
	assert_true(says("proxy1 down", NULL, HOST_PROXY, "proxy1", VOTE_DOWN));
	assert_false(says(NULL, NULL, HOST_SERVER, "mbox1", VOTE_DOWN));
}

/* Of two hosts of one name the bare name means neither. */
static void
test_name_of_two_kinds(void **state)
{
	(void)state;
	assert_false(says("both down", NULL, HOST_SERVER, "both", VOTE_DOWN));
	assert_false(says("both down", NULL, HOST_OTHER, "both", VOTE_DOWN));
	assert_true(
	    says("server/both down", NULL, HOST_SERVER, "both", VOTE_DOWN));
	assert_false(
	    says("server/both down", NULL, HOST_OTHER, "both", VOTE_DOWN));
	assert_true(
	    says("host/both down", NULL, HOST_OTHER, "both", VOTE_DOWN));
	assert_true(
	    says("server/mbox1 down", NULL, HOST_SERVER, "mbox1", VOTE_DOWN));
}

static void
test_malformed(void **state)
{
	static const char *const votes[] = { "", " ", "mbox1", "down", " down",
		"mbox1down", "mbox1 downs", "mbox1 up", "mbox1  down",
		"mbox1 down ", "mbox1 down now", "mbox1\tdown", "/mbox1 down",
		"mbox1/ down", "toaster/mbox1 down", "server//mbox1 down" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(votes); i++)
		if (says(votes[i], NULL, HOST_SERVER, "mbox1", VOTE_DOWN))
			fail_msg("\"%s\" was taken", votes[i]);
}

/* What is written is read again, and means no other host. */
static void
test_round_trip(void **state)
{
	struct cell *names = cell_of(NULL, NULL);
	size_t count;
	const struct host *hosts = cell_hosts(names, &count);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		struct buf text = buf_bounded(100);

		assert_int_equal(
		    vote_format(&text, names, &hosts[i], VOTE_SILENT), 0);
		for (size_t k = 0; k < count; k++) {
			char name[100];

			(void)snprintf(name, sizeof(name), "%.*s",
			    SLICE_ARGS(hosts[k].name));
			assert_int_equal(says(buf_string(&text), NULL,
					     hosts[k].kind, name, VOTE_SILENT),
			    i == k);
		}
		buf_free(&text);
	}
	cell_free(&names);
}

static void
test_format(void **state)
{
	struct cell *cell = cell_of(NULL, NULL);
	struct buf text = buf_bounded(100);

	(void)state;
	vote_format(&text, cell,
	    cell_host(cell, HOST_SERVER, slice_from("mbox1")), VOTE_DOWN);
	assert_string_equal(buf_string(&text), "mbox1 down");
	buf_clear(&text);
	vote_format(&text, cell,
	    cell_host(cell, HOST_OTHER, slice_from("both")), VOTE_SILENT);
	assert_string_equal(buf_string(&text), "host/both silent");
	buf_free(&text);
	text = buf_bounded(9);
	assert_int_equal(
	    vote_format(&text, cell,
		cell_host(cell, HOST_SERVER, slice_from("mbox1")), VOTE_DOWN),
	    -1);
	buf_free(&text);
	cell_free(&cell);
}

static bool
says_family(const char *vote, enum host_kind kind, const char *name,
    enum vote_family family)
{
	struct cell *cell = cell_of(vote, NULL);
	const struct host *observer =
	    cell_host(cell, HOST_PROXY, slice_from("proxy1"));
	const struct host *host = cell_host(cell, kind, slice_from(name));
	bool result = vote_says_family(cell, observer, host, family);

	/* It never is a word about the host as a whole. */
	assert_false(vote_says(cell, observer, host, VOTE_DOWN));
	cell_free(&cell);
	return result;
}

static void
test_families(void **state)
{
	struct cell *cell = cell_of(NULL, NULL);
	struct buf text = buf_bounded(100);

	(void)state;
	assert_true(
	    says_family("mbox1/ipv6 down", HOST_SERVER, "mbox1", VOTE_IPV6));
	assert_true(
	    says_family("Mbox1/IPv4 Down", HOST_SERVER, "mbox1", VOTE_IPV4));
	assert_false(
	    says_family("mbox1/ipv6 down", HOST_SERVER, "mbox1", VOTE_IPV4));
	assert_false(
	    says_family("mbox1/ipv6 down", HOST_SERVER, "mbox2", VOTE_IPV6));
	assert_false(
	    says_family("mbox1/ipv6 silent", HOST_SERVER, "mbox1", VOTE_IPV6));
	assert_false(
	    says_family("both/ipv6 down", HOST_SERVER, "both", VOTE_IPV6));
	assert_true(
	    says_family("host/both/ipv6 down", HOST_OTHER, "both", VOTE_IPV6));
	assert_false(
	    says_family("host/both/ipv6 down", HOST_SERVER, "both", VOTE_IPV6));
	for (unsigned i = HOST_SERVER; i <= HOST_OTHER; i += HOST_OTHER) {
		const struct host *host =
		    cell_host(cell, (enum host_kind)i, slice_from("both"));

		buf_clear(&text);
		assert_int_equal(
		    vote_format_family(&text, cell, host, VOTE_IPV4), 0);
		assert_true(says_family(
		    buf_string(&text), (enum host_kind)i, "both", VOTE_IPV4));
	}
	buf_free(&text);
	cell_free(&cell);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_says),
		cmocka_unit_test(test_name_of_two_kinds),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
