/* store and reader: what one writes the other finds. */
#include "replica/store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/record.h"
#include "replica/clock.h"
#include "replica/reader.h"
#include "tests/replica/scratch.h"

#define SIZE_MAX_OF_MAP ((size_t)16 << 20)

/*
 * LMDB forbids a process to open an environment twice, so the two take turns:
 * each helper opens and closes what it needs.
 */

static struct store *
open_store(const char *path, enum store_found expected)
{
	enum store_found found = STORE_FOUND_NONE;
	struct store *store = NULL;
	const char *why = "";

	assert_int_equal(
	    store_open(&store, path, SIZE_MAX_OF_MAP, &found, &why), 0);
	assert_int_equal(found, expected);
	assert_int_equal(store_begin(store, &why), 0);
	return store;
}

static void
close_store(struct store *store)
{
	const char *why = "";

	assert_int_equal(store_commit(store, &why), 0);
	store_free(&store);
}

static void
put_account(struct store *store, uint8_t octet, const char *names)
{
	struct buf record = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t id[LAYOUT_ID_SIZE];
	const char *why = "";
	bool changed;

	scratch_account(&record, octet, names, NULL);
	assert_int_equal(store_put(store, STORE_ACCOUNTS, scratch_id(id, octet),
			     buf_slice(&record), &changed, &why),
	    0);
	buf_free(&record);
}

/* The same with an id that a number tells apart; the record says octet 2. */
static void
put_numbered(struct store *store, int number, const char *names)
{
	struct buf record = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t id[LAYOUT_ID_SIZE] = { 0 };
	const char *why = "";
	bool changed;

	memcpy(id, &number, sizeof(number));
	scratch_account(&record, 2, names, NULL);
	assert_int_equal(
	    store_put(store, STORE_ACCOUNTS, slice_of(id, sizeof(id)),
		buf_slice(&record), &changed, &why),
	    0);
	buf_free(&record);
}

static void
drop(struct store *store, uint8_t octet, bool expected)
{
	uint8_t id[LAYOUT_ID_SIZE];
	const char *why = "";
	bool changed;

	assert_int_equal(
	    store_delete(store, scratch_id(id, octet), &changed, &why), 0);
	assert_int_equal(changed, expected);
}

static void
put_host(struct store *store, uint8_t octet, const char *kind, const char *name)
{
	struct buf record = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t id[LAYOUT_ID_SIZE];
	const char *why = "";
	bool changed;

	(void)record_add(&record, CELL_ID, scratch_id(id, octet));
	(void)record_add(&record, CELL_KIND, slice_from(kind));
	(void)record_add(&record, CELL_NAME, slice_from(name));
	assert_int_equal(store_put(store, STORE_CELL, scratch_id(id, octet),
			     buf_slice(&record), &changed, &why),
	    0);
	buf_free(&record);
}

static void
put_gate(struct store *store, bool complete, int64_t contact_us,
    int64_t stale_after_us)
{
	struct layout_gate gate = { complete, contact_us, stale_after_us };
	const char *why = "";

	assert_int_equal(store_put_gate(store, &gate, &why), 0);
}

static struct replica *
open_reader(const char *path)
{
	struct replica *replica = NULL;
	const char *why = "";

	assert_int_equal(replica_open(&replica, path, &why), 0);
	return replica;
}

/* What a name leads to: the octet of the id, or minus the result. */
static int
find(struct replica *replica, const char *name)
{
	struct buf store = buf_bounded(LAYOUT_RECORD_MAX);
	enum replica_result result;
	struct account account;
	const char *why = NULL;
	int octet = 0;

	result = replica_find_login(
	    replica, slice_from(name), &store, &account, &why);
	if (result == REPLICA_FOUND)
		octet = (unsigned char)account.id.data[0];
	else
		assert_non_null(why);
	buf_free(&store);
	return result == REPLICA_FOUND ? octet : -(int)result;
}

static void
test_names(void **state)
{
	char *path = scratch_new();
	struct store *store = open_store(path, STORE_FOUND_NONE);
	struct replica *replica;

	(void)state;
	put_gate(store, true, 0, 0);
	put_account(store, 1, "u:Anna a:Anna@X.test p:anna@X.TEST");
	put_account(store, 2, "u:berta a:shared@x.test");
	put_account(store, 3, "u:carla a:SHARED@x.test a:berta");
	close_store(store);
	replica = open_reader(path);
	assert_int_equal(find(replica, "anna"), 1);
	assert_int_equal(find(replica, " ANNA@x.TEST "), 1);
	assert_int_equal(find(replica, "anna@X.TEST"), 1);
	assert_int_equal(find(replica, "carla"), 3);
	assert_int_equal(find(replica, "shared@x.test"), -REPLICA_AMBIGUOUS);
	/* The uid of one, the address of the other. */
	assert_int_equal(find(replica, "berta"), -REPLICA_AMBIGUOUS);
	assert_int_equal(find(replica, "nobody"), -REPLICA_UNKNOWN);
	assert_int_equal(find(replica, ""), -REPLICA_UNKNOWN);
	assert_int_equal(find(replica, "a\nb"), -REPLICA_UNKNOWN);
	replica_free(&replica);
	scratch_free(path);
}

