#include "replica/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/account.h"
#include "lib/cell.h"
#include "lib/record.h"
#include "replica/clock.h"
#include "replica/store_state.h"

#define STORE_DATA_MODE 0640
/* Readers of the group take a slot in the lock file. */
#define STORE_LOCK_MODE 0660
#define STORE_NAMES_MAX ((size_t)1 << 20) /* octets, names of one account */
#define STORE_PATH_MAX  4096
#define STORE_META_MAX  ((size_t)64 << 10)

static const char *const store_tables[] = {
	[STORE_ACCOUNTS] = LAYOUT_ACCOUNTS,
	[STORE_CELL] = LAYOUT_CELL,
	[STORE_CONTAINERS] = LAYOUT_CONTAINERS,
};
_Static_assert(
    ARRAY_SIZE(store_tables) == STORE_TABLE_COUNT, "a name for each table");

int
store_fail(struct store *store, int code, const char **why)
{
	store->failure = code;
	*why = layout_error(code);
	return -1;
}

static int
store_lock(struct store *store, const char *path, const char **why)
{
	if (mkdir(path, STORE_FOLDER_MODE) != 0 && errno != EEXIST)
		return store_fail(store, errno, why);
	store->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->folder < 0)
		return store_fail(store, errno, why);
	if (flock(store->folder, LOCK_EX | LOCK_NB) != 0) {
		*why = "another postcell-replicad has it open";
		return -1;
	}
	return 0;
}

static int
store_open_env(
    struct store *store, const char *path, size_t size_max, const char **why)
{
	int code = mdb_env_create(&store->env);

	if (code == 0)
		code = mdb_env_set_mapsize(store->env, size_max);
	if (code == 0)
		code = mdb_env_set_maxdbs(store->env, LAYOUT_TABLES + 1);
	if (code == 0)
		code = mdb_env_set_maxreaders(store->env, LAYOUT_READERS_MAX);
	if (code == 0)
		code = mdb_env_open(store->env, path, 0, STORE_DATA_MODE);
	if (code == 0 &&
	    fchmodat(store->folder, "lock.mdb", STORE_LOCK_MODE, 0) != 0)
		code = errno;
	return code == 0 ? 0 : store_fail(store, code, why);
}

int
store_cursor(struct store *store, MDB_dbi table, MDB_cursor **cursor)
{
	return *cursor ? 0 : mdb_cursor_open(store->txn, table, cursor);
}

/* LMDB has freed them along with the transaction. */
static void
store_forget_cursors(struct store *store)
{
	store->names_cursor = NULL;
	for (size_t i = 0; i < STORE_TABLE_COUNT; i++)
		store->cursors[i] = NULL;
}

/*
 * Empties every table there is, whatever format made it. Dropping, and not a
 * new file, so that those who have the old one open notice.
 */
static int
store_drop_tables(struct store *store)
{
	MDB_cursor *cursor = NULL;
	MDB_val key, value;
	MDB_dbi root, table;
	int code = mdb_dbi_open(store->txn, NULL, 0, &root);

	if (code == 0)
		code = mdb_cursor_open(store->txn, root, &cursor);
	while (code == 0 &&
	       (code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST)) == 0) {
		struct buf name = buf_bounded(STORE_PATH_MAX);

		(void)buf_add_slice(&name, layout_slice(key));
		code = mdb_dbi_open(store->txn, buf_string(&name), 0, &table);
		buf_free(&name);
		if (code == 0)
			code = mdb_drop(store->txn, table, 1);
	}
	mdb_cursor_close(cursor);
	return code == MDB_NOTFOUND ? 0 : code;
}

static int
store_open_tables(struct store *store)
{
	int code =
	    mdb_dbi_open(store->txn, LAYOUT_META, MDB_CREATE, &store->meta);

	if (code == 0)
		code = mdb_dbi_open(store->txn, LAYOUT_NAMES,
		    MDB_CREATE | MDB_DUPSORT | MDB_DUPFIXED, &store->names);
	if (code == 0)
		code = mdb_dbi_open(store->txn, LAYOUT_JOURNAL,
		    MDB_CREATE | MDB_INTEGERKEY, &store->journal);
	for (size_t i = 0; code == 0 && i < STORE_TABLE_COUNT; i++)
		code = mdb_dbi_open(
		    store->txn, store_tables[i], MDB_CREATE, &store->tables[i]);
	return code;
}

