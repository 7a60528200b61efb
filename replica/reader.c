#include "replica/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lmdb.h>

#include "lib/record.h"
#include "replica/clock.h"
#include "replica/layout.h"
#include "replica/shortcut.h"

struct replica {
	MDB_env *env; /* owned */
	MDB_txn *txn; /* owned; reset between look-ups */
	MDB_dbi meta, names, accounts, cell, journal;
	MDB_cursor *cursor; /* owned; over names, renewed for each view */
	struct buf key;
	struct shortcut shortcut;
	/* As they were in the view of that number. */
	struct shortcut_view view;
	struct layout_gate gate;
};

static int
replica_open_tables(struct replica *replica, MDB_txn *txn, const char **why)
{
	MDB_val key = layout_string(META_FORMAT), format;
	int code = mdb_dbi_open(txn, LAYOUT_META, 0, &replica->meta);

	if (code == 0)
		code = mdb_get(txn, replica->meta, &key, &format);
	if (code != 0) {
		*why = "not a replica, or replicad has not made it yet";
		return -1;
	}
	if (!slice_is(layout_slice(format), LAYOUT_FORMAT)) {
		*why = "the replica has another format: restart "
		       "postcell-replicad of this version";
		return -1;
	}
	code = mdb_dbi_open(
	    txn, LAYOUT_NAMES, MDB_DUPSORT | MDB_DUPFIXED, &replica->names);
	if (code == 0)
		code =
		    mdb_dbi_open(txn, LAYOUT_ACCOUNTS, 0, &replica->accounts);
	if (code == 0)
		code = mdb_dbi_open(txn, LAYOUT_CELL, 0, &replica->cell);
	if (code == 0)
		code = mdb_dbi_open(
		    txn, LAYOUT_JOURNAL, MDB_INTEGERKEY, &replica->journal);
	if (code != 0) {
		*why = layout_error(code);
		return -1;
	}
	return 0;
}

static int
replica_open_env(struct replica *replica, const char *path, const char **why)
{
	int code = mdb_env_create(&replica->env);

	if (code == 0)
		code = mdb_env_set_maxdbs(replica->env, LAYOUT_TABLES + 1);
	if (code == 0)
		code = mdb_env_set_maxreaders(replica->env, LAYOUT_READERS_MAX);
	if (code == 0)
		code =
		    mdb_env_open(replica->env, path, MDB_RDONLY | MDB_NOTLS, 0);
	if (code == 0)
		return 0;
	*why = code == ENOENT ? "no replica there yet" : layout_error(code);
	return -1;
}

int
replica_open(struct replica **replica, const char *path, const char **why)
{
	struct replica *new = calloc(1, sizeof(*new));
	MDB_txn *txn = NULL;
	int code;

	*replica = NULL;
	if (!new) {
		*why = "out of memory";
		return -1;
	}
	new->key = buf_bounded(NAME_SIZE_MAX + LAYOUT_NAME_TAIL);
	new->shortcut.fd = -1;
	if (replica_open_env(new, path, why) != 0)
		goto fail;
	code = mdb_txn_begin(new->env, NULL, MDB_RDONLY, &txn);
	if (code != 0) {
		*why = layout_error(code);
		goto fail;
	}
	if (replica_open_tables(new, txn, why) != 0) {
		mdb_txn_abort(txn);
		goto fail;
	}
	/* The handles stay good only when their transaction commits. */
	code = mdb_txn_commit(txn);
	if (code == 0)
		code = mdb_txn_begin(new->env, NULL, MDB_RDONLY, &new->txn);
	if (code == 0)
		code = mdb_cursor_open(new->txn, new->names, &new->cursor);
	if (code != 0) {
		*why = layout_error(code);
		goto fail;
	}
	mdb_txn_reset(new->txn);
	/* Replicad makes that file before the database. */
	shortcut_open(&new->shortcut, path);
	*replica = new;
	return 0;
fail:
	replica_free(&new);
	return -1;
}

