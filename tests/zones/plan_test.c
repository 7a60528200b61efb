#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/timestamp.h"
#include "tests/zones/fixture.h"
#include "zones/plan.h"

#define SECOND TIMESTAMP_SECOND
/* Values of the minute 03:04, and a moment in it. */
#define AT(second, state) "202601020304" #second ".000000Z 60 " state " 100"
#define NOW(second)       (INT64_C(1767323040) * SECOND + (int64_t)(second)*SECOND)

static const struct {
	const char *wish, *weight, *values[4];
	int64_t second;
	enum plan_health health;
	int64_t next; /* second of the minute; -1: never */
} healths[] = {
	{ NULL, NULL, { NULL }, 10, PLAN_UP, -1 },
	{ "up", NULL, { NULL }, 10, PLAN_UP, -1 },
	{ "drain", NULL, { NULL }, 10, PLAN_DRAINED, -1 },
	{ "down", NULL, { NULL }, 10, PLAN_DOWN, -1 },
	{ "up", "0", { NULL }, 10, PLAN_DRAINED, -1 },
	/* Transitions hold once they have passed; the wish before. */
	{ "up", NULL, { AT(05, "drain") }, 10, PLAN_DRAINED, -1 },
	{ "drain", NULL, { AT(05, "up") }, 10, PLAN_UP, -1 },
	{ "up", NULL, { AT(15, "drain") }, 10, PLAN_UP, 15 },
	{ "up", NULL, { AT(05, "up"), AT(15, "drain") }, 10, PLAN_UP, 15 },
	{ "up", NULL, { AT(05, "up"), AT(10, "drain") }, 10, PLAN_DRAINED, -1 },
	/* Ramps do not matter: drain at 10 is drained at 10. */
	{ "down", NULL, { AT(05, "down") }, 10, PLAN_DOWN, -1 },
	{ "up", NULL, { AT(05, "failed") }, 10, PLAN_FAILED, -1 },
	/* Drain beats health. */
	{ "drain", NULL, { AT(05, "failed") }, 10, PLAN_DRAINED, -1 },
	{ "down", NULL, { AT(05, "failed") }, 10, PLAN_DOWN, -1 },
	/* Back after a failure: 3 s later; the more failures, the later. */
	{ "up", NULL, { AT(05, "failed"), AT(10, "up") }, 10, PLAN_FAILED, 13 },
	{ "up", NULL, { AT(05, "failed"), AT(10, "up") }, 12, PLAN_FAILED, 13 },
	{ "up", NULL, { AT(05, "failed"), AT(10, "up") }, 13, PLAN_UP, -1 },
	{ "up", NULL,
	    { AT(01, "failed"), AT(03, "up"), AT(05, "failed"), AT(10, "up") },
	    15, PLAN_FAILED, 16 },
	/* Back after a drain: at once. */
	{ "up", NULL, { AT(05, "drain"), AT(10, "up") }, 10, PLAN_UP, -1 },
};

static const struct host *
only_host(struct cell *cell)
{
	size_t count;
	const struct host *hosts = cell_hosts(cell, &count);

	assert_int_equal(count, 1);
	return hosts;
}

static void
test_health(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(healths); i++) {
		const char *const *values = healths[i].values;
		struct cell *cell = cell_new();
		int64_t next_us = PLAN_NEVER;
		enum plan_health health;
		uint32_t weight;

		entry_add(
		    cell, ENTRY({ CELL_KIND, "proxy" }, { CELL_NAME, "p" },
			      { CELL_STATE, healths[i].wish },
			      { CELL_WEIGHT, healths[i].weight },
			      { CELL_TRANSITION, values[0] },
			      { CELL_TRANSITION, values[1] },
			      { CELL_TRANSITION, values[2] },
			      { CELL_TRANSITION, values[3] }));
		assert_int_equal(cell_finish(cell), 0);
		assert_int_equal(cell_faults(cell).size, 0);
		health = plan_health(only_host(cell), NOW(healths[i].second),
		    3 * SECOND, &weight, &next_us);
		if (health != healths[i].health ||
		    next_us != (healths[i].next < 0 ? PLAN_NEVER
						    : NOW(healths[i].next)))
			fail_msg("row %zu: %s", i, plan_health_text(health));
		cell_free(&cell);
	}
}

/* ---- whole plans ---- */

struct world {
	struct config *config;
	struct cell *cell;
	struct addresses addresses;
	struct rrsets tlsa;
	struct plan plan;
};

