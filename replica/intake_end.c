#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/record.h"
#include "replica/clock.h"
#include "replica/intake_state.h"

#define INTAKE_PRUNE_ALWAYS 5 /* accounts: few are never too many */
#define INTAKE_CELL_ALWAYS  1
#define INTAKE_CELL_PERCENT 50

/* As memcmp() would, which costs a call for each of many comparisons. */
static int
intake_compare_ids(const void *a, const void *b)
{
	uint64_t first[LAYOUT_ID_SIZE / sizeof(uint64_t)];
	uint64_t second[LAYOUT_ID_SIZE / sizeof(uint64_t)];
	size_t at = 0;

	memcpy(first, a, sizeof(first));
	memcpy(second, b, sizeof(second));
	if (first[at] == second[at])
		at++;
	return (be64toh(first[at]) > be64toh(second[at])) -
	       (be64toh(first[at]) < be64toh(second[at]));
}

/* Asked in the order of ids, as they are sorted, from the first one on. */
static bool
intake_was_seen(struct intake *intake, struct slice id)
{
	size_t count = intake->seen.size / LAYOUT_ID_SIZE;
	int order = 1;

	while (intake->seen_at < count) {
		order = intake_compare_ids(
		    intake->seen.data + intake->seen_at * LAYOUT_ID_SIZE,
		    id.data);
		if (order >= 0)
			break;
		intake->seen_at++;
	}
	return order == 0;
}

/* Whether a refresh that did not show this record takes it away. */
static bool
intake_is_gone(const struct intake *intake, struct slice record)
{
	struct slice csn = entry_record_csn(record);

	return !intake->has_source || intake->trust || !csn_is_valid(csn) ||
	       csn_vector_covers(&intake->source, csn);
}

/*
 * The next record of a table, from *id on, that is to be pruned; *id is empty
 * at the end. `key` keeps the id, since the slice dies with the next write.
 */
static int
intake_next_gone(struct intake *intake, enum store_table table,
    uint8_t key[LAYOUT_ID_SIZE], struct slice *id, const char **why)
{
	struct slice record;

	if (id->size == 0)
		intake->seen_at = 0;
	for (;;) {
		if (store_next(intake->store, table, *id, id, &record, why) !=
		    0)
			return intake_fail_store(intake);
		if (id->size != LAYOUT_ID_SIZE) {
			*id = slice_from("");
			return 0;
		}
		memcpy(key, id->data, LAYOUT_ID_SIZE);
		*id = slice_of(key, LAYOUT_ID_SIZE);
		if (intake_was_seen(intake, *id))
			continue;
		if (intake_is_gone(intake, record))
			return 0;
		intake->counts.kept++;
	}
}

static int
intake_count_gone(struct intake *intake, enum store_table table, uint64_t *gone,
    uint64_t *total, const char **why)
{
	uint8_t key[LAYOUT_ID_SIZE];
	struct slice id = slice_from("");

	*gone = 0;
	if (store_count(intake->store, table, total, why) != 0)
		return intake_fail_store(intake);
	for (;;) {
		if (intake_next_gone(intake, table, key, &id, why) != 0)
			return -1;
		if (id.size == 0)
			return 0;
		(*gone)++;
	}
}

/* Whether the share is too large; all of them always is. */
static bool
intake_is_too_much(
    uint64_t gone, uint64_t total, unsigned percent, uint64_t always)
{
	if (percent >= 100 || gone == 0)
		return false;
	if (gone == total)
		return true;
	return gone > always && gone * 100 > total * percent;
}

/* Looks before anything is pruned. */
static enum intake_outcome
intake_check_prune(struct intake *intake, const char **why)
{
	uint64_t gone, total, cell_gone, cell_total;

	if (intake_open(intake, why) != 0 ||
	    intake_count_gone(
		intake, STORE_CELL, &cell_gone, &cell_total, why) != 0 ||
	    intake_count_gone(intake, STORE_ACCOUNTS, &gone, &total, why) != 0)
		return INTAKE_FAILED;
	intake->counts.kept = 0;
	if (intake->trust)
		return INTAKE_IN_STEP;
	if (intake_is_too_much(
		gone, total, intake->prune_max, INTAKE_PRUNE_ALWAYS)) {
		(void)snprintf(intake->why, sizeof(intake->why),
		    "the refresh would drop %llu of %llu accounts, prune_max "
		    "is %u percent",
		    (unsigned long long)gone, (unsigned long long)total,
		    intake->prune_max);
		*why = intake->why;
		return INTAKE_STOPPED;
	}
	if (intake_is_too_much(cell_gone, cell_total,
		intake->prune_max >= 100 ? 100 : INTAKE_CELL_PERCENT,
		INTAKE_CELL_ALWAYS)) {
		(void)snprintf(intake->why, sizeof(intake->why),
		    "the refresh would drop %llu of %llu pools and hosts",
		    (unsigned long long)cell_gone,
		    (unsigned long long)cell_total);
		*why = intake->why;
		return INTAKE_STOPPED;
	}
	return INTAKE_IN_STEP;
}

static int
intake_put_held(struct intake *intake, const char **why)
{
	struct slice rest = buf_slice(&intake->held);
	struct record_field id, record;
	bool changed;

	while (record_next(&rest, &id) && record_next(&rest, &record)) {
		if (store_put(intake->store, STORE_CELL, id.value, record.value,
			&changed, why) != 0)
			return intake_fail_store(intake);
		if (changed)
			intake->counts.changed++;
	}
	return 0;
}

