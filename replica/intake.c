#include "replica/intake.h"

#include <stdlib.h>
#include <string.h>

#include "lib/record.h"
#include "replica/clock.h"
#include "replica/intake_state.h"

#define INTAKE_BATCH_MAX    1000 /* changes in one transaction */
#define INTAKE_BATCH_AGE_MS 250
#define INTAKE_SEEN_MAX     ((size_t)32 << 20) /* entries of one refresh */
#define INTAKE_CELL_MAX     ((size_t)16 << 20) /* octets of pools, hosts */
#define INTAKE_ORIGIN_MAX   65536

struct intake *
intake_new(struct store *store, struct status *status, unsigned prune_max)
{
	struct intake *intake = calloc(1, sizeof(*intake));
	const char *why;

	if (!intake)
		return NULL;
	intake->store = store;
	intake->status = status;
	intake->prune_max = prune_max;
	intake->seen = buf_bounded(INTAKE_SEEN_MAX * LAYOUT_ID_SIZE);
	intake->held = buf_bounded(INTAKE_CELL_MAX);
	intake->record = buf_bounded(LAYOUT_RECORD_MAX);
	intake->moved = buf_bounded(LAYOUT_RECORD_MAX);
	intake->origin = buf_bounded(INTAKE_ORIGIN_MAX);
	intake->cookie.reload = true;
	if (store_begin(store, &why) == 0) {
		(void)store_get_cookie(store, &intake->cookie, &why);
		store_abort(store);
	}
	return intake;
}

void
intake_keep_keys(struct intake *intake)
{
	intake->keys = true;
}

void
intake_free(struct intake **intake)
{
	struct intake *old = *intake;

	*intake = NULL;
	if (!old)
		return;
	intake_abandon(old);
	buf_free(&old->seen);
	buf_free(&old->held);
	buf_free(&old->record);
	buf_free(&old->moved);
	buf_free(&old->origin);
	free(old);
}

const struct store_cookie *
intake_cookie(const struct intake *intake)
{
	return &intake->cookie;
}

enum intake_fault
intake_fault(const struct intake *intake)
{
	return intake->fault;
}

bool
intake_wants_reload(const struct intake *intake)
{
	return intake->wants_reload;
}

void
intake_abandon(struct intake *intake)
{
	store_abort(intake->store);
	intake->batch = 0;
	intake->refreshing = false;
	/* Changes of the cookie that were not committed are forgotten too. */
	if (intake->cookie_changed) {
		const char *why;

		intake->cookie_changed = false;
		if (store_begin(intake->store, &why) == 0) {
			(void)store_get_cookie(
			    intake->store, &intake->cookie, &why);
			store_abort(intake->store);
		}
	}
	buf_free(&intake->seen);
	buf_free(&intake->held);
}

int
intake_fail_store(struct intake *intake)
{
	intake->fault = INTAKE_FAULT_STORE;
	store_abort(intake->store);
	if (store_is_full(intake->store)) {
		int freed = store_check_readers(intake->store);
		struct log_line line =
		    log_line(LOG_LEVEL_ERROR, "replica_full");

		log_number(&line, "dead_readers", freed);
		log_send(intake->status->log, &line);
	}
	return -1;
}

static int
intake_fail_source(struct intake *intake, const char **why, const char *text)
{
	intake->fault = INTAKE_FAULT_SOURCE;
	*why = text;
	return -1;
}

int
intake_open(struct intake *intake, const char **why)
{
	if (store_is_open(intake->store))
		return 0;
	if (store_begin(intake->store, why) != 0)
		return intake_fail_store(intake);
	intake->batch = 0;
	intake->batch_since_ms = clock_monotonic_ms();
	return 0;
}

int
intake_commit(struct intake *intake, const char **why)
{
	if (!store_is_open(intake->store))
		return 0;
	if ((intake->cookie_changed &&
		store_put_cookie(intake->store, &intake->cookie, why) != 0) ||
	    status_put(intake->status, why) != 0 ||
	    store_commit(intake->store, why) != 0)
		return intake_fail_store(intake);
	intake->cookie_changed = false;
	intake->batch = 0;
	return 0;
}