static struct world
world_of(const char *config)
{
	struct world world = { .config = fixture_config(config),
		.cell = cell_new() };

	assert_non_null(world.cell);
	return world;
}

/* A proxy pN with imap at 192.0.2.N, in the north, in that state. */
static void
add_proxy(struct world *world, int number, const char *word)
{
	char name[16], service[64], value[64];
	bool failed = strcmp(word, "failed") == 0;

	(void)snprintf(name, sizeof(name), "p%d", number);
	(void)snprintf(service, sizeof(service), "imap://192.0.2.%d", number);
	(void)snprintf(
	    value, sizeof(value), "20260102030405.000000Z 0 %s 100", word);
	entry_add(
	    world->cell, ENTRY({ CELL_KIND, "proxy" }, { CELL_NAME, name },
			     { CELL_SITE, "north" }, { CELL_SERVICE, service },
			     { CELL_STATE, failed ? "up" : word },
			     { CELL_TRANSITION, value }));
}

static const struct plan *
make(struct world *world)
{
	struct plan_input input = { .config = world->config,
		.zone = world->config->zones.items,
		.cell = world->cell,
		.addresses = &world->addresses,
		.tlsa = &world->tlsa,
		.now_us = NOW(30) };

	assert_int_equal(cell_finish(world->cell), 0);
	world->plan = plan_make(&input);
	return &world->plan;
}

static void
world_free(struct world *world)
{
	plan_free(&world->plan);
	addresses_free(&world->addresses);
	rrsets_free(&world->tlsa);
	cell_free(&world->cell);
	config_free(&world->config);
}

/* Which of the proxies a generic name has, by their last digit. */
static void
addresses_of(const struct plan *plan, const char *owner, char digits[16])
{
	ldns_rdf *name = ldns_dname_new_frm_str(owner);
	size_t count = 0;

	for (size_t i = 0; i < plan->set.count; i++) {
		const ldns_rr *rr = plan->set.rrs[i];
		const ldns_rdf *data = ldns_rr_rdf(rr, 0);

		if ((ldns_rr_get_type(rr) == LDNS_RR_TYPE_A ||
			ldns_rr_get_type(rr) == LDNS_RR_TYPE_AAAA) &&
		    ldns_dname_compare(ldns_rr_owner(rr), name) == 0)
			digits[count++] =
			    (char)('0' + ldns_rdf_data(
					     data)[ldns_rdf_size(data) - 1]);
	}
	digits[count] = '\0';
	ldns_rdf_deep_free(name);
}

static const struct {
	const char *states[5];
	const char *published;
} choices[] = {
	{ { "up", "up", "up", "up" }, "1234" },
	{ { "up", "failed", "up", "up" }, "134" },
	{ { "up", "drain", "up", "down" }, "13" },
	/* 34 % is the bound: 1 of 2 is enough, 1 of 3 is not. */
	{ { "up", "failed" }, "1" },
	{ { "up", "failed", "failed" }, "123" },
	{ { "up", "failed", "failed", "drain" }, "123" },
	{ { "failed", "failed" }, "12" },
	/* The drained do not count. */
	{ { "up", "drain", "drain", "down" }, "1" },
	{ { "drain", "drain", "down" }, "12" },
	{ { "down", "down" }, "12" },
	{ { "failed", "drain" }, "1" },
};

static void
test_choice(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
		struct world world = world_of(
		    "name \"mail.cell.test\" { services = { \"imap\" } }");
		char digits[16];

		for (int k = 0; k < 4 && choices[i].states[k]; k++)
			add_proxy(&world, k + 1, choices[i].states[k]);
		addresses_of(make(&world), "mail.cell.test", digits);
		if (strcmp(digits, choices[i].published) != 0)
			fail_msg("row %zu: %s", i, digits);
		world_free(&world);
	}
}

static const char everything[] =
    "name \"mail.cell.test\" { services = { \"imap\" } }\n"
    "domain \"cell.test\" { srv = { \"imap\", \"pop3s\", \"kerberos\" }\n"
    "  sites = { \"north\", \"south\" }\n  realm = \"R\"\n  mx = yes\n"
    "  autodiscover = \"www.cell.test\" }\n"
    "tlsa \"mail.cell.test\" { certificates = { \"/x\" }\n"
    "  ports = { \"25\" } }\n"
    "host \"p2\" { name = \"two.test\"\n  addresses = { \"2001:db8::2\" } }";