/* Counts on from the clock, so that a new database never repeats a count. */
static int
store_next_generation(struct store *store)
{
	struct record_field field;
	struct slice value;
	uint64_t count = 0;
	int code = store_meta_get(store, META_GENERATION, &value);

	if (code != 0)
		return code;
	if (record_next(&value, &field))
		(void)record_uint(field.value, &count);
	if (count == 0)
		count = (uint64_t)clock_realtime_us();
	buf_clear(&store->scratch);
	if (record_add_uint(&store->scratch, GENERATION_COUNT, count + 1) != 0)
		return ENOMEM;
	return store_meta_put(
	    store, META_GENERATION, buf_slice(&store->scratch));
}

static int
store_prepare(struct store *store, enum store_found *found)
{
	struct slice format;
	bool good;
	int code =
	    mdb_dbi_open(store->txn, LAYOUT_META, MDB_CREATE, &store->meta);

	if (code == 0)
		code = store_meta_get(store, META_FORMAT, &format);
	if (code != 0)
		return code;
	good = slice_is(format, LAYOUT_FORMAT);
	*found = good              ? STORE_FOUND_GOOD
		 : format.size > 0 ? STORE_FOUND_FORMAT
				   : STORE_FOUND_NONE;
	if (!good)
		code = store_drop_tables(store);
	if (code == 0)
		code = store_open_tables(store);
	if (code == 0 && !good)
		code = store_meta_put(
		    store, META_FORMAT, slice_from(LAYOUT_FORMAT));
	if (code == 0 && !good)
		code = store_next_generation(store);
	return code;
}

int
store_open(struct store **store, const char *path, size_t size_max,
    enum store_found *found, const char **why)
{
	struct store *new = calloc(1, sizeof(*new));
	struct layout_gate gate;
	int code;

	*store = NULL;
	if (!new) {
		*why = "out of memory";
		return -1;
	}
	new->folder = -1;
	new->old_names = buf_bounded(STORE_NAMES_MAX);
	new->new_names = buf_bounded(STORE_NAMES_MAX);
	new->key = buf_bounded(NAME_SIZE_MAX + LAYOUT_NAME_TAIL);
	new->scratch = buf_bounded(STORE_META_MAX);
	if (store_lock(new, path, why) != 0 ||
	    shortcut_maker_open(&new->maker, new->folder, why) != 0 ||
	    store_open_env(new, path, size_max, why) != 0 ||
	    store_begin(new, why) != 0)
		goto fail;
	code = store_prepare(new, found);
	if (code != 0) {
		(void)store_fail(new, code, why);
		goto fail;
	}
	if (store_get_gate(new, &gate, why) != 0 || store_commit(new, why) != 0)
		goto fail;
	new->complete = gate.complete;
	*store = new;
	return 0;
fail:
	store_free(&new);
	return -1;
}

void
store_free(struct store **store)
{
	struct store *old = *store;

	*store = NULL;
	if (!old)
		return;
	store_abort(old);
	shortcut_maker_free(&old->maker);
	if (old->env)
		mdb_env_close(old->env);
	if (old->folder >= 0)
		(void)close(old->folder);
	buf_free(&old->old_names);
	buf_free(&old->new_names);
	buf_free(&old->key);
	buf_free(&old->scratch);
	free(old);
}

void
store_on_ambiguous(
    struct store *store, store_ambiguous *ambiguous, void *context)
{
	store->ambiguous = ambiguous;
	store->context = context;
}

void
store_on_cell(struct store *store, store_cell_changed *changed, void *context)
{
	size_t free_one = 0;

	while (free_one < STORE_LISTENERS_MAX &&
	       store->listeners[free_one].changed)
		free_one++;
	assert(free_one < STORE_LISTENERS_MAX);
	store->listeners[free_one] =
	    (struct store_listener){ changed, context };
}

void
store_off_cell(struct store *store, const void *context)
{
	for (size_t i = 0; i < STORE_LISTENERS_MAX; i++)
		if (store->listeners[i].context == context)
			store->listeners[i] =
			    (struct store_listener){ NULL, NULL };
}

static void
store_tell_cell(const struct store *store)
{
	for (size_t i = 0; i < STORE_LISTENERS_MAX; i++)
		if (store->listeners[i].changed)
			store->listeners[i].changed(
			    store->listeners[i].context);
}