static void
test_change_and_delete(void **state)
{
	char *path = scratch_new();
	struct store *store = open_store(path, STORE_FOUND_NONE);
	struct replica_status status;
	struct replica *replica;
	struct buf text = buf_bounded(4096);
	const char *why = "";

	(void)state;
	put_gate(store, true, 0, 0);
	put_account(store, 1, "u:anna a:a@x a:b@x");
	put_account(store, 2, "u:berta a:b@x");
	put_account(store, 1, "u:anna a:c@x");
	drop(store, 2, true);
	drop(store, 2, false);
	/* What was an account may become a host. */
	put_account(store, 3, "u:carla");
	put_host(store, 3, "server", "carla");
	close_store(store);
	replica = open_reader(path);
	assert_int_equal(find(replica, "c@x"), 1);
	assert_int_equal(find(replica, "a@x"), -REPLICA_UNKNOWN);
	assert_int_equal(find(replica, "b@x"), -REPLICA_UNKNOWN);
	assert_int_equal(find(replica, "berta"), -REPLICA_UNKNOWN);
	assert_int_equal(find(replica, "carla"), -REPLICA_UNKNOWN);
	assert_int_equal(replica_status(replica, &text, &status, &why), 0);
	assert_int_equal(status.accounts, 1);
	assert_int_equal(status.names, 2);
	assert_int_equal(status.hosts, 1);
	buf_free(&text);
	replica_free(&replica);
	scratch_free(path);
}