static void
test_everything(void **state)
{
	struct world world = world_of(everything);
	const struct plan *plan;

	(void)state;
	add_proxy(&world, 1, "up");
	entry_add(world.cell,
	    ENTRY({ CELL_KIND, "proxy" }, { CELL_NAME, "p2" },
		{ CELL_SITE, "south" }, { CELL_SERVICE, "imap://x.test:1143" },
		{ CELL_SERVICE, "smtp://x.test" }, { CELL_WEIGHT, "7" }));
	entry_add(world.cell,
	    ENTRY({ CELL_KIND, "host" }, { CELL_NAME, "kdc" },
		{ CELL_SITE, "far" }, { CELL_SERVICE, "kerberos://k.test" }));
	/* Servers are behind the proxies and in nobody's DNS. */
	entry_add(world.cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "s" },
				  { CELL_SERVICE, "imap://192.0.2.99" }));
	world.tlsa =
	    fixture_set("_25._tcp.mail.cell.test. 9 IN TLSA 3 1 1 00ff\n");
	plan = make(&world);
	FIXTURE_ASSERT_SET(&plan->set,
	    "cell.test. 300 IN MX 10 two.test.\n"
	    "_kerberos.cell.test. 3600 IN TXT \"R\"\n"
	    "_autodiscover._tcp.cell.test. 3600 IN SRV 0 0 443 www.cell.test.\n"
	    "_imap._tcp.cell.test. 60 IN SRV 10 100 143 p1.h.cell.test.\n"
	    "_imap._tcp.cell.test. 60 IN SRV 20 7 1143 two.test.\n"
	    "_kerberos._tcp.cell.test. 60 IN SRV 30 100 88 k.test.\n"
	    "_pop3s._tcp.cell.test. 60 IN SRV 0 0 0 .\n"
	    "_kerberos._udp.cell.test. 60 IN SRV 30 100 88 k.test.\n"
	    "autodiscover.cell.test. 3600 IN CNAME www.cell.test.\n"
	    "p1.h.cell.test. 30 IN A 192.0.2.1\n"
	    "p2.h.cell.test. 30 IN AAAA 2001:db8::2\n"
	    "mail.cell.test. 30 IN A 192.0.2.1\n"
	    "mail.cell.test. 30 IN AAAA 2001:db8::2\n"
	    "_25._tcp.mail.cell.test. 9 IN TLSA 3 1 1 00ff\n");
	assert_int_equal(plan->kept.count, 0);
	/* Only the KDC's name has to be looked up, for its own record. */
	assert_int_equal(plan->unknown.count, 1);
	world_free(&world);
}

/* All that is planned, kept or not, is ours by the scope. */
static void
test_scope(void **state)
{
	struct world world = world_of(everything);
	const struct config_zone *zone = world.config->zones.items;
	struct scope scope = scope_new(world.config, zone);
	const struct plan *plan;

	(void)state;
	add_proxy(&world, 1, "up");
	plan = make(&world);
	assert_true(plan->set.count > 5);
	for (size_t i = 0; i < plan->set.count; i++)
		assert_true(scope_owns(&scope, ldns_rr_owner(plan->set.rrs[i]),
		    ldns_rr_get_type(plan->set.rrs[i])));
	assert_int_equal(plan->kept.count, 2); /* MX, TLSA */
	for (size_t i = 0; i < plan->kept.count; i++)
		assert_true(scope_owns(&scope, plan->kept.items[i].owner,
		    plan->kept.items[i].type));
	assert_false(scope_owns(&scope, zone->apex, LDNS_RR_TYPE_NS));
	assert_false(scope_owns(&scope, zone->apex, LDNS_RR_TYPE_A));
	assert_false(scope_owns(&scope, zone->hosts_apex, LDNS_RR_TYPE_A));
	scope_free(&scope);
	world_free(&world);
}

static void
test_kept(void **state)
{
	struct world world = world_of("name \"mail.cell.test\" { }\n"
				      "name \"sieve.cell.test\" "
				      "{ services = { \"sieve\" } }");
	struct rrsets current =
	    fixture_set("sieve.cell.test. 9 IN A 192.0.2.7\n"
			"sieve.cell.test. 9 IN AAAA 2001:db8::7\n"
			"mail.cell.test. 9 IN A 192.0.2.7\n");
	struct rrsets desired = { 0 };

	(void)state;
	add_proxy(&world, 1, "up");
	assert_int_equal(plan_merge(&desired, make(&world), &current), 0);
	FIXTURE_ASSERT_SET(&desired,
	    "p1.h.cell.test. 30 IN A 192.0.2.1\n"
	    "mail.cell.test. 30 IN A 192.0.2.1\n"
	    "sieve.cell.test. 9 IN A 192.0.2.7\n"
	    "sieve.cell.test. 9 IN AAAA 2001:db8::7\n");
	rrsets_free(&current);
	rrsets_free(&desired);
	world_free(&world);
}

