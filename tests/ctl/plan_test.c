#include "ctl/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/placement.h"
#include "lib/timestamp.h"
#include "tests/lib/entry.h"

#define NOW    INT64_C(1800000000000000) /* 20270115080000Z */
#define SECOND TIMESTAMP_SECOND
#define GUARD  1000
#define USERS  2000
#define BASE   "19700101000000.000000Z 0 up 100"
#define LATER  "20990101000000.000000Z 0 down 0"

/* Two servers with a history, one without, and a pool that spreads. */
static struct cell *
make_cell(void)
{
	struct cell *cell = cell_new();

	entry_add(cell, ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "mail" },
			    { CELL_DEFAULT, "TRUE" }));
	entry_add(cell, ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "any" },
			    { CELL_AFFINITY, "none" }));
	entry_add(
	    cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "mbox1" },
		      { CELL_TRANSITION, BASE }, { CELL_TRANSITION, LATER }));
	entry_add(cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "mbox2" },
			    { CELL_TRANSITION, BASE }));
	entry_add(cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "mbox3" }));
	entry_add(cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "any1" },
			    { CELL_POOL, "any" }));
	assert_int_equal(cell_finish(cell), 0);
	return cell;
}

struct case_row {
	const char *server;
	enum host_state state;
	uint32_t weight, ramp;
	/* Who may lose users, who may get them; "" for nobody. */
	const char *from, *to;
	bool has_base; /* the history begins with this change */
};

static const struct case_row case_rows[] = {
	{ "mbox1", HOST_DRAIN, 100, 0, "mbox1", "mbox2 mbox3", false },
	{ "mbox1", HOST_DOWN, 100, 60, "mbox1", "mbox2 mbox3", false },
	{ "mbox3", HOST_DRAIN, 100, 60, "mbox3", "mbox1 mbox2", true },
	{ "mbox2", HOST_UP, 300, 0, "mbox1 mbox3", "mbox2", false },
	{ "mbox2", HOST_UP, 10, 0, "mbox2", "mbox1 mbox3", false },
	{ "mbox2", HOST_UP, 0, 0, "mbox2", "mbox1 mbox3", false },
	{ "mbox2", HOST_UP, 100, 600, "", "", false },
	{ "any1", HOST_DOWN, 100, 0, "", "", true },
};

static bool
is_in(const char *list, struct slice name)
{
	struct slice rest = slice_from(list), word;

	while (slice_next_word(&rest, ' ', &word))
		if (slice_equal(word, name))
			return true;
	return false;
}

static void
count_users(struct plan *plan)
{
	for (unsigned i = 0; i < USERS; i++) {
		struct buf record = buf_bounded(4096);
		struct account account;
		const char *why;
		char uid[32];

		(void)snprintf(uid, sizeof(uid), "user%u", i);
		entry_record(&record, ENTRY({ ACCOUNT_UID, uid }));
		assert_int_equal(
		    account_read(&account, buf_slice(&record), &why), 0);
		plan_count(plan, &account);
		buf_free(&record);
	}
}

/* The matrix says nothing but what the row allows, and its sum is right. */
static void
check_moves(const struct plan *plan, const struct case_row *row)
{
	uint64_t moving = 0, all = 0;

	for (size_t i = 0; i < plan->place_count; i++) {
		for (size_t k = 0; k < plan->place_count; k++) {
			uint64_t moves = plan_moves(plan, i, k);

			all += moves;
			if (i == k || moves == 0)
				continue;
			moving += moves;
			assert_true(
			    is_in(row->from, plan_place_name(plan->before, i)));
			assert_true(
			    is_in(row->to, plan_place_name(plan->after, k)));
		}
	}
	assert_int_equal(all, USERS);
	assert_int_equal(plan->accounts, USERS);
	assert_int_equal(plan->moving, moving);
	assert_int_equal(moving > 0, row->from[0] != '\0');
}

static void
run_case(const struct case_row *row)
{
	struct cell *cell = make_cell(), *after;
	struct transition wanted = {
		.state = row->state, .weight = row->weight, .ramp = row->ramp
	};
	const struct host *host = cell_host(
			      cell, HOST_SERVER, slice_from(row->server)),
			  *changed;
	struct change change;
	struct plan plan;
	int64_t delay_us = row->has_base ? GUARD * 1000 : 0;

	after = plan_cell(cell, host, GUARD, NOW, &wanted, &change);
	assert_non_null(after);
	assert_int_equal(change.step, CHANGE_WRITE);
	assert_int_equal(change.value.time_us, NOW + delay_us);
	changed = cell_host(after, HOST_SERVER, slice_from(row->server));
	/* The base or what was there, and the change; none too far ahead. */
	assert_int_equal(changed->transition_count, 2);
	assert_int_equal(changed->transitions[1].state, row->state);
	assert_int_equal(plan_open(&plan, cell, NOW, after,
			     NOW + delay_us + row->ramp * SECOND +
				 (int64_t)GUARD * 1000 + 1),
	    0);
	count_users(&plan);
	check_moves(&plan, row);
	plan_close(&plan);
	cell_free(&after);
	cell_free(&cell);
}

static void
test_changes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(case_rows); i++)
		run_case(&case_rows[i]);
}

static size_t
place_of(const struct cell *cell, const struct entry_field *fields)
{
	struct buf record;
	struct account account;
	const char *why;
	size_t place;

	entry_record(&record, fields);
	assert_int_equal(account_read(&account, buf_slice(&record), &why), 0);
	place = plan_place(cell, &account, NOW);
	buf_free(&record);
	return place;
}

static void
test_places(void **state)
{
	struct cell *cell = make_cell();
	size_t count, place;

	(void)state;
	(void)cell_hosts(cell, &count);
	place = place_of(
	    cell, ENTRY({ ACCOUNT_UID, "a" }, { ACCOUNT_PIN, "mbox2" }));
	assert_true(slice_is(plan_place_name(cell, place), "mbox2"));
	place = place_of(
	    cell, ENTRY({ ACCOUNT_UID, "a" }, { ACCOUNT_PIN, "unknown" }));
	assert_int_equal(place, count + PLAN_NOBODY);
	place = place_of(
	    cell, ENTRY({ ACCOUNT_UID, "a" }, { ACCOUNT_POOL, "none" }));
	assert_int_equal(place, count + PLAN_NOBODY);
	place =
	    place_of(cell, ENTRY({ ACCOUNT_UID, "a" }, { ACCOUNT_POOL, "none" },
			       { ACCOUNT_PIN, "far.example.org" }));
	assert_int_equal(place, count + PLAN_ELSEWHERE);
	place = place_of(
	    cell, ENTRY({ ACCOUNT_UID, "a" }, { ACCOUNT_POOL, "any" }));
	assert_int_equal(place, count + PLAN_SPREAD);
	assert_true(slice_is(plan_place_name(cell, place), "anywhere"));
	cell_free(&cell);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