int
intake_count(struct intake *intake, const char **why)
{
	intake->batch++;
	if (intake->refreshing && intake->batch >= INTAKE_BATCH_MAX)
		return intake_commit(intake, why);
	return 0;
}

int
intake_forget_cookie(struct intake *intake, const char **why)
{
	intake->cookie.reload = true;
	intake->cookie_changed = true;
	if (intake_open(intake, why) != 0)
		return -1;
	return intake_commit(intake, why);
}

int
intake_set_origin(struct intake *intake, const char *kind, const char *scope,
    const char *choice, bool *moved, const char **why)
{
	struct buf *origin = &intake->origin;
	struct slice old;
	size_t fixed;

	*moved = false;
	(void)buf_printf(origin, "%s\n%s\n", kind, scope);
	fixed = origin->size;
	(void)buf_add_string(origin, choice);
	if (intake->keys)
		(void)buf_add_string(origin, "\nkeys");
	if (origin->failed)
		return intake_fail_source(
		    intake, why, "suffix and filter are too long");
	if (intake_open(intake, why) != 0 ||
	    store_get_origin(intake->store, &old, why) != 0)
		return intake_fail_store(intake);
	if (slice_equal(old, buf_slice(origin))) {
		buf_free(origin);
	} else {
		intake->cookie.reload = true;
		*moved =
		    old.size > 0 && !slice_equal(slice_first(old, fixed),
					slice_first(buf_slice(origin), fixed));
	}
	if (*moved)
		csn_vector_clear(&intake->cookie.vector);
	store_abort(intake->store);
	return 0;
}

void
intake_begin(struct intake *intake, const struct intake_refresh *refresh)
{
	intake->refreshing = true;
	intake->whole = refresh->whole;
	intake->trust = refresh->trust;
	intake->wants_reload = false;
	intake->has_source = refresh->vector != NULL;
	csn_vector_clear(&intake->source);
	if (refresh->vector)
		intake->source = *refresh->vector;
	intake->behind =
	    intake->has_source && !intake->trust &&
	    !csn_vector_covers_all(&intake->source, &intake->cookie.vector);
	intake->provisional = refresh->whole;
	intake->counts = (struct intake_counts){ 0 };
	buf_clear(&intake->seen);
	buf_clear(&intake->held);
}

static int
intake_see(struct intake *intake, struct slice id, const char **why)
{
	if (buf_add_slice(&intake->seen, id) == 0)
		return 0;
	return intake_fail_source(
	    intake, why, "more entries than can be kept in mind");
}

int
intake_present(struct intake *intake, struct slice id, const char **why)
{
	if (id.size != LAYOUT_ID_SIZE)
		return intake_fail_source(intake, why, "malformed entryUUID");
	return intake_see(intake, id, why);
}

/* Whether what the source says of an entry is older than what we know. */
static bool
intake_is_older(
    const struct intake *intake, struct slice csn, struct slice stored)
{
	struct slice stored_csn = entry_record_csn(stored);

	if (!intake->has_source || intake->trust)
		return false;
	if (stored.size > 0)
		return csn_is_valid(stored_csn) &&
		       slice_compare(csn, stored_csn) < 0 &&
		       !csn_vector_covers(&intake->source, stored_csn);
	/* Unknown, though all up to there was seen: it was deleted. */
	return intake->behind && csn_vector_covers(&intake->cookie.vector, csn);
}

/* Gives one record the DN that it has below its renamed container. */
static int
intake_move_record(struct intake *intake, enum store_table table,
    struct slice id, struct slice record, struct slice old_dn,
    struct slice new_dn, const char **why)
{
	struct slice dn = entry_record_dn(record);
	struct buf text = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t key[LAYOUT_ID_SIZE];
	bool changed;
	int result = -1;