void
replica_free(struct replica **replica)
{
	struct replica *old = *replica;

	*replica = NULL;
	if (!old)
		return;
	mdb_cursor_close(old->cursor);
	if (old->txn)
		mdb_txn_abort(old->txn);
	if (old->env)
		mdb_env_close(old->env);
	shortcut_close(&old->shortcut);
	buf_free(&old->key);
	free(old);
}

/* Begins a view; replica_end() ends it. 0, or -1 with *why. */
static int
replica_begin(struct replica *replica, const char **why)
{
	int code = mdb_txn_renew(replica->txn);

	if (code == MDB_MAP_RESIZED) {
		code = mdb_env_set_mapsize(replica->env, 0);
		if (code == 0)
			code = mdb_txn_renew(replica->txn);
	}
	if (code == 0)
		return 0;
	*why = layout_error(code);
	return -1;
}

static void
replica_end(struct replica *replica)
{
	mdb_txn_reset(replica->txn);
}

/* A record of meta; empty when there is none. */
static struct slice
replica_meta(struct replica *replica, const char *name)
{
	MDB_val key = layout_string(name), value;

	if (mdb_get(replica->txn, replica->meta, &key, &value) != 0)
		return slice_from("");
	return layout_slice(value);
}

/* What look-ups need to know of the view; mostly the same as before. */
static void
replica_look_at_view(struct replica *replica)
{
	struct slice record;
	struct record_field field;
	size_t number = mdb_txn_id(replica->txn);

	/* No view has the number 0 but that of an empty file. */
	if (number != 0 && number == replica->view.number)
		return;
	replica->gate = layout_read_gate(replica_meta(replica, META_GATE));
	replica->view = (struct shortcut_view){ .number = number };
	record = replica_meta(replica, META_SHORTCUT);
	if (record_next(&record, &field))
		(void)record_uint(field.value, &replica->view.nonce);
}

static enum replica_result
replica_pass_gate(struct replica *replica, const char **why)
{
	const struct layout_gate *gate = &replica->gate;

	replica_look_at_view(replica);
	if (!gate->complete) {
		*why = "the replica was never filled";
		return REPLICA_EMPTY;
	}
	if (gate->stale_after_us > 0 &&
	    clock_realtime_us() - gate->contact_us > gate->stale_after_us) {
		*why = "the replica is stale";
		return REPLICA_FAILED;
	}
	return REPLICA_FOUND;
}

static enum replica_result
replica_read_account(struct replica *replica, MDB_val *id, struct buf *store,
    struct account *account, const char **why)
{
	MDB_val value;
	int code = mdb_get(replica->txn, replica->accounts, id, &value);

	if (code != 0) {
		*why = layout_error(code);
		return REPLICA_FAILED;
	}
	buf_clear(store);
	if (buf_add_slice(store, layout_slice(value)) != 0) {
		*why = "the record does not fit into memory";
		return REPLICA_FAILED;
	}
	if (account_read(account, buf_slice(store), why) != 0)
		return REPLICA_FAILED;
	return REPLICA_FOUND;
}

/* What the keys of one name say, of the kinds that are asked for. */
struct named_ids {
	MDB_val id;
	bool found, ambiguous; /* several entries share one kind of name */
	bool differs;          /* uid of one and address of another */
};

static int
replica_add_id(struct replica *replica, MDB_val id, struct named_ids *ids)
{
	size_t count = 0;
	int code = mdb_cursor_count(replica->cursor, &count);

	ids->ambiguous |= count > 1;
	ids->differs |=
	    ids->found && !slice_equal(layout_slice(id), layout_slice(ids->id));
	ids->found = true;
	ids->id = id;
	return code;
}

/* Looks at all keys that begin with replica->key. 0, or LMDB's code. */
static int
replica_read_ids(struct replica *replica, unsigned kinds, struct named_ids *ids)
{
	struct slice start = buf_slice(&replica->key);
	MDB_val key = layout_value(start), id;
	int code = mdb_cursor_renew(replica->txn, replica->cursor);

	if (code == 0)
		code =
		    mdb_cursor_get(replica->cursor, &key, &id, MDB_SET_RANGE);
	while (code == 0) {
		struct slice found = layout_slice(key);

		if (!slice_equal(slice_first(found, start.size), start))
			return 0;
		if (layout_key_is(found, kinds))
			code = replica_add_id(replica, id, ids);
		if (code == 0)
			code = mdb_cursor_get(
			    replica->cursor, &key, &id, MDB_NEXT_NODUP);
	}
	return code == MDB_NOTFOUND ? 0 : code;
}

