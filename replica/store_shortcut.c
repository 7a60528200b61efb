/* When the shortcut is made, and of what: all accounts, in order of ids. */
#include <string.h>

#include "lib/record.h"
#include "replica/clock.h"
#include "replica/store_state.h"

#define STORE_STEP_MS  4
#define STORE_STEP_MIN 256 /* accounts between looks at the clock */

bool
store_wants_shortcut(const struct store *store)
{
	return !store->txn && shortcut_maker_is_due(store->maker);
}

static int
store_begin_shortcut(struct store *store, MDB_txn *view, const char **why)
{
	MDB_stat names, accounts;
	int code = mdb_stat(view, store->names, &names);

	if (code == 0)
		code = mdb_stat(view, store->tables[STORE_ACCOUNTS], &accounts);
	if (code != 0)
		return store_fail(store, code, why);
	store->any_reached = false;
	return shortcut_maker_begin(store->maker, names.ms_entries,
	    (accounts.ms_leaf_pages + accounts.ms_overflow_pages) *
		accounts.ms_psize,
	    why);
}

/* The first account that was not added yet. */
static int
store_seek_shortcut(
    struct store *store, MDB_cursor *cursor, MDB_val *id, MDB_val *record)
{
	int code;

	if (!store->any_reached)
		return mdb_cursor_get(cursor, id, record, MDB_FIRST);
	*id = (MDB_val){ sizeof(store->reached), store->reached };
	code = mdb_cursor_get(cursor, id, record, MDB_SET_RANGE);
	if (code == 0 && id->mv_size == sizeof(store->reached) &&
	    memcmp(id->mv_data, store->reached, sizeof(store->reached)) == 0)
		code = mdb_cursor_get(cursor, id, record, MDB_NEXT);
	return code;
}

/* 0 with *more, or MDB_NOTFOUND at the end, or another code. */
static int
store_add_to_shortcut(struct store *store, MDB_cursor *cursor, const char **why)
{
	int64_t end_ms = clock_monotonic_ms() + STORE_STEP_MS;
	MDB_val id, record;
	int code = store_seek_shortcut(store, cursor, &id, &record);

	for (unsigned i = 1; code == 0; i++) {
		if (id.mv_size != sizeof(store->reached))
			return MDB_CORRUPTED;
		memcpy(store->reached, id.mv_data, sizeof(store->reached));
		store->any_reached = true;
		if (shortcut_maker_add(
			store->maker, layout_slice(record), why) != 0)
			return -1;
		if (i % STORE_STEP_MIN == 0 && clock_monotonic_ms() >= end_ms)
			return 0;
		code = mdb_cursor_get(cursor, &id, &record, MDB_NEXT);
	}
	return code;
}

/* The database says which shortcut belongs to it, then readers may use it. */
static int
store_finish_shortcut(struct store *store, const char **why)
{
	int code;

	if (store_begin(store, why) != 0)
		return -1;
	buf_clear(&store->scratch);
	(void)record_add_uint(&store->scratch, SHORTCUT_NONCE,
	    shortcut_maker_nonce(store->maker));
	code = store_meta_put(store, META_SHORTCUT, buf_slice(&store->scratch));
	if (code != 0) {
		store_abort(store);
		return store_fail(store, code, why);
	}
	if (store_commit(store, why) != 0)
		return -1;
	shortcut_maker_finish(store->maker);
	return 0;
}

/* In one view of what is committed. */
static int
store_step_shortcut(
    struct store *store, MDB_txn *view, bool *more, const char **why)
{
	MDB_cursor *cursor = NULL;
	int code;

	if (!shortcut_maker_has_begun(store->maker) &&
	    store_begin_shortcut(store, view, why) != 0)
		return -1;
	code = mdb_cursor_open(view, store->tables[STORE_ACCOUNTS], &cursor);
	if (code == 0) {
		code = store_add_to_shortcut(store, cursor, why);
		mdb_cursor_close(cursor);
	}
	*more = code == 0;
	if (code == 0 || code == MDB_NOTFOUND)
		return 0;
	return code == -1 ? -1 : store_fail(store, code, why);
}

int
store_make_shortcut(struct store *store, bool *more, const char **why)
{
	MDB_txn *view = NULL;
	int result = -1, code;

	*more = false;
	code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &view);
	if (code == 0) {
		result = store_step_shortcut(store, view, more, why);
		mdb_txn_abort(view);
	} else {
		(void)store_fail(store, code, why);
	}
	if (result == 0 && !*more)
		result = store_finish_shortcut(store, why);
	if (result != 0)
		shortcut_maker_give_up(store->maker);
	return result;
}