	memcpy(key, id.data, sizeof(key));
	(void)buf_add_slice(&text, slice_first(dn, dn.size - old_dn.size));
	(void)buf_add_slice(&text, new_dn);
	buf_clear(&intake->moved);
	if (text.failed ||
	    entry_record_move(&intake->moved, record, buf_slice(&text)) != 0)
		*why = "a DN is too large";
	else
		result =
		    store_put(intake->store, table, slice_of(key, sizeof(key)),
			buf_slice(&intake->moved), &changed, why);
	buf_free(&text);
	return result;
}

/* A rename of an entry renames all below it, and no message says so. */
static int
intake_move_below(struct intake *intake, enum store_table table,
    struct slice old_dn, struct slice new_dn, const char **why)
{
	uint8_t last[LAYOUT_ID_SIZE];
	struct slice id = slice_from(""), record;

	for (;;) {
		if (store_next(intake->store, table, id, &id, &record, why) !=
		    0)
			return -1;
		if (id.size != sizeof(last))
			return 0;
		memcpy(last, id.data, sizeof(last));
		if (entry_dn_below(entry_record_dn(record), old_dn) &&
		    intake_move_record(
			intake, table, id, record, old_dn, new_dn, why) != 0)
			return -1;
		id = slice_of(last, sizeof(last));
	}
}

static int
intake_rename(struct intake *intake, struct slice stored_dn,
    struct slice new_dn, const char **why)
{
	struct buf old_dn = buf_bounded(LAYOUT_RECORD_MAX);
	int result = 0;

	/* The stored one lies in the database, and that is about to change. */
	if (buf_add_slice(&old_dn, stored_dn) != 0) {
		*why = "a DN is too large";
		result = -1;
	}
	for (unsigned i = 0; result == 0 && i < STORE_TABLE_COUNT; i++)
		result = intake_move_below(intake, (enum store_table)i,
		    buf_slice(&old_dn), new_dn, why);
	buf_free(&old_dn);
	return result;
}

static int
intake_hold(struct intake *intake, struct slice id, const char **why)
{
	(void)record_add(&intake->held, INTAKE_HELD_ID, id);
	(void)record_add(
	    &intake->held, INTAKE_HELD_RECORD, buf_slice(&intake->record));
	if (!intake->held.failed)
		return 0;
	return intake_fail_source(intake, why, "too many pools and hosts");
}

/* Puts what was made in intake->record where its kind belongs. */
static int
intake_put(struct intake *intake, const struct store_place *old,
    enum entry_kind kind, struct slice id, bool *changed, const char **why)
{
	static const enum store_table tables[] = {
		[ENTRY_ACCOUNT] = STORE_ACCOUNTS,
		[ENTRY_CELL] = STORE_CELL,
		[ENTRY_CONTAINER] = STORE_CONTAINERS,
	};

	int result;

	*changed = false;
	if (kind == ENTRY_CELL && intake->refreshing)
		return intake_hold(intake, id, why);
	if (kind == ENTRY_OTHER)
		result = store_delete(intake->store, id, changed, why);
	else
		result = store_replace(intake->store, old, tables[kind], id,
		    buf_slice(&intake->record), changed, why);
	if (result != 0)
		return intake_fail_store(intake);
	if (*changed) {
		intake->counts.changed++;
		return intake_count(intake, why);
	}
	return 0;
}

static void
intake_measure_lag(struct intake *intake, struct slice csn)
{
	int64_t lag_us = clock_realtime_us() - csn_time_us(csn);

	/* Clocks differ by a little. */
	intake->status->lag_us = lag_us < 0 ? 0 : lag_us;
}

/* A value that cannot be read must not go unnoticed for months. */
static void
intake_log_skipped(
    const struct intake *intake, const struct entry *entry, const char *why)
{
	struct log_line line = log_line(LOG_LEVEL_ERROR, "entry_skipped");

	log_text(&line, "dn", entry->dn);
	log_string(&line, "why", why);
	log_send(intake->status->log, &line);
}

/* Takes in the record that was made of an entry. */
static int
intake_take(struct intake *intake, const struct entry *entry,
    enum entry_kind kind, struct slice id, const char **why)
{
	struct slice csn = entry_csn(entry);
	struct store_place old;
	bool changed;

