#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lib/cell.h"
#include "lib/placement.h"
#include "tests/lib/entry.h"

#define T "20260102030405.000000Z"

/* A cell of up to four entries. */
static struct cell *
cell_of(const struct entry_field *a, const struct entry_field *b,
    const struct entry_field *c, const struct entry_field *d)
{
	const struct entry_field *const entries[] = { a, b, c, d };
	struct cell *cell = cell_new();

	assert_non_null(cell);
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		if (entries[i])
			entry_add(cell, entries[i]);
	assert_int_equal(cell_finish(cell), 0);
	return cell;
}

static const struct entry_field *const mail =
    ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "mail" });
static const struct entry_field *const mbox1 =
    ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "mbox1" });
static const struct entry_field *const mbox2 = ENTRY(
    { CELL_KIND, "server" }, { CELL_NAME, "mbox2" }, { CELL_POOL, "mail" });

static void
test_empty(void **state)
{
	struct cell *cell = cell_of(NULL, NULL, NULL, NULL);
	size_t count = 1;

	(void)state;
	assert_int_equal(cell_faults(cell).size, 0);
	assert_null(cell_default_pool(cell));
	cell_hosts(cell, &count);
	assert_int_equal(count, 0);
	cell_pools(cell, &count);
	assert_int_equal(count, 0);
	cell_free(&cell);
	assert_null(cell);
	cell_free(&cell);
}

static void
test_defaults(void **state)
{
	struct cell *cell = cell_of(mbox2, mail, mbox1, NULL);
	const struct pool *pool = cell_pool(cell, slice_from("Mail"));
	const struct host *host =
	    cell_host(cell, HOST_SERVER, slice_from("MBOX1"));

	(void)state;
	assert_int_equal(cell_faults(cell).size, 0);
	assert_ptr_equal(pool, cell_default_pool(cell));
	assert_int_equal(pool->ramp, 60);
	assert_int_equal(pool->guard_ms, POOL_GUARD);
	assert_true(pool->failback_auto);
	assert_true(pool->affinity);
	assert_int_equal(pool->max_down, 0);
	assert_int_equal(pool->server_count, 2);
	assert_true(slice_is(pool->servers[0]->name, "mbox1"));
	assert_true(slice_is(pool->servers[1]->name, "mbox2"));
	assert_int_equal(host->state, HOST_UP);
	assert_int_equal(host->weight, 100);
	assert_int_equal(host->seed, placement_seed(slice_from("mbox1")));
	assert_null(cell_host(cell, HOST_PROXY, slice_from("mbox1")));
	assert_null(cell_pool(cell, slice_from("other")));
	cell_free(&cell);
}

static void
test_whole(void **state)
{
	struct cell *cell =
	    cell_of(ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "mail" },
			{ CELL_RAMP, "0" }, { CELL_GUARD, "2500" },
			{ CELL_FAILBACK, "Manual" }, { CELL_MAX_DOWN, "2" },
			{ CELL_AFFINITY, "none" }, { CELL_DEFAULT, "TRUE" }),
		ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "mbox1" },
		    { CELL_SITE, "berlin" }, { CELL_STATE, "drain" },
		    { CELL_WEIGHT, "0" }, { CELL_SERVICE, "imap://a" },
		    { CELL_SERVICE, "lmtp://b:2424?tls=none" },
		    { CELL_TRANSITION, T " 60 drain 100" },
		    { CELL_TRANSITION, "19700101000000.000000Z 0 up 100" }),
		ENTRY({ CELL_KIND, "proxy" }, { CELL_NAME, "proxy1" },
		    { CELL_VOTE, "mbox1 down" }, { CELL_VOTE, "kdc1 down" },
		    { CELL_ALIVE, T }),
		ENTRY({ CELL_KIND, "host" }, { CELL_NAME, "kdc1" },
		    { CELL_SERVICE, "kerberos://kdc1" }, { 250, "of later" }));
	const struct pool *pool = cell_default_pool(cell);
	const struct host *server = pool->servers[0];
	const struct host *proxy =
	    cell_host(cell, HOST_PROXY, slice_from("proxy1"));

	(void)state;
	assert_int_equal(cell_faults(cell).size, 0);
	assert_int_equal(pool->ramp, 0);
	assert_int_equal(pool->guard_ms, 2500);
	assert_false(pool->failback_auto);
	assert_int_equal(pool->max_down, 2);
	assert_false(pool->affinity);
	assert_int_equal(server->state, HOST_DRAIN);
	assert_int_equal(server->weight, 0);
	assert_true(slice_is(server->site, "berlin"));
	assert_int_equal(server->transition_count, 2);
	assert_int_equal(server->transitions[0].time_us, 0);
	assert_int_equal(host_service(server, SERVICE_LMTP)->port, 2424);
	assert_null(host_service(server, SERVICE_POP3));
	assert_int_equal(proxy->vote_count, 2);
	assert_true(slice_is(proxy->votes[0], "mbox1 down"));
	assert_int_equal(proxy->alive_us, INT64_C(1767323045000000));
	assert_non_null(cell_host(cell, HOST_OTHER, slice_from("kdc1")));
	cell_free(&cell);
}