/* The one id that the name in replica->key leads to. */
static enum replica_result
replica_find_id(
    struct replica *replica, unsigned kinds, MDB_val *id, const char **why)
{
	struct named_ids ids = { .found = false };
	int code = replica_read_ids(replica, kinds, &ids);

	*id = ids.id;
	if (code != 0) {
		*why = layout_error(code);
		return REPLICA_FAILED;
	}
	if (ids.ambiguous) {
		*why = "several entries have that name";
		return REPLICA_AMBIGUOUS;
	}
	if (ids.differs) {
		*why = "it is the uid of one entry and the address of another";
		return REPLICA_AMBIGUOUS;
	}
	if (ids.found)
		return REPLICA_FOUND;
	*why = "no entry has that name";
	return REPLICA_UNKNOWN;
}

/* In the open view. `kind` folds as all `kinds` do. */
static enum replica_result
replica_find_account(struct replica *replica, enum name_kind kind,
    unsigned kinds, struct slice name, struct buf *store,
    struct account *account, const char **why)
{
	enum replica_result result;
	MDB_val id;

	buf_clear(&replica->key);
	if (layout_name_start(&replica->key, kind, name, why) != 0)
		return REPLICA_UNKNOWN;
	if (shortcut_find(&replica->shortcut, &replica->view, kinds,
		buf_slice(&replica->key), store))
		return account_read(account, buf_slice(store), why) == 0
			   ? REPLICA_FOUND
			   : REPLICA_FAILED;
	result = replica_find_id(replica, kinds, &id, why);
	return result == REPLICA_FOUND
		   ? replica_read_account(replica, &id, store, account, why)
		   : result;
}

/* kinds: of which the name may be, bits 1 << enum name_kind. */
static enum replica_result
replica_find_name(struct replica *replica, enum name_kind kind, unsigned kinds,
    struct slice name, struct buf *store, struct account *account,
    const char **why)
{
	enum replica_result result;

	if (replica_begin(replica, why) != 0)
		return REPLICA_FAILED;
	result = replica_pass_gate(replica, why);
	if (result == REPLICA_FOUND)
		result = replica_find_account(
		    replica, kind, kinds, name, store, account, why);
	replica_end(replica);
	return result;
}

enum replica_result
replica_find(struct replica *replica, enum name_kind kind, struct slice name,
    struct buf *store, struct account *account, const char **why)
{
	return replica_find_name(
	    replica, kind, 1U << kind, name, store, account, why);
}

/* By uid and by address both, since either alone could hide the other. */
enum replica_result
replica_find_login(struct replica *replica, struct slice name,
    struct buf *store, struct account *account, const char **why)
{
	return replica_find_name(replica, NAME_UID,
	    1U << NAME_UID | 1U << NAME_ADDRESS, name, store, account, why);
}

enum replica_result
replica_find_by_id(struct replica *replica, struct slice id, struct buf *store,
    struct account *account, const char **why)
{
	MDB_val key = layout_value(id), value;
	enum replica_result result;

	if (replica_begin(replica, why) != 0)
		return REPLICA_FAILED;
	result = replica_pass_gate(replica, why);
	if (result == REPLICA_FOUND && mdb_get(replica->txn, replica->accounts,
					   &key, &value) == MDB_NOTFOUND) {
		*why = "no account has that id";
		result = REPLICA_UNKNOWN;
	}
	if (result == REPLICA_FOUND)
		result =
		    replica_read_account(replica, &key, store, account, why);
	replica_end(replica);
	return result;
}

