/*
 * A replica whose values are anything: a disk that failed, another version, a
 * hand that meant well. Readers say so, or pass over it, and never more.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/record.h"
#include "replica/reader.h"
#include "replica/store.h"
#include "tests/fuzz/fuzz.h"

#define MAP_SIZE  ((size_t)8 << 20)
#define ITEMS_MAX 64

const char fuzz_name[] = "replica";

static struct {
	MDB_env *env;
	MDB_dbi accounts, names, cell, journal, meta;
	struct replica *replica;
} world;

static void
require(int code, const char *what)
{
	fuzz_require(code == 0, what);
}

/* replicad makes it, and we write what it would not. */
static void
open_world(void)
{
	char folder[] = "/tmp/postcell-fuzz-XXXXXX";
	struct store *store = NULL;
	enum store_found found;
	const char *why = NULL;
	MDB_txn *txn;

	fuzz_require(mkdtemp(folder) && store_open(&store, folder, MAP_SIZE,
					    &found, &why) == 0,
	    "a replica can be made");
	store_free(&store);
	require(mdb_env_create(&world.env), "an environment");
	require(mdb_env_set_maxdbs(world.env, LAYOUT_TABLES + 1), "tables");
	require(mdb_env_set_mapsize(world.env, MAP_SIZE), "room");
	require(mdb_env_open(world.env, folder, MDB_NOSYNC, 0600), "open");
	require(mdb_txn_begin(world.env, NULL, 0, &txn), "a transaction");
	require(
	    mdb_dbi_open(txn, LAYOUT_ACCOUNTS, 0, &world.accounts), "accounts");
	require(mdb_dbi_open(txn, LAYOUT_NAMES, MDB_DUPSORT | MDB_DUPFIXED,
		    &world.names),
	    "names");
	require(mdb_dbi_open(txn, LAYOUT_CELL, 0, &world.cell), "cell");
	require(
	    mdb_dbi_open(txn, LAYOUT_JOURNAL, MDB_INTEGERKEY, &world.journal),
	    "journal");
	require(mdb_dbi_open(txn, LAYOUT_META, 0, &world.meta), "meta");
	require(mdb_txn_commit(txn), "commit");
	require(replica_open(&world.replica, folder, &why), "a reader");
	fuzz_remove_folder(folder);
}

static struct slice
id_of(char c)
{
	static char id[LAYOUT_ID_SIZE];

	memset(id, c, sizeof(id));
	return slice_of(id, sizeof(id));
}

static void
put(MDB_txn *txn, MDB_dbi table, struct slice key, struct slice value)
{
	MDB_val to = layout_value(key), what = layout_value(value);
	int code = key.size > 0 ? mdb_put(txn, table, &to, &what, 0) : 0;

	fuzz_require(
	    code == 0 || code == MDB_BAD_VALSIZE || code == MDB_KEYEXIST,
	    "written");
}

/* "KIND ID NAME", each of the first two one octet. */
static void
put_name(MDB_txn *txn, struct slice text)
{
	struct buf key = buf_bounded(NAME_SIZE_MAX + LAYOUT_NAME_TAIL);
	enum name_kind kind =
	    (enum name_kind)((unsigned char)text.data[0] % NAME_KIND_COUNT);
	const char *why;

	if (layout_name_key(&key, kind, slice_from_offset(text, 2), &why) == 0)
		put(txn, world.names, buf_slice(&key), id_of(text.data[1]));
	buf_free(&key);
}

static void
put_meta(MDB_txn *txn, char which, struct slice value)
{
	static const char *const names[] = { META_GENERATION, META_GATE,
		META_STATUS, META_COOKIE, META_ORIGIN };

	put(txn, world.meta,
	    slice_from(names[(unsigned char)which % ARRAY_SIZE(names)]), value);
}