static void
test_gate(void **state)
{
	static const struct {
		int64_t contact_ago_us, stale_after_us;
		bool complete;
		int expected;
	} rows[] = {
		{ 0, 0, false, -REPLICA_EMPTY },
		{ INT64_C(1000000000), 0, true, 1 },
		{ 1000000, 60000000, true, 1 },
		{ 61000000, 60000000, true, -REPLICA_FAILED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *path = scratch_new();
		struct store *store = open_store(path, STORE_FOUND_NONE);
		struct replica *replica;

		put_account(store, 1, "u:anna");
		put_gate(store, rows[i].complete,
		    clock_realtime_us() - rows[i].contact_ago_us,
		    rows[i].stale_after_us);
		close_store(store);
		replica = open_reader(path);
		assert_int_equal(find(replica, "anna"), rows[i].expected);
		replica_free(&replica);
		scratch_free(path);
	}
}

static uint64_t
generation(const char *path)
{
	struct replica *replica = open_reader(path);
	uint64_t count = replica_cell_generation(replica);

	assert_int_not_equal(count, 0);
	replica_free(&replica);
	return count;
}

static void
test_generation(void **state)
{
	char *path = scratch_new();
	struct store *store = open_store(path, STORE_FOUND_NONE);
	uint64_t first, second;

	(void)state;
	close_store(store);
	first = generation(path);
	store = open_store(path, STORE_FOUND_GOOD);
	put_account(store, 1, "u:anna");
	close_store(store);
	assert_int_equal(generation(path), first);
	store = open_store(path, STORE_FOUND_GOOD);
	put_host(store, 2, "pool", "main");
	put_host(store, 3, "server", "mbox1");
	close_store(store);
	second = generation(path);
	assert_true(second > first);
	/* The same again is no change. */
	store = open_store(path, STORE_FOUND_GOOD);
	put_host(store, 3, "server", "mbox1");
	close_store(store);
	assert_int_equal(generation(path), second);
	store = open_store(path, STORE_FOUND_GOOD);
	drop(store, 3, true);
	close_store(store);
	assert_true(generation(path) > second);
	scratch_free(path);
}

/* Whoever hears of a change looks the account up, in the same reader. */
struct heard {
	struct replica *replica;
	size_t count, found;
};

static void
hear(void *context, struct slice id)
{
	struct heard *heard = context;
	struct buf record = buf_bounded(LAYOUT_RECORD_MAX);
	struct account account;
	const char *why = "";

	heard->count++;
	if (replica_find_by_id(heard->replica, id, &record, &account, &why) ==
	    REPLICA_FOUND)
		heard->found++;
	buf_free(&record);
}

static void
put_many(const char *path, enum store_found expected, char letter)
{
	struct store *store = open_store(path, expected);
	char name[16];

	for (int octet = 1; octet <= 200; octet++) {
		(void)snprintf(name, sizeof(name), "u:%c%d", letter, octet);
		put_account(store, (uint8_t)octet, name);
	}
	put_gate(store, true, clock_realtime_us(), 0);
	close_store(store);
}

static void
test_changes_are_looked_up(void **state)
{
	char *path = scratch_new();
	struct heard heard = { 0 };
	const char *why = "";
	uint64_t since = 0;

	(void)state;
	/* What it is filled with first nobody has to follow. */
	put_many(path, STORE_FOUND_NONE, 'z');
	put_many(path, STORE_FOUND_GOOD, 'a');
	assert_int_equal(replica_open(&heard.replica, path, &why), 0);
	assert_int_equal(
	    replica_changes(heard.replica, &since, hear, &heard, &why), 1);
	replica_free(&heard.replica);
	/* More than are copied out of one view. */
	put_many(path, STORE_FOUND_GOOD, 'b');
	put_many(path, STORE_FOUND_GOOD, 'c');
	assert_int_equal(replica_open(&heard.replica, path, &why), 0);
	assert_int_equal(
	    replica_changes(heard.replica, &since, hear, &heard, &why), 0);
	assert_true(heard.count >= 400);
	assert_int_equal(heard.found, heard.count);
	heard.count = 0;
	assert_int_equal(
	    replica_changes(heard.replica, &since, hear, &heard, &why), 0);
	assert_int_equal(heard.count, 0);
	replica_free(&heard.replica);
	scratch_free(path);
}

static void
put_observer(struct store *store, const char *vote, const char *alive,
    const char *wish, bool *changed)
{
	struct buf record = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t id[LAYOUT_ID_SIZE];
	const char *why = "";

	(void)record_add(&record, CELL_ID, scratch_id(id, 9));
	(void)record_add(&record, CELL_KIND, slice_from("proxy"));
	(void)record_add(&record, CELL_NAME, slice_from("proxy1"));
	(void)record_add(&record, CELL_STATE, slice_from(wish));
	if (vote[0] != '\0')
		(void)record_add(&record, CELL_VOTE, slice_from(vote));
	(void)record_add(&record, CELL_ALIVE, slice_from(alive));
	assert_int_equal(store_put(store, STORE_CELL, scratch_id(id, 9),
			     buf_slice(&record), changed, &why),
	    0);
	buf_free(&record);
}

static void
count_call(void *context)
{
	++*(unsigned *)context;
}

/* What observers say is told to deciders, and makes no reader read anew. */
static void
test_votes(void **state)
{
	static const struct {
		const char *vote, *alive, *wish;
		bool counts;
	} rows[] = {
		{ "", "20260102030405Z", "up", true },
		{ "", "20260102030410Z", "up", false },
		{ "mbox1 down", "20260102030410Z", "up", false },
		{ "mbox2 down", "20260102030415Z", "up", false },
		{ "mbox2 down", "20260102030415Z", "drain", true },
		{ "", "20260102030415Z", "drain", false },
	};

	char *path = scratch_new();
	uint64_t before = 0;
	unsigned calls = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct store *store = open_store(
		    path, i == 0 ? STORE_FOUND_NONE : STORE_FOUND_GOOD);
		bool changed;

		store_on_cell(store, count_call, &calls);
		put_observer(
		    store, rows[i].vote, rows[i].alive, rows[i].wish, &changed);
		assert_true(changed);
		close_store(store);
		assert_int_equal(calls, i + 1);
		if (rows[i].counts)
			assert_true(generation(path) > before);
		else
			assert_int_equal(generation(path), before);
		before = generation(path);
	}
	scratch_free(path);
}

static void
test_cell(void **state)
{
	char *path = scratch_new();
	struct store *store = open_store(path, STORE_FOUND_NONE);
	struct replica *replica;
	struct cell *cell = NULL;
	uint64_t count = 0;
	const char *why = "";

	(void)state;
	put_host(store, 2, "pool", "main");
	put_host(store, 3, "server", "mbox1");
	close_store(store);
	replica = open_reader(path);
	assert_int_equal(replica_cell(replica, &cell, &count, &why), 0);
	assert_int_equal(count, replica_cell_generation(replica));
	assert_non_null(cell_pool(cell, slice_from("MAIN")));
	assert_non_null(cell_host(cell, HOST_SERVER, slice_from("mbox1")));
	assert_null(cell_host(cell, HOST_PROXY, slice_from("mbox1")));
	cell_free(&cell);
	replica_free(&replica);
	scratch_free(path);
}