static void
test_looked_up(void **state)
{
	struct world world = world_of("name \"mail.cell.test\" { }");
	const char *found[] = { "2001:db8::5", "192.0.2.5" };
	const struct plan *plan;

	(void)state;
	entry_add(world.cell, ENTRY({ CELL_KIND, "proxy" }, { CELL_NAME, "p1" },
				  { CELL_SERVICE, "imap://One.Test" }));
	entry_add(world.cell, ENTRY({ CELL_KIND, "proxy" }, { CELL_NAME, "p2" },
				  { CELL_SERVICE, "imap://two.test" }));
	assert_true(addresses_set(
	    addresses_want(&world.addresses, slice_from("one.test")), found,
	    2));
	plan = make(&world);
	FIXTURE_ASSERT_SET(&plan->set,
	    "p1.h.cell.test. 30 IN A 192.0.2.5\n"
	    "p1.h.cell.test. 30 IN AAAA 2001:db8::5\n"
	    "mail.cell.test. 30 IN A 192.0.2.5\n"
	    "mail.cell.test. 30 IN AAAA 2001:db8::5\n");
	assert_int_equal(plan->unknown.count, 1);
	world_free(&world);
}

static void
test_families(void **state)
{
	struct world world = world_of("name \"mail.cell.test\" { }");
	char digits[16];

	(void)state;
	entry_add(world.cell,
	    ENTRY({ CELL_KIND, "proxy" }, { CELL_NAME, "p1" },
		{ CELL_SERVICE, "imap://192.0.2.1" },
		{ CELL_VOTE, "p1/IPv4 down" }, { CELL_VOTE, "p2/ipv4 down" }));
	add_proxy(&world, 2, "up");
	addresses_of(make(&world), "mail.cell.test", digits);
	assert_string_equal(digits, "2");
	/* Its own name stays: there is nothing better. */
	addresses_of(&world.plan, "p1.h.cell.test", digits);
	assert_string_equal(digits, "1");
	world_free(&world);
}

/* Observers were heard of at second 0 of the minute, or an hour before. */
static void
add_observer(struct world *world, const char *name, bool live, const char *vote)
{
	entry_add(
	    world->cell, ENTRY({ CELL_KIND, "proxy" }, { CELL_NAME, name },
			     { CELL_ALIVE, live ? "20260102030400.000000Z"
						: "20260102020400.000000Z" },
			     { CELL_VOTE, vote }));
}

static const struct {
	const char *votes[3];
	bool silent[3];
	const char *digits; /* of what mail.cell.test has, 4 and 6 */
} family_rows[] = {
	{ { NULL, NULL, NULL }, { false }, "46" },
	{ { "p1/ipv6 down", NULL, NULL }, { false }, "46" },
	{ { "p1/ipv6 down", "p1/ipv6 down", NULL }, { false }, "4" },
	{ { "p1/ipv4 down", "p1/ipv4 down", NULL }, { false }, "6" },
	{ { "p1/ipv4 down", "p1/ipv6 down", NULL }, { false }, "46" },
	/* Who is silent has no say, and counts. */
	{ { "p1/ipv6 down", "p1/ipv6 down", NULL }, { true }, "46" },
	{ { "p1/ipv6 down", "p1/ipv6 down", NULL }, { false, false, true },
	    "4" },
	{ { "p2/ipv6 down", "p1 down", "p1/ipv6 silent" }, { false }, "46" },
};

static void
test_observed_families(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(family_rows); i++) {
		struct world world = world_of("name \"mail.cell.test\" { }");
		char digits[16];

		entry_add(world.cell,
		    ENTRY({ CELL_KIND, "proxy" }, { CELL_NAME, "p1" },
			{ CELL_SERVICE, "imap://192.0.2.4" },
			{ CELL_SERVICE, "imap://[2001:db8::6]" }));
		for (size_t k = 0; k < 3; k++) {
			char name[] = { 'o', (char)('1' + k), '\0' };

			add_observer(&world, name, !family_rows[i].silent[k],
			    family_rows[i].votes[k]);
		}
		addresses_of(make(&world), "mail.cell.test", digits);
		if (strcmp(digits, family_rows[i].digits) != 0)
			fail_msg("row %zu: %s", i, digits);
		world_free(&world);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_scope),
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_looked_up),
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_observed_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