/* One bad attribute beside a sound pool: what is said of it, and what holds. */
static void
check_fault(const struct entry_field *entry, const char *fault)
{
	struct cell *cell = cell_of(mail, mbox2, entry, NULL);
	struct slice faults = cell_faults(cell);
	char text[4096];

	(void)snprintf(text, sizeof(text), "%.*s", SLICE_ARGS(faults));
	if (!strstr(text, fault))
		fail_msg("\"%s\" is not in:\n%s", fault, text);
	assert_true(text[strlen(text) - 1] == '\n');
	cell_free(&cell);
}

#define SERVER(...)                                                            \
	ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "bad" },                   \
	    { CELL_POOL, "mail" }, __VA_ARGS__)
#define POOL(...)                                                              \
	ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "bad" },                     \
	    { CELL_DEFAULT, "TRUE" }, __VA_ARGS__)

static void
test_faults_of_servers(void **state)
{
	(void)state;
	check_fault(SERVER({ CELL_WEIGHT, "-3" }),
	    "server \"bad\": postcellWeight \"-3\": ");
	check_fault(SERVER({ CELL_WEIGHT, "10001" }), "postcellWeight");
	check_fault(
	    SERVER({ CELL_WEIGHT, "99999999999999999999" }), "postcellWeight");
	check_fault(SERVER({ CELL_WEIGHT, "1.5" }), "postcellWeight");
	check_fault(SERVER({ CELL_STATE, "sideways" }),
	    "postcellState \"sideways\": not up, drain or down");
	check_fault(SERVER({ CELL_STATE, "failed" }), "postcellState");
	check_fault(SERVER({ CELL_SERVICE, "http://a" }),
	    "postcellService \"http://a\": service URL has no known scheme");
	check_fault(SERVER({ CELL_SERVICE, "a\n\"b" }),
	    "postcellService \"a\\x0a\\\"b\"");
	check_fault(SERVER({ CELL_TRANSITION, T " 60 up -3" }),
	    "postcellTransition \"" T " 60 up -3\"");
	check_fault(SERVER({ CELL_TRANSITION, "x" }), "postcellTransition");
	check_fault(SERVER({ CELL_ALIVE, "yesterday" }), "postcellAlive");
	check_fault(SERVER({ CELL_POOL, "tape" }),
	    "postcellPoolName \"mail\": a server belongs to one pool");
	check_fault(ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "lost" },
			{ CELL_POOL, "nowhere" }),
	    "server \"lost\": its pool is not there");
	check_fault(ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "mbox2" },
			{ CELL_POOL, "mail" }, { CELL_WEIGHT, "50" }),
	    "server \"mbox2\": two entries have this name");
	check_fault(ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "a\nb" },
			{ CELL_POOL, "nowhere" }),
	    "server \"a\\x0ab\": its pool");
}

static void
test_faults_of_pools(void **state)
{
	(void)state;
	check_fault(POOL({ CELL_RAMP, "86401" }),
	    "pool \"bad\": postcellRamp \"86401\": ");
	check_fault(POOL({ CELL_GUARD, "60001" }), "postcellGuard");
	check_fault(POOL({ CELL_GUARD, "-1" }), "postcellGuard");
	check_fault(POOL({ CELL_FAILBACK, "maybe" }), "postcellFailback");
	check_fault(POOL({ CELL_MAX_DOWN, "a third" }), "postcellMaxDown");
	check_fault(POOL({ CELL_AFFINITY, "sometimes" }), "postcellAffinity");
	check_fault(ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "bad" },
			{ CELL_DEFAULT, "1" }),
	    "postcellDefault");
	check_fault(POOL({ CELL_RAMP, "1" }), "pool \"bad\": it has no server");
	check_fault(ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "mail" },
			{ CELL_RAMP, "1" }),
	    "pool \"mail\": two entries have this name");
}

static void
test_faults_of_entries(void **state)
{
	struct cell *cell = cell_new();

	(void)state;
	check_fault(ENTRY({ CELL_KIND, "toaster" }, { CELL_NAME, "a" }),
	    "kind \"toaster\": unknown");
	check_fault(ENTRY({ CELL_NAME, "a" }), "kind \"\": unknown");
	check_fault(ENTRY({ CELL_KIND, "server" }, { CELL_DN, "cn=,dc=x" }),
	    "server \"cn=,dc=x\": cn \"\": missing");
	assert_non_null(cell);
	assert_int_equal(cell_add(cell, slice_of("\4\xff\0\0\0server", 11)), 0);
	assert_int_equal(cell_add(cell, slice_of("x", 1)), 0);
	assert_int_equal(cell_add(cell, slice_from("")), 0);
	assert_int_equal(cell_finish(cell), 0);
	assert_non_null(
	    strstr(cell_faults(cell).data, "record \"\": malformed"));
	cell_free(&cell);
}