static void
test_meta(void **state)
{
	static const char csn[] = "20260102030405.000001Z#000000#001#000000";
	static const char csn2[] = "20260102030405.000001Z#000000#002#000000";
	char *path = scratch_new();
	struct store *store = open_store(path, STORE_FOUND_NONE);
	struct store_cookie cookie = { .reload = false };
	struct store_status said = { .source = slice_from("ldap://x"),
		.state = slice_from("connected"),
		.vector = &cookie.vector,
		.filled_us = 42,
		.lag_us = -1 };
	struct buf text = buf_bounded(4096);
	struct replica_status status;
	struct replica *replica;
	struct slice origin;
	const char *why = "";

	(void)state;
	/* A new one has nothing to go on from. */
	assert_int_equal(store_get_cookie(store, &cookie, &why), 0);
	assert_true(cookie.reload);
	cookie.reload = false;
	assert_int_equal(csn_vector_add(&cookie.vector, slice_from(csn2)), 0);
	assert_int_equal(csn_vector_add(&cookie.vector, slice_from(csn)), 0);
	assert_int_equal(store_put_cookie(store, &cookie, &why), 0);
	assert_int_equal(store_put_status(store, &said, &why), 0);
	assert_int_equal(store_put_origin(store, slice_from("o"), &why), 0);
	close_store(store);
	replica = open_reader(path);
	assert_int_equal(replica_status(replica, &text, &status, &why), 0);
	assert_true(slice_is(status.source, "ldap://x"));
	assert_true(slice_is(status.state, "connected"));
	assert_int_equal(status.csn.size, 2 * CSN_SIZE + 1);
	assert_int_equal(status.filled_us, 42);
	assert_int_equal(status.lag_us, -1);
	assert_int_equal(status.size_max, SIZE_MAX_OF_MAP);
	replica_free(&replica);
	store = open_store(path, STORE_FOUND_GOOD);
	memset(&cookie, 0, sizeof(cookie));
	assert_int_equal(store_get_cookie(store, &cookie, &why), 0);
	assert_false(cookie.reload);
	assert_int_equal(cookie.vector.count, 2);
	assert_int_equal(store_get_origin(store, &origin, &why), 0);
	assert_true(slice_is(origin, "o"));
	close_store(store);
	buf_free(&text);
	scratch_free(path);
}