int
store_begin(struct store *store, const char **why)
{
	int code = mdb_txn_begin(store->env, NULL, 0, &store->txn);

	if (code != 0) {
		store->txn = NULL;
		return store_fail(store, code, why);
	}
	store->cell_changed = store->cell_touched = false;
	store->failure = 0;
	return 0;
}

int
store_commit(struct store *store, const char **why)
{
	int code = 0;

	if (store->cell_changed)
		code = store_next_generation(store);
	if (code != 0) {
		store_abort(store);
		return store_fail(store, code, why);
	}
	shortcut_maker_cover(store->maker, mdb_txn_id(store->txn));
	code = mdb_txn_commit(store->txn);
	store->txn = NULL;
	store_forget_cursors(store);
	if (code == 0 && store->cell_touched)
		store_tell_cell(store);
	return code == 0 ? 0 : store_fail(store, code, why);
}

void
store_abort(struct store *store)
{
	if (store->txn)
		mdb_txn_abort(store->txn);
	store->txn = NULL;
	store_forget_cursors(store);
}

bool
store_is_open(const struct store *store)
{
	return store->txn != NULL;
}

bool
store_is_full(const struct store *store)
{
	return store->failure == MDB_MAP_FULL || store->failure == ENOSPC;
}

int
store_check_readers(struct store *store)
{
	int dead = 0;

	(void)mdb_reader_check(store->env, &dead);
	return dead;
}

int
store_get(struct store *store, enum store_table table, struct slice id,
    struct slice *record, const char **why)
{
	MDB_val key = layout_value(id), value;
	int code =
	    store_cursor(store, store->tables[table], &store->cursors[table]);

	if (code == 0)
		code = mdb_cursor_get(
		    store->cursors[table], &key, &value, MDB_SET);
	*record = code == 0 ? layout_slice(value) : slice_from("");
	return code == 0 || code == MDB_NOTFOUND ? 0
						 : store_fail(store, code, why);
}

/* The number at one end of the journal; 0 when it is empty. */
static int
store_journal_end(struct store *store, MDB_cursor_op end, uint64_t *number)
{
	MDB_cursor *cursor = NULL;
	MDB_val key, value;
	int code = mdb_cursor_open(store->txn, store->journal, &cursor);

	*number = 0;
	if (code == 0)
		code = mdb_cursor_get(cursor, &key, &value, end);
	if (code == 0)
		memcpy(number, key.mv_data, sizeof(*number));
	mdb_cursor_close(cursor);
	return code == MDB_NOTFOUND ? 0 : code;
}

/*
 * Tells readers that an account changed, and forgets what is too long ago.
 * While it is filled for the first time nobody can have seen anything else.
 */
static int
store_journal(struct store *store, struct slice id)
{
	uint64_t first = 0, last = 0, next;
	MDB_val key = { sizeof(next), &next }, value = layout_value(id);
	int code;

	if (!store->complete)
		return 0;
	code = store_journal_end(store, MDB_LAST, &last);
	if (code == 0)
		code = store_journal_end(store, MDB_FIRST, &first);
	next = last + 1;
	if (code == 0)
		code = mdb_put(
		    store->txn, store->journal, &key, &value, MDB_APPEND);
	if (code != 0 || next - first < LAYOUT_JOURNAL_MAX || first == 0)
		return code;
	key.mv_data = &first;
	return mdb_del(store->txn, store->journal, &key, NULL);
}

int
store_find(struct store *store, struct slice id, struct store_place *place,
    const char **why)
{
	*place = (struct store_place){ .table = STORE_ACCOUNTS };
	for (unsigned i = 0; i < STORE_TABLE_COUNT && place->record.size == 0;
	     i++) {
		place->table = (enum store_table)i;
		if (store_get(store, place->table, id, &place->record, why) !=
		    0)
			return -1;
	}
	return 0;
}

/* Takes out what store_find() has found. */
static int
store_take_out(struct store *store, const struct store_place *place,
    struct slice id, bool *changed, const char **why)
{
	MDB_val key = layout_value(id);
	int code = 0;

	if (place->record.size == 0)
		return 0;
	*changed = true;
	if (place->table == STORE_CELL)
		store->cell_changed = store->cell_touched = true;
	if (place->table == STORE_ACCOUNTS) {
		shortcut_maker_ask(store->maker, place->record);
		code =
		    store_move_names(store, id, place->record, slice_from(""));
	}
	if (place->table == STORE_ACCOUNTS && code == 0)
		code = store_journal(store, id);
	if (code == 0)
		code = mdb_del(
		    store->txn, store->tables[place->table], &key, NULL);
	return code == 0 ? 0 : store_fail(store, code, why);
}