static void
test_bad_values_hold_defaults(void **state)
{
	struct cell *cell = cell_of(mail,
	    SERVER({ CELL_WEIGHT, "-3" }, { CELL_STATE, "sideways" },
		{ CELL_SERVICE, "http://a" }, { CELL_SERVICE, "imap://a" },
		{ CELL_TRANSITION, "x" }, { CELL_TRANSITION, T " 0 up 1" }),
	    NULL, NULL);
	const struct host *host =
	    cell_host(cell, HOST_SERVER, slice_from("bad"));

	(void)state;
	assert_int_equal(host->weight, TRANSITION_WEIGHT_DEFAULT);
	assert_int_equal(host->state, HOST_DOWN);
	assert_int_equal(host->service_count, 1);
	assert_int_equal(host->transition_count, 1);
	cell_free(&cell);
}

static void
test_default_pool(void **state)
{
	const struct entry_field *tape =
	    ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "tape" });
	const struct entry_field *first = ENTRY({ CELL_KIND, "pool" },
	    { CELL_NAME, "first" }, { CELL_DEFAULT, "true" });
	const struct entry_field *second = ENTRY({ CELL_KIND, "pool" },
	    { CELL_NAME, "second" }, { CELL_DEFAULT, "TRUE" });
	struct cell *cell = cell_of(mail, tape, mbox1, NULL);
	struct account account = { .pool = slice_from("TAPE") };

	(void)state;
	assert_null(cell_default_pool(cell));
	assert_non_null(strstr(cell_faults(cell).data,
	    "server \"mbox1\": it names no pool and there is no default\n"));
	assert_true(slice_is(cell_account_pool(cell, &account)->name, "tape"));
	account.pool = slice_from("");
	assert_null(cell_account_pool(cell, &account));
	cell_free(&cell);

	cell = cell_of(mail, first, mbox1, NULL);
	assert_true(slice_is(cell_default_pool(cell)->name, "first"));
	assert_int_equal(cell_default_pool(cell)->server_count, 1);
	cell_free(&cell);

	cell = cell_of(second, first, mbox1, NULL);
	assert_null(cell_default_pool(cell));
	assert_non_null(strstr(
	    cell_faults(cell).data, "several pools have postcellDefault"));
	cell_free(&cell);
}

/* Two programs may see entries and values in another order. */
static void
test_order_is_nothing(void **state)
{
	const struct entry_field *one = ENTRY({ CELL_KIND, "server" },
	    { CELL_NAME, "twin" }, { CELL_POOL, "tape" }, { CELL_POOL, "mail" },
	    { CELL_WEIGHT, "50" }, { CELL_WEIGHT, "200" });
	const struct entry_field *same = ENTRY({ CELL_KIND, "server" },
	    { CELL_NAME, "twin" }, { CELL_POOL, "mail" }, { CELL_POOL, "tape" },
	    { CELL_WEIGHT, "200" }, { CELL_WEIGHT, "50" });
	const struct entry_field *other = ENTRY({ CELL_KIND, "server" },
	    { CELL_NAME, "twin" }, { CELL_POOL, "mail" }, { CELL_WEIGHT, "1" });
	struct cell *a = cell_of(one, mail, other, NULL);
	struct cell *b = cell_of(other, one, mail, NULL);
	struct cell *c = cell_of(mail, same, NULL, NULL);
	const struct pool *x = cell_default_pool(a), *y = cell_default_pool(b);
	const struct host *host = cell_host(c, HOST_SERVER, slice_from("twin"));

	(void)state;
	assert_int_equal(x->server_count, 2);
	assert_int_equal(y->server_count, 2);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(x->servers[i]->weight, y->servers[i]->weight);
	assert_true(slice_is(host->pool, "mail"));
	assert_int_equal(host->weight, 200); /* "200" sorts before "50" */
	cell_free(&a);
	cell_free(&b);
	cell_free(&c);
}

/* More faults than are worth keeping do no harm. */
static void
test_many_faults(void **state)
{
	struct cell *cell = cell_new();

	(void)state;
	assert_non_null(cell);
	for (int i = 0; i < 2000; i++)
		entry_add(
		    cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "same" },
			      { CELL_WEIGHT, "very heavy indeed" }));
	assert_int_equal(cell_finish(cell), 0);
	assert_in_range(cell_faults(cell).size, 60000, 65536);
	cell_free(&cell);
}

static void
test_kind_texts(void **state)
{
	(void)state;
	assert_string_equal(host_kind_text(HOST_SERVER), "server");
	assert_string_equal(host_kind_text(HOST_PROXY), "proxy");
	assert_string_equal(host_kind_text(HOST_OTHER), "host");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_faults_of_servers),
		cmocka_unit_test(test_faults_of_pools),
		cmocka_unit_test(test_faults_of_entries),
		cmocka_unit_test(test_bad_values_hold_defaults),
		cmocka_unit_test(test_default_pool),
		cmocka_unit_test(test_order_is_nothing),
		cmocka_unit_test(test_many_faults),
		cmocka_unit_test(test_kind_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