	if (store_find(intake->store, id, &old, why) != 0)
		return intake_fail_store(intake);
	if (intake_is_older(intake, csn, old.record)) {
		intake->counts.ignored++;
		return 0;
	}
	if (old.record.size > 0 &&
	    !slice_equal(entry_record_dn(old.record), entry->dn) &&
	    (intake_rename(
		 intake, entry_record_dn(old.record), entry->dn, why) != 0 ||
		store_find(intake->store, id, &old, why) != 0))
		return intake_fail_store(intake);
	if (intake_put(intake, &old, kind, id, &changed, why) != 0)
		return -1;
	if (!intake->refreshing && csn_is_valid(csn))
		intake_measure_lag(intake, csn);
	return 0;
}

int
intake_entry(struct intake *intake, const struct entry *entry, const char **why)
{
	uint8_t key[LAYOUT_ID_SIZE] = { 0 };
	struct slice id = slice_of(key, sizeof(key));
	enum entry_kind kind = ENTRY_OTHER;
	struct entry whole = *entry;
	const char *fault;

	if (intake->has_source && !csn_is_valid(entry_csn(entry)))
		return intake_fail_source(intake, why,
		    "the provider hides entryCSN: without it changes would be "
		    "lost");
	buf_clear(&intake->record);
	whole.keys = intake->keys;
	if (entry_make(&whole, &intake->record, key, &kind, &fault) != 0) {
		intake_log_skipped(intake, entry, fault);
		return entry->id.size == LAYOUT_ID_SIZE && intake->refreshing
			   ? intake_see(intake, entry->id, why)
			   : 0;
	}
	intake->counts.entries++;
	if (intake->refreshing && intake_see(intake, id, why) != 0)
		return -1;
	if (intake_open(intake, why) != 0)
		return -1;
	return intake_take(intake, entry, kind, id, why);
}

/* Whether an account lies below that DN. */
static int
intake_has_below(
    struct intake *intake, struct slice dn, bool *found, const char **why)
{
	struct slice id = slice_from(""), record;

	*found = false;
	do {
		if (store_next(intake->store, STORE_ACCOUNTS, id, &id, &record,
			why) != 0)
			return intake_fail_store(intake);
		*found = entry_dn_below(entry_record_dn(record), dn);
	} while (id.size > 0 && !*found);
	return 0;
}

int
intake_delete(struct intake *intake, struct slice id, const char **why)
{
	struct store_place stored;
	bool changed, found = false;

	if (id.size != LAYOUT_ID_SIZE)
		return intake_fail_source(intake, why, "malformed entryUUID");
	if (intake_open(intake, why) != 0)
		return -1;
	if (store_find(intake->store, id, &stored, why) != 0)
		return intake_fail_store(intake);
	if (stored.record.size > 0 && stored.table == STORE_CONTAINERS &&
	    intake_has_below(
		intake, entry_record_dn(stored.record), &found, why) != 0)
		return -1;
	intake->wants_reload |= found;
	if (store_delete(intake->store, id, &changed, why) != 0)
		return intake_fail_store(intake);
	if (changed)
		intake->counts.deleted++;
	return intake_count(intake, why);
}

void
intake_advance(struct intake *intake, const struct csn_vector *vector)
{
	for (size_t i = 0; i < vector->count; i++) {
		struct slice csn = csn_vector_get(vector, i);

		(void)csn_vector_add(&intake->source, csn);
		if (intake->refreshing || intake->provisional ||
		    csn_vector_covers(&intake->cookie.vector, csn))
			continue;
		(void)csn_vector_add(&intake->cookie.vector, csn);
		intake->cookie_changed = true;
	}
}

int
intake_turn(struct intake *intake, const char **why)
{
	if (intake->refreshing &&
	    clock_monotonic_ms() - intake->batch_since_ms < INTAKE_BATCH_AGE_MS)
		return 0;
	if (intake->cookie_changed && intake_open(intake, why) != 0)
		return -1;
	intake->status->vector = intake->cookie.vector;
	return intake_commit(intake, why);
}