static int
intake_prune(struct intake *intake, enum store_table table, const char **why)
{
	uint8_t key[LAYOUT_ID_SIZE];
	struct slice id = slice_from("");
	bool changed;

	for (;;) {
		if (intake_open(intake, why) != 0 ||
		    intake_next_gone(intake, table, key, &id, why) != 0)
			return -1;
		if (id.size == 0)
			return 0;
		if (store_delete(intake->store, id, &changed, why) != 0)
			return intake_fail_store(intake);
		intake->counts.pruned++;
		/* Pools and hosts go in the transaction that brought them. */
		if (table == STORE_ACCOUNTS && intake_count(intake, why) != 0)
			return -1;
	}
}

static void
intake_log_refresh(const struct intake *intake, enum intake_outcome outcome)
{
	static const char *const outcomes[] = {
		[INTAKE_IN_STEP] = "in_step",
		[INTAKE_PROVISIONAL] = "provisional",
		[INTAKE_STOPPED] = "stopped",
		[INTAKE_FAILED] = "failed",
	};
	const struct intake_counts *counts = &intake->counts;
	struct log_line line = log_line(
	    outcome == INTAKE_IN_STEP ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
	    "refreshed");

	log_string(&line, "outcome", outcomes[outcome]);
	log_number(&line, "entries", (int64_t)counts->entries);
	log_number(&line, "changed", (int64_t)counts->changed);
	log_number(&line, "deleted", (int64_t)counts->deleted);
	log_number(&line, "pruned", (int64_t)counts->pruned);
	log_number(&line, "kept", (int64_t)counts->kept);
	log_number(&line, "ignored", (int64_t)counts->ignored);
	if (outcome == INTAKE_STOPPED)
		log_string(&line, "why", intake->why);
	if (outcome == INTAKE_PROVISIONAL)
		log_string(&line, "why",
		    "the provider is behind of what was seen before");
	log_send(intake->status->log, &line);
}

/* The last step: where the content stands now. */
static int
intake_settle(struct intake *intake, const struct csn_vector *vector,
    enum intake_outcome outcome, const char **why)
{
	bool known = vector->count > 0 || !intake->whole;

	if (outcome == INTAKE_IN_STEP) {
		/* Without a cookie what we had stays. */
		if (vector->count > 0)
			intake->cookie.vector = *vector;
		intake->cookie.reload = !known;
		intake->status->filled_us = clock_realtime_us();
		intake->status->contact_us = intake->status->filled_us;
	} else {
		intake->cookie.reload = true;
	}
	intake->provisional = outcome != INTAKE_IN_STEP;
	intake->cookie_changed = true;
	/* What is there is whole, even where it may hold too much. */
	intake->status->complete = true;
	intake->status->vector = intake->cookie.vector;
	if (intake_open(intake, why) != 0)
		return -1;
	if (intake->origin.size > 0 && outcome != INTAKE_STOPPED &&
	    store_put_origin(intake->store, buf_slice(&intake->origin), why) !=
		0)
		return intake_fail_store(intake);
	if (intake_commit(intake, why) != 0)
		return -1;
	if (outcome != INTAKE_STOPPED)
		buf_free(&intake->origin);
	return 0;
}

/* Pools and hosts, come and gone, in one transaction; then the accounts. */
static enum intake_outcome
intake_conclude(struct intake *intake, bool present, const char **why)
{
	enum intake_outcome outcome =
	    intake->behind ? INTAKE_PROVISIONAL : INTAKE_IN_STEP;
	enum intake_outcome prune = INTAKE_IN_STEP;

	if (intake->seen.size > 0)
		qsort(intake->seen.data, intake->seen.size / LAYOUT_ID_SIZE,
		    LAYOUT_ID_SIZE, intake_compare_ids);
	if (present)
		prune = intake_check_prune(intake, why);
	if (prune == INTAKE_FAILED)
		return INTAKE_FAILED;
	if (prune == INTAKE_STOPPED) {
		present = false;
		outcome = INTAKE_STOPPED;
	}
	if (intake_open(intake, why) != 0 || intake_put_held(intake, why) != 0)
		return INTAKE_FAILED;
	if (present && (intake_prune(intake, STORE_CELL, why) != 0 ||
			   intake_prune(intake, STORE_CONTAINERS, why) != 0))
		return INTAKE_FAILED;
	if (intake_commit(intake, why) != 0)
		return INTAKE_FAILED;
	if (present && intake_prune(intake, STORE_ACCOUNTS, why) != 0)
		return INTAKE_FAILED;
	return outcome;
}

enum intake_outcome
intake_end(struct intake *intake, const struct csn_vector *vector, bool present,
    const char **why)
{
	enum intake_outcome outcome =
	    intake_conclude(intake, present || intake->whole, why);

	if (outcome != INTAKE_FAILED &&
	    intake_settle(intake, vector, outcome, why) != 0)
		outcome = INTAKE_FAILED;
	if (outcome == INTAKE_STOPPED)
		*why = intake->why;
	intake_log_refresh(intake, outcome);
	intake->refreshing = false;
	buf_free(&intake->seen);
	buf_free(&intake->held);
	return outcome;
}