int
store_delete(
    struct store *store, struct slice id, bool *changed, const char **why)
{
	struct store_place place;

	*changed = false;
	return store_find(store, id, &place, why) != 0
		   ? -1
		   : store_take_out(store, &place, id, changed, why);
}

/* The next field of a record that is not what observers say every moment. */
static bool
store_next_lasting(struct slice *rest, struct record_field *field)
{
	while (record_next(rest, field))
		if (field->tag != CELL_VOTE && field->tag != CELL_ALIVE &&
		    field->tag != CELL_CSN)
			return true;
	return false;
}

/* Readers need no new map for a vote: it places nobody. */
static void
store_touch_cell(struct store *store, struct slice old, struct slice record)
{
	struct record_field before, after;
	bool more;

	store->cell_touched = true;
	do {
		bool was_more = store_next_lasting(&old, &before);

		more = store_next_lasting(&record, &after);
		if (was_more != more ||
		    (more && (before.tag != after.tag ||
				 !slice_equal(before.value, after.value))))
			store->cell_changed = true;
	} while (more && !store->cell_changed);
}

int
store_replace(struct store *store, const struct store_place *place,
    enum store_table table, struct slice id, struct slice record, bool *changed,
    const char **why)
{
	MDB_val key = layout_value(id), value = layout_value(record);
	struct slice old = place->record;
	int code = 0;

	*changed = false;
	if (place->table != table) {
		if (store_take_out(store, place, id, changed, why) != 0)
			return -1;
		old = slice_from("");
	}
	if (old.size > 0 && slice_equal(old, record))
		return 0;
	*changed = true;
	if (table == STORE_CELL)
		store_touch_cell(store, old, record);
	if (table == STORE_ACCOUNTS) {
		shortcut_maker_ask(store->maker, old);
		shortcut_maker_ask(store->maker, record);
		code = store_move_names(store, id, old, record);
	}
	if (table == STORE_ACCOUNTS && code == 0)
		code = store_journal(store, id);
	if (code == 0)
		code = store_cursor(
		    store, store->tables[table], &store->cursors[table]);
	if (code == 0)
		code = mdb_cursor_put(store->cursors[table], &key, &value, 0);
	return code == 0 ? 0 : store_fail(store, code, why);
}

int
store_put(struct store *store, enum store_table table, struct slice id,
    struct slice record, bool *changed, const char **why)
{
	struct store_place place;

	*changed = false;
	return store_find(store, id, &place, why) != 0
		   ? -1
		   : store_replace(
			 store, &place, table, id, record, changed, why);
}

int
store_count(struct store *store, enum store_table table, uint64_t *count,
    const char **why)
{
	MDB_stat stat;
	int code = mdb_stat(store->txn, store->tables[table], &stat);

	if (code != 0)
		return store_fail(store, code, why);
	*count = stat.ms_entries;
	return 0;
}

/* From the record with that id to the next; mostly it stands there already. */
static int
store_step(MDB_cursor *cursor, struct slice id, MDB_val *key, MDB_val *value)
{
	int code = mdb_cursor_get(cursor, key, value, MDB_GET_CURRENT);

	if (code != 0 || !slice_equal(layout_slice(*key), id)) {
		*key = layout_value(id);
		code = mdb_cursor_get(cursor, key, value, MDB_SET_RANGE);
	}
	if (code == 0 && slice_equal(layout_slice(*key), id))
		code = mdb_cursor_get(cursor, key, value, MDB_NEXT);
	return code;
}

int
store_next(struct store *store, enum store_table table, struct slice id,
    struct slice *found_id, struct slice *record, const char **why)
{
	MDB_val key, value;
	int code =
	    store_cursor(store, store->tables[table], &store->cursors[table]);

	*found_id = *record = slice_from("");
	if (code == 0 && id.size == 0)
		code = mdb_cursor_get(
		    store->cursors[table], &key, &value, MDB_FIRST);
	else if (code == 0)
		code = store_step(store->cursors[table], id, &key, &value);
	if (code == 0) {
		*found_id = layout_slice(key);
		*record = layout_slice(value);
	}
	return code == 0 || code == MDB_NOTFOUND ? 0
						 : store_fail(store, code, why);
}
