#include "ctl/plan.h"

#include <stdlib.h>

#include "lib/placement.h"
#include "lib/timestamp.h"

#define RECORD_MAX ((size_t)4 * 1024 * 1024)

size_t
plan_place(
    const struct cell *cell, const struct account *account, int64_t now_us)
{
	struct placement placed = placement(account, cell, now_us);
	size_t count;
	const struct host *hosts = cell_hosts(cell, &count);

	if (placed.kind == PLACEMENT_HOST)
		return count + PLAN_ELSEWHERE;
	if (placed.pool && !placed.pool->affinity &&
	    placed.reason == PLACEMENT_BY_HASH)
		return count + PLAN_SPREAD;
	if (!placed.server || placed.kind == PLACEMENT_NONE)
		return count + PLAN_NOBODY;
	return (size_t)(placed.server - hosts);
}

static int
add_transition(struct buf *record, const struct transition *value)
{
	struct buf text = buf_bounded(256);
	int result = transition_format(&text, value);

	if (result == 0)
		result = record_add(record, CELL_TRANSITION, buf_slice(&text));
	buf_free(&text);
	return result;
}

/* A value that the change deletes because it lies too far ahead. */
static bool
is_ahead(
    const struct host *host, const struct change *change, struct slice text)
{
	for (size_t i = 0; i < change->ahead; i++)
		if (slice_equal(
			host->transitions[host->transition_count - 1 - i].text,
			text))
			return true;
	return false;
}

/* The record of the host after one step. The wish has no part in placement. */
static int
changed_record(
    struct buf *out, const struct host *host, const struct change *change)
{
	struct slice rest = host->record;
	struct record_field field;
	int result = 0;

	while (result == 0 && record_next(&rest, &field)) {
		if (field.tag != CELL_TRANSITION ||
		    !is_ahead(host, change, field.value))
			result = record_add(out, field.tag, field.value);
	}
	return result == 0 ? add_transition(out, &change->value) : result;
}

static int
copy_records(struct cell *to, const struct cell *from, const struct host *but,
    struct slice instead)
{
	size_t pool_count, host_count;
	const struct pool *pools = cell_pools(from, &pool_count);
	const struct host *hosts = cell_hosts(from, &host_count);
	int result = 0;

	for (size_t i = 0; i < pool_count && result == 0; i++)
		result = cell_add(to, pools[i].record);
	for (size_t i = 0; i < host_count && result == 0; i++)
		result =
		    cell_add(to, &hosts[i] == but ? instead : hosts[i].record);
	return result;
}

static struct cell *
make_step(const struct cell *cell, const struct host *host,
    const struct change *change)
{
	struct buf record = buf_bounded(RECORD_MAX);
	struct cell *changed = cell_new();

	if (!changed || changed_record(&record, host, change) < 0 ||
	    copy_records(changed, cell, host, buf_slice(&record)) < 0 ||
	    cell_finish(changed) < 0)
		cell_free(&changed);
	buf_free(&record);
	return changed;
}

struct cell *
plan_cell(const struct cell *cell, const struct host *host, uint32_t guard_ms,
    int64_t now_us, const struct transition *wanted, struct change *change)
{
	struct cell *based = NULL, *changed;

	change_make(change, host, guard_ms, now_us, wanted->state,
	    wanted->weight, wanted->ramp);
	if (change->step == CHANGE_BASE) {
		based = make_step(cell, host, change);
		host = based ? cell_host(based, host->kind, host->name) : NULL;
		if (!host)
			return NULL;
		cell = based;
	}
	if (change->step != CHANGE_WRITE)
		change_make(change, host, guard_ms, change->again_us,
		    wanted->state, wanted->weight, wanted->ramp);
	changed = make_step(cell, host, change);
	cell_free(&based);
	return changed;
}

int
plan_open(struct plan *plan, const struct cell *before, int64_t before_us,
    const struct cell *after, int64_t after_us)
{
	size_t host_count;

	(void)cell_hosts(before, &host_count);
	*plan = (struct plan){ .before = before,
		.after = after,
		.before_us = before_us,
		.after_us = after_us,
		.place_count = host_count + PLAN_PLACES };
	plan->moves =
	    calloc(plan->place_count * plan->place_count, sizeof(*plan->moves));
	return plan->moves ? 0 : -1;
}

void
plan_close(struct plan *plan)
{
	free(plan->moves);
	plan->moves = NULL;
}

void
plan_count(struct plan *plan, const struct account *account)
{
	size_t from = plan_place(plan->before, account, plan->before_us);
	size_t to = plan_place(plan->after, account, plan->after_us);

	plan->accounts++;
	plan->moving += from != to;
	plan->moves[from * plan->place_count + to]++;
}

uint64_t
plan_moves(const struct plan *plan, size_t from, size_t to)
{
	return plan->moves[from * plan->place_count + to];
}

struct slice
plan_place_name(const struct cell *cell, size_t place)
{
	static const char *const texts[] = {
		[PLAN_NOBODY] = "nobody",
		[PLAN_ELSEWHERE] = "elsewhere",
		[PLAN_SPREAD] = "anywhere",
	};
	size_t count;
	const struct host *hosts = cell_hosts(cell, &count);

	_Static_assert(ARRAY_SIZE(texts) == PLAN_PLACES, "a text each");
	return place < count ? hosts[place].name
			     : slice_from(texts[place - count]);
}