/* One line: which table, and what to put there. */
static void
put_line(MDB_txn *txn, struct slice line, uint64_t number)
{
	struct slice rest = slice_from_offset(line, 2);

	if (line.size < 3)
		return;
	switch (line.data[0]) {
	case 'a':
		put(txn, world.accounts, id_of(line.data[1]), rest);
		break;
	case 'c':
		put(txn, world.cell, id_of(line.data[1]), rest);
		break;
	case 'n':
		put_name(txn, slice_from_offset(line, 1));
		break;
	case 'N':
		put(txn, world.names, slice_first(rest, NAME_SIZE_MAX),
		    id_of(line.data[1]));
		break;
	case 'j':
		put(txn, world.journal, slice_of(&number, sizeof(number)),
		    rest);
		break;
	case 'm':
		put_meta(txn, line.data[1], rest);
		break;
	default:
		break;
	}
}

static void
write_world(struct slice text)
{
	struct buf gate = buf_bounded(64);
	struct slice line;
	MDB_txn *txn;
	uint64_t number = 1;

	require(mdb_txn_begin(world.env, NULL, 0, &txn), "a transaction");
	require(mdb_drop(txn, world.accounts, 0), "empty");
	require(mdb_drop(txn, world.names, 0), "empty");
	require(mdb_drop(txn, world.cell, 0), "empty");
	require(mdb_drop(txn, world.journal, 0), "empty");
	record_add_uint(&gate, GATE_COMPLETE, 1);
	put(txn, world.meta, slice_from(META_GATE), buf_slice(&gate));
	put(txn, world.meta, slice_from(META_STATUS), slice_from(""));
	for (; number < ITEMS_MAX && slice_next_word(&text, '\n', &line);
	     number++)
		put_line(txn, line, number);
	require(mdb_txn_commit(txn), "commit");
	buf_free(&gate);
}

/* ---- reading ---- */

static void
check_found(
    enum replica_result result, const struct account *account, const char *why)
{
	if (result == REPLICA_FOUND)
		fuzz_require(account->uid.size > 0 ||
				 account->address.size > 0 ||
				 account->principal.size > 0,
		    "an account has a name");
	else
		fuzz_require(why, "a reason");
}

static void
find(struct slice name)
{
	struct buf store = buf_bounded(LAYOUT_RECORD_MAX);
	struct account account;
	enum replica_result result;
	const char *why = NULL;

	for (unsigned kind = 0; kind < NAME_KIND_COUNT; kind++) {
		result = replica_find(world.replica, (enum name_kind)kind, name,
		    &store, &account, &why);
		check_found(result, &account, why);
	}
	result =
	    replica_find_login(world.replica, name, &store, &account, &why);
	check_found(result, &account, why);
	result = replica_find_by_id(world.replica,
	    id_of(name.size > 0 ? name.data[0] : 'a'), &store, &account, &why);
	check_found(result, &account, why);
	buf_free(&store);
}

static void
on_changed(void *context, struct slice id)
{
	unsigned *count = context;

	(void)id;
	fuzz_require(++*count <= LAYOUT_JOURNAL_MAX, "changes are bounded");
}

static bool
on_record(void *context, bool is_account, struct slice record)
{
	struct account account;
	const char *why;

	(void)context;
	if (is_account)
		(void)account_read(&account, record, &why);
	return true;
}

static void
read_world(void)
{
	struct buf store = buf_bounded(1 << 20);
	struct replica_status status;
	struct cell *cell = NULL;
	unsigned count = 0;
	const char *why = NULL;
	uint64_t generation, since = 1;

	if (replica_cell(world.replica, &cell, &generation, &why) < 0)
		fuzz_require(why && !cell, "a reason");
	else
		(void)cell_faults(cell);
	cell_free(&cell);
	(void)replica_cell_generation(world.replica);
	if (replica_changes(world.replica, &since, on_changed, &count, &why) <
	    0)
		fuzz_require(why, "a reason");
	if (replica_status(world.replica, &store, &status, &why) < 0)
		fuzz_require(why, "a reason");
	if (replica_walk(world.replica, on_record, NULL, &why) < 0)
		fuzz_require(why, "a reason");
	buf_free(&store);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "u0", "u1@x", "p@R" };

	if (!world.env)
		open_world();
	write_world(slice_of(data, size));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		find(slice_from(names[i]));
	read_world();
	return 0;
}