/* Writes another format's number, as another version would have. */
static void
spoil_format(const char *path)
{
	MDB_env *env = NULL;
	MDB_txn *txn = NULL;
	MDB_val key = layout_string(META_FORMAT), value = layout_string("0");
	MDB_dbi meta;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
	assert_int_equal(mdb_env_open(env, path, 0, 0640), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, LAYOUT_META, 0, &meta), 0);
	assert_int_equal(mdb_put(txn, meta, &key, &value, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static void
test_format(void **state)
{
	char *path = scratch_new();
	struct store *store = open_store(path, STORE_FOUND_NONE);
	struct replica *replica = NULL;
	const char *why = "";
	uint64_t before;

	(void)state;
	put_gate(store, true, 0, 0);
	put_account(store, 1, "u:anna");
	put_host(store, 2, "pool", "main");
	close_store(store);
	before = generation(path);
	spoil_format(path);
	assert_int_equal(replica_open(&replica, path, &why), -1);
	assert_null(replica);
	assert_non_null(strstr(why, "format"));
	close_store(open_store(path, STORE_FOUND_FORMAT));
	replica = open_reader(path);
	assert_int_equal(find(replica, "anna"), -REPLICA_EMPTY);
	replica_free(&replica);
	assert_int_not_equal(generation(path), before);
	scratch_free(path);
}

static void
test_absent(void **state)
{
	char *path = scratch_new();
	struct replica *replica = NULL;
	const char *why = NULL;

	(void)state;
	assert_int_equal(replica_open(&replica, "/nowhere/at/all", &why), -1);
	assert_non_null(why);
	why = NULL;
	assert_int_equal(replica_open(&replica, path, &why), -1);
	assert_non_null(why);
	scratch_free(path);
}

static void
test_full(void **state)
{
	char *path = scratch_new();
	enum store_found found;
	struct store *store = NULL;
	const char *why = "";
	struct buf record = buf_bounded(LAYOUT_RECORD_MAX);
	uint8_t id[LAYOUT_ID_SIZE];
	char names[64];
	bool changed;
	int i, result = 0;

	(void)state;
	assert_int_equal(
	    store_open(&store, path, (size_t)128 << 10, &found, &why), 0);
	assert_int_equal(store_begin(store, &why), 0);
	for (i = 0; i < 5000 && result == 0; i++) {
		memset(id, 0, sizeof(id));
		memcpy(id, &i, sizeof(i));
		(void)snprintf(names, sizeof(names), "u:user%d a:%d@x", i, i);
		scratch_account(&record, 0, names, NULL);
		result =
		    store_put(store, STORE_ACCOUNTS, slice_of(id, sizeof(id)),
			buf_slice(&record), &changed, &why);
	}
	assert_int_equal(result, -1);
	assert_true(store_is_full(store));
	store_abort(store);
	/* What does fit still goes in. */
	assert_int_equal(store_begin(store, &why), 0);
	put_account(store, 1, "u:anna");
	assert_int_equal(store_commit(store, &why), 0);
	store_free(&store);
	buf_free(&record);
	scratch_free(path);
}

/*
 * A reader in another process sees an account with all its names or not at
 * all, whatever the writer does meanwhile.
 */
static void
read_along(const char *path, int until)
{
	struct replica *replica = NULL;
	const char *why = "";
	int faults = 0;
	char end;

	if (replica_open(&replica, path, &why) != 0)
		_exit(2);
	/* The pipe is readable once the writer is done. */
	do {
		int odd = find(replica, "odd"), even = find(replica, "even");

		faults += odd != 1 && odd != -REPLICA_UNKNOWN;
		faults += even != 1 && even != -REPLICA_UNKNOWN;
		faults += find(replica, "anna") != 1;
	} while (read(until, &end, 1) < 0);
	replica_free(&replica);
	_exit(faults == 0 ? 0 : 1);
}

static void
test_reader_along(void **state)
{
	char *path = scratch_new();
	struct store *store = open_store(path, STORE_FOUND_NONE);
	const char *why = "";
	int pipe_of[2], status = 0;
	pid_t child;

	(void)state;
	put_gate(store, true, 0, 0);
	put_account(store, 1, "u:anna u:odd");
	close_store(store);
	assert_int_equal(pipe2(pipe_of, 0), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)close(pipe_of[1]);
		(void)fcntl(pipe_of[0], F_SETFL, O_NONBLOCK);
		read_along(path, pipe_of[0]);
	}
	store = open_store(path, STORE_FOUND_GOOD);
	for (int i = 0; i < 2000; i++) {
		put_account(store, 1, i % 2 ? "u:anna u:odd" : "u:anna u:even");
		assert_int_equal(store_commit(store, &why), 0);
		assert_int_equal(store_begin(store, &why), 0);
	}
	close_store(store);
	(void)close(pipe_of[1]);
	(void)close(pipe_of[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	scratch_free(path);
}

/* A reader whose map is too small for what was written since takes a new one.
 */
static void
test_reader_of_a_grown_database(void **state)
{
	char *path = scratch_new();
	enum store_found found;
	struct store *store = NULL;
	const char *why = "";
	int to_child[2], to_parent[2], status = 0;
	char go = 0;
	pid_t child;

	(void)state;
	assert_int_equal(
	    store_open(&store, path, (size_t)256 << 10, &found, &why), 0);
	assert_int_equal(store_begin(store, &why), 0);
	put_gate(store, true, 0, 0);
	put_account(store, 1, "u:anna");
	close_store(store);
	assert_int_equal(pipe2(to_child, 0), 0);
	assert_int_equal(pipe2(to_parent, 0), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct replica *replica = open_reader(path);
		bool good = find(replica, "anna") == 1;

		/* Before the database grows, and after it. */
		(void)close(to_child[1]);
		good = good && write(to_parent[1], &go, 1) == 1;
		good = good && read(to_child[0], &go, 1) == 0 &&
		       find(replica, "user4999") == 2;
		replica_free(&replica);
		_exit(good ? 0 : 1);
	}
	(void)close(to_child[0]);
	assert_int_equal(read(to_parent[0], &go, 1), 1);
	store = open_store(path, STORE_FOUND_GOOD);
	for (int i = 0; i < 5000; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "u:user%d", i);
		put_numbered(store, i, name);
	}
	close_store(store);
	(void)close(to_child[1]);
	(void)close(to_parent[0]);
	(void)close(to_parent[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	scratch_free(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_change_and_delete),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_generation),
		cmocka_unit_test(test_votes),
		cmocka_unit_test(test_changes_are_looked_up),
		cmocka_unit_test(test_cell),
		cmocka_unit_test(test_meta),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_reader_along),
		cmocka_unit_test(test_reader_of_a_grown_database),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