/* Of the journal: what comes after *since, ids one after the other. */
static int
replica_read_journal(MDB_cursor *cursor, uint64_t *since, struct buf *ids)
{
	uint64_t first = 0, last = 0, next = *since + 1;
	MDB_val key, value;
	int code;

	if (mdb_cursor_get(cursor, &key, &value, MDB_LAST) != 0)
		return 0;
	memcpy(&last, key.mv_data, sizeof(last));
	if (last == *since)
		return 0;
	if (mdb_cursor_get(cursor, &key, &value, MDB_FIRST) == 0)
		memcpy(&first, key.mv_data, sizeof(first));
	/* A number from the future belongs to a replica that was made anew. */
	if (*since == 0 || next < first || *since > last) {
		*since = last;
		return 1;
	}
	key = (MDB_val){ sizeof(next), &next };
	code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (code == 0) {
		(void)buf_add_slice(ids, layout_slice(value));
		code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	*since = last;
	return ids->failed || ids->size % LAYOUT_ID_SIZE != 0 ? 1 : 0;
}

int
replica_changes(struct replica *replica, uint64_t *since,
    replica_changed *changed, void *context, const char **why)
{
	struct buf ids =
	    buf_bounded((size_t)2 * LAYOUT_JOURNAL_MAX * LAYOUT_ID_SIZE);
	MDB_cursor *cursor = NULL;
	int code, result;

	if (replica_begin(replica, why) != 0)
		return -1;
	code = mdb_cursor_open(replica->txn, replica->journal, &cursor);
	if (code == 0) {
		result = replica_read_journal(cursor, since, &ids);
		mdb_cursor_close(cursor);
	} else {
		*why = layout_error(code);
		result = -1;
	}
	replica_end(replica);
	/* Only now: `changed` looks accounts up, and has its own view then. */
	for (size_t at = 0; result == 0 && at < ids.size; at += LAYOUT_ID_SIZE)
		changed(context, slice_of(ids.data + at, LAYOUT_ID_SIZE));
	buf_free(&ids);
	return result;
}

static uint64_t
replica_generation(struct replica *replica)
{
	struct slice record = replica_meta(replica, META_GENERATION);
	struct record_field field;
	uint64_t count = 0;

	if (record_next(&record, &field))
		(void)record_uint(field.value, &count);
	return count;
}

uint64_t
replica_cell_generation(struct replica *replica)
{
	const char *why;
	uint64_t count;

	if (replica_begin(replica, &why) != 0)
		return 0;
	count = replica_generation(replica);
	replica_end(replica);
	return count;
}

/* Calls `each` for all records of a table. 0, or -1 with *why. */
static int
replica_walk_table(struct replica *replica, MDB_dbi table, bool is_account,
    replica_each *each, void *context, bool *go_on, const char **why)
{
	MDB_cursor *cursor = NULL;
	MDB_val key, value;
	int code = mdb_cursor_open(replica->txn, table, &cursor);

	if (code == 0)
		code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	while (code == 0 && *go_on) {
		*go_on = each(context, is_account, layout_slice(value));
		if (*go_on)
			code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (code == 0 || code == MDB_NOTFOUND)
		return 0;
	*why = layout_error(code);
	return -1;
}

int
replica_walk(struct replica *replica, replica_each *each, void *context,
    const char **why)
{
	bool go_on = true;
	int result;

	if (replica_begin(replica, why) != 0)
		return -1;
	result = replica_walk_table(
	    replica, replica->accounts, true, each, context, &go_on, why);
	if (result == 0 && go_on)
		result = replica_walk_table(
		    replica, replica->cell, false, each, context, &go_on, why);
	replica_end(replica);
	return result;
}

struct cell_filling {
	struct cell *cell;
	bool failed;
};

static bool
replica_fill_cell(void *context, bool is_account, struct slice record)
{
	struct cell_filling *filling = context;

	(void)is_account;
	filling->failed = cell_add(filling->cell, record) != 0;
	return !filling->failed;
}

int
replica_cell(struct replica *replica, struct cell **cell, uint64_t *generation,
    const char **why)
{
	struct cell_filling filling = { .cell = cell_new() };
	bool go_on = true;
	int result = -1;

	*cell = NULL;
	if (!filling.cell) {
		*why = "out of memory";
		return -1;
	}
	if (replica_begin(replica, why) == 0) {
		*generation = replica_generation(replica);
		result = replica_walk_table(replica, replica->cell, false,
		    replica_fill_cell, &filling, &go_on, why);
		replica_end(replica);
	}
	if (result == 0 && (filling.failed || cell_finish(filling.cell) != 0)) {
		*why = "out of memory";
		result = -1;
	}
	if (result == 0)
		*cell = filling.cell;
	else
		cell_free(&filling.cell);
	return result;
}

static bool
replica_count_cell(void *context, bool is_account, struct slice record)
{
	struct replica_status *status = context;
	struct record_field field;

	(void)is_account;
	while (record_next(&record, &field)) {
		if (field.tag != CELL_KIND)
			continue;
		if (slice_is(field.value, "pool"))
			status->pools++;
		else
			status->hosts++;
	}
	return true;
}

static uint64_t
replica_entries(struct replica *replica, MDB_dbi table)
{
	MDB_stat stat;

	return mdb_stat(replica->txn, table, &stat) == 0 ? stat.ms_entries : 0;
}

/* Text is copied first and cut afterwards, since the store may move. */
static int
replica_copy_status(
    struct replica *replica, struct buf *store, struct replica_status *status)
{
	struct slice record = replica_meta(replica, META_STATUS);
	struct record_field field;
	size_t source_size = 0, state_size = 0, csn_count = 0;
	uint64_t number = 0;

	for (struct slice rest = record; record_next(&rest, &field);) {
		if (field.tag == STATUS_SOURCE) {
			source_size = field.value.size;
			(void)buf_add_slice(store, field.value);
		} else if (field.tag == STATUS_STATE) {
			state_size = field.value.size;
			(void)buf_add_slice(store, field.value);
		} else if (field.tag == STATUS_FILLED &&
			   record_uint(field.value, &number) == 0) {
			status->filled_us = (int64_t)number;
		} else if (field.tag == STATUS_LAG &&
			   record_uint(field.value, &number) == 0) {
			status->lag_us = (int64_t)number;
		}
	}
	for (struct slice rest = record; record_next(&rest, &field);) {
		if (field.tag != STATUS_CSN)
			continue;
		if (csn_count++ > 0)
			(void)buf_add_char(store, ' ');
		(void)buf_add_slice(store, field.value);
	}
	status->source = slice_first(buf_slice(store), source_size);
	status->state = slice_first(
	    slice_from_offset(buf_slice(store), source_size), state_size);
	status->csn =
	    slice_from_offset(buf_slice(store), source_size + state_size);
	return store->failed ? -1 : 0;
}

static void
replica_measure(struct replica *replica, struct replica_status *status)
{
	MDB_envinfo info;
	MDB_stat stat;

	if (mdb_env_info(replica->env, &info) != 0 ||
	    mdb_env_stat(replica->env, &stat) != 0)
		return;
	status->size = (info.me_last_pgno + 1) * stat.ms_psize;
	status->size_max = info.me_mapsize;
}

int
replica_status(struct replica *replica, struct buf *store,
    struct replica_status *status, const char **why)
{
	struct layout_gate gate;
	bool go_on = true;
	int result;

	*status = (struct replica_status){ .lag_us = -1 };
	buf_clear(store);
	if (replica_begin(replica, why) != 0)
		return -1;
	gate = layout_read_gate(replica_meta(replica, META_GATE));
	status->complete = gate.complete;
	status->contact_us = gate.contact_us;
	status->accounts = replica_entries(replica, replica->accounts);
	status->names = replica_entries(replica, replica->names);
	status->cell_generation = replica_generation(replica);
	result = replica_walk_table(replica, replica->cell, false,
	    replica_count_cell, status, &go_on, why);
	if (result == 0 && replica_copy_status(replica, store, status) != 0) {
		*why = "the status does not fit into memory";
		result = -1;
	}
	replica_measure(replica, status);
	replica_end(replica);
	return result;
}
