/* shortcut: what it answers is what the database answers, come what may. */
#include "replica/shortcut.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/account.h"
#include "lib/record.h"
#include "replica/reader.h"
#include "replica/shortcut_make.h"
#include "replica/store.h"
#include "tests/replica/scratch.h"

#define MAP_SIZE   ((size_t)64 << 20)
#define LOGIN      (1U << NAME_UID | 1U << NAME_ADDRESS)
#define COUNT_MANY 3000
#define COUNT_BUSY 200

/* xorshift64*: the same in every run. */
static uint64_t
next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1d;
}

/* ---- records and stores ---- */

/* names: as scratch_account() takes them. `count` becomes the CSN. */
static void
make_record(struct buf *out, uint32_t number, const char *names, uint64_t count)
{
	uint8_t id[LAYOUT_ID_SIZE] = { 0 };
	struct slice rest = slice_from(names), word;

	memcpy(id, &number, sizeof(number));
	buf_clear(out);
	(void)record_add(out, ACCOUNT_ID, slice_of(id, sizeof(id)));
	(void)record_add(out, ACCOUNT_DN, slice_from("uid=somebody,o=x"));
	(void)record_add(out, ACCOUNT_CSN, slice_of(&count, sizeof(count)));
	while (slice_next_word(&rest, ' ', &word)) {
		uint8_t tag = word.data[0] == 'u'   ? ACCOUNT_UID
			      : word.data[0] == 'a' ? ACCOUNT_ADDRESS
						    : ACCOUNT_PRINCIPAL;

		(void)record_add(out, tag, slice_from_offset(word, 2));
	}
	assert_false(out->failed);
}

static void
put(struct store *store, uint32_t number, const char *names, uint64_t count)
{
	struct buf record = buf_bounded(LAYOUT_RECORD_MAX);
	const char *why = "";
	bool changed;

	make_record(&record, number, names, count);
	assert_int_equal(store_put(store, STORE_ACCOUNTS,
			     slice_of(record.data + 5, LAYOUT_ID_SIZE),
			     buf_slice(&record), &changed, &why),
	    0);
	buf_free(&record);
}

static void
drop(struct store *store, uint32_t number)
{
	uint8_t id[LAYOUT_ID_SIZE] = { 0 };
	const char *why = "";
	bool changed;

	memcpy(id, &number, sizeof(number));
	assert_int_equal(
	    store_delete(store, slice_of(id, sizeof(id)), &changed, &why), 0);
}

static struct store *
open_store(const char *path)
{
	enum store_found found;
	struct store *store = NULL;
	const char *why = "";

	if (store_open(&store, path, MAP_SIZE, &found, &why) != 0)
		fail_msg("%s", why);
	return store;
}

static void
begin(struct store *store)
{
	const char *why = "";

	assert_int_equal(store_begin(store, &why), 0);
}

static void
commit(struct store *store)
{
	const char *why = "";

	assert_int_equal(store_commit(store, &why), 0);
}

static void
open_gate(struct store *store)
{
	struct layout_gate gate = { .complete = true };
	const char *why = "";

	assert_int_equal(store_put_gate(store, &gate, &why), 0);
}

static void
make_shortcut(struct store *store)
{
	bool more = true;
	const char *why = "";

	while (more)
		if (store_make_shortcut(store, &more, &why) != 0)
			fail_msg("%s", why);
	assert_false(store_wants_shortcut(store));
}

static void
put_many(struct store *store)
{
	char names[256];

	begin(store);
	open_gate(store);
	for (uint32_t i = 0; i < COUNT_MANY; i++) {
		(void)snprintf(names, sizeof(names),
		    "u:user%u a:User%u@Example.org p:user%u@REALM a:shared%u "
		    "u:user%u",
		    i, i, i, i / (i % 7 == 0 ? 7 : 1), i % 10 == 0 ? i + 1 : i);
		put(store, i, names, i);
	}
	commit(store);
}

/* ---- what is found ---- */

/* Number of the account, or minus the result. */
static int
find_as(struct replica *replica, int kind, const char *name)
{
	struct buf store = buf_bounded(LAYOUT_RECORD_MAX);
	struct account account;
	enum replica_result result;
	const char *why = NULL;
	int number = 0;

	result = kind < 0 ? replica_find_login(replica, slice_from(name),
				&store, &account, &why)
			  : replica_find(replica, (enum name_kind)kind,
				slice_from(name), &store, &account, &why);
	if (result == REPLICA_FOUND)
		memcpy(&number, account.id.data, sizeof(number));
	buf_free(&store);
	return result == REPLICA_FOUND ? number : -(int)result;
}

static struct replica *
open_reader(const char *path)
{
	struct replica *replica = NULL;
	const char *why = "";

	if (replica_open(&replica, path, &why) != 0)
		fail_msg("%s", why);
	return replica;
}

static void
hide_shortcut(const char *path)
{
	char file[256];

	(void)snprintf(file, sizeof(file), "%s/" SHORTCUT_FILE, path);
	assert_int_equal(unlink(file), 0);
}

static bool
knows(struct shortcut *shortcut, unsigned kinds, const char *name)
{
	struct shortcut_view view = {
		.number = (size_t)atomic_load(&shortcut->head->covered),
		.nonce = shortcut->head->nonce,
	};
	struct buf store = buf_bounded(LAYOUT_RECORD_MAX);
	struct buf start = buf_bounded(LAYOUT_RECORD_MAX);
	const char *why;
	bool found;

	assert_int_equal(
	    layout_name_start(&start, NAME_UID, slice_from(name), &why), 0);
	found =
	    shortcut_find(shortcut, &view, kinds, buf_slice(&start), &store);
	buf_free(&start);
	buf_free(&store);
	return found;
}

/* Whether the file answers for that login name at all. */
static bool
file_knows(const char *path, const char *name)
{
	struct shortcut shortcut;
	bool found;

	shortcut_open(&shortcut, path);
	assert_non_null(shortcut.head);
	found = knows(&shortcut, LOGIN, name);
	shortcut_close(&shortcut);
	return found;
}

/* ---- tests ---- */

enum {
	FORMS = 6
};

static void
gather(const char *path, int *answers)
{
	static const char *const forms[FORMS][2] = { { "user", "" },
		{ "USER", "@example.ORG" }, { "user", "@REALM" },
		{ "shared", "" }, { " Shared", " " }, { "nobody", "" } };
	struct replica *replica = open_reader(path);
	char name[64];

	for (uint32_t i = 0; i < COUNT_MANY; i++) {
		for (unsigned form = 0; form < FORMS; form++) {
			(void)snprintf(name, sizeof(name), "%s%u%s",
			    forms[form][0], i, forms[form][1]);
			for (int kind = -1; kind < NAME_KIND_COUNT; kind++)
				*answers++ = find_as(replica, kind, name);
		}
	}
	replica_free(&replica);
}

/* With it and without it, for all names, of all kinds, however spelled. */
static void
test_same_answers(void **state)
{
	size_t count = (size_t)COUNT_MANY * FORMS * (NAME_KIND_COUNT + 1);
	int *with = calloc(count, sizeof(*with));
	int *without = calloc(count, sizeof(*without));
	char *path = scratch_new();
	struct store *store = open_store(path);

	(void)state;
	assert_non_null(with);
	assert_non_null(without);
	put_many(store);
	assert_true(store_wants_shortcut(store));
	make_shortcut(store);
	store_free(&store);
	assert_true(file_knows(path, "user5"));
	assert_true(file_knows(path, "user5@example.org"));
	assert_false(file_knows(path, "user5@REALM"));
	assert_false(file_knows(path, "nobody5"));
	assert_false(file_knows(path, "user11")); /* of two */
	gather(path, with);
	hide_shortcut(path);
	gather(path, without);
	assert_memory_equal(with, without, count * sizeof(*with));
	free(with);
	free(without);
	scratch_free(path);
}

static void
expect(const char *path, const char *name, int answer)
{
	struct replica *replica = open_reader(path);

	assert_int_equal(find_as(replica, -1, name), answer);
	replica_free(&replica);
}

static void
test_changes(void **state)
{
	char *path = scratch_new();
	struct store *store = open_store(path);

	(void)state;
	begin(store);
	open_gate(store);
	put(store, 1, "u:anna a:a@x", 1);
	put(store, 2, "u:bert a:b@x", 1);
	put(store, 3, "u:carl", 1);
	commit(store);
	make_shortcut(store);
	begin(store);
	put(store, 1, "u:anne a:a@x", 2);
	drop(store, 2);
	put(store, 4, "u:carl", 1);
	put(store, 5, "u:dora", 1);
	commit(store);
	store_free(&store);
	assert_false(file_knows(path, "a@x"));
	expect(path, "anna", -REPLICA_UNKNOWN);
	expect(path, "anne", 1);
	expect(path, "a@x", 1);
	expect(path, "bert", -REPLICA_UNKNOWN);
	expect(path, "carl", -REPLICA_AMBIGUOUS);
	expect(path, "dora", 5);
	/* And again, once it was made anew. */
	store = open_store(path);
	assert_true(store_wants_shortcut(store));
	make_shortcut(store);
	store_free(&store);
	assert_true(file_knows(path, "a@x"));
	assert_true(file_knows(path, "dora"));
	assert_false(file_knows(path, "carl"));
	assert_false(file_knows(path, "anna"));
	expect(path, "carl", -REPLICA_AMBIGUOUS);
	scratch_free(path);
}

/* What is undone leaves it as true as before. */
static void
test_abort(void **state)
{
	char *path = scratch_new();
	struct store *store = open_store(path);

	(void)state;
	begin(store);
	open_gate(store);
	put(store, 1, "u:anna", 1);
	commit(store);
	make_shortcut(store);
	begin(store);
	put(store, 1, "u:otto", 2);
	store_abort(store);
	store_free(&store);
	expect(path, "anna", 1);
	expect(path, "otto", -REPLICA_UNKNOWN);
	scratch_free(path);
}

static struct shortcut_maker *
open_maker(const char *path)
{
	struct shortcut_maker *maker = NULL;
	const char *why = "";
	int folder = open(path, O_RDONLY | O_DIRECTORY);

	assert_true(folder >= 0);
	assert_int_equal(shortcut_maker_open(&maker, folder, &why), 0);
	(void)close(folder);
	return maker;
}

static void
add(struct shortcut_maker *maker, uint32_t number, const char *names, bool ask)
{
	struct buf record = buf_bounded(LAYOUT_RECORD_MAX);
	const char *why = "";

	make_record(&record, number, names, 1);
	if (ask)
		shortcut_maker_ask(maker, buf_slice(&record));
	else
		assert_int_equal(
		    shortcut_maker_add(maker, buf_slice(&record), &why), 0);
	buf_free(&record);
}

/* Changes on both sides of where the making has come to. */
static void
test_changes_while_it_is_made(void **state)
{
	char *path = scratch_new();
	struct shortcut_maker *maker = open_maker(path);
	const char *why = "";

	(void)state;
	assert_int_equal(shortcut_maker_begin(maker, 10, 4096, &why), 0);
	shortcut_maker_cover(maker, 1);
	add(maker, 1, "u:anna", false);
	add(maker, 2, "u:bert", false);
	add(maker, 1, "u:anna u:dora", true); /* passed: gets another's name */
	add(maker, 3, "u:carl", true);        /* not reached yet */
	add(maker, 3, "u:carl", false);
	add(maker, 4, "u:dora", false);
	assert_false(file_knows(path, "bert"));
	shortcut_maker_finish(maker);
	assert_true(file_knows(path, "bert"));
	assert_false(file_knows(path, "anna"));
	assert_false(file_knows(path, "carl"));
	assert_false(file_knows(path, "dora"));
	shortcut_maker_free(&maker);
	scratch_free(path);
}

struct hashed {
	uint64_t place;
	uint32_t number;
};

static int
compare(const void *a, const void *b)
{
	const struct hashed *first = a, *second = b;

	return (first->place > second->place) - (first->place < second->place);
}

/* Two names whose slots are told apart by nothing. */
static void
find_twins(uint64_t nonce, unsigned slot_bits, char first[32], char second[32])
{
	size_t count = (size_t)1 << 22, at = 0;
	struct hashed *all = calloc(count, sizeof(*all));

	assert_non_null(all);
	for (size_t i = 0; i < count; i++) {
		int size = snprintf(first, 32, "n%zu", i) + 1;
		struct shortcut_place place = shortcut_place(
		    nonce, slot_bits, slice_of(first, (size_t)size));

		all[i] =
		    (struct hashed){ (uint64_t)place.slot << 32 | place.mark,
			    (uint32_t)i };
	}
	qsort(all, count, sizeof(*all), compare);
	while (at + 2 < count && all[at].place != all[at + 1].place)
		at++;
	assert_int_equal(all[at].place, all[at + 1].place);
	(void)snprintf(first, 32, "n%u", all[at].number);
	(void)snprintf(second, 32, "n%u", all[at + 1].number);
	free(all);
}

static void
test_collision(void **state)
{
	char *path = scratch_new();
	struct shortcut_maker *maker = open_maker(path);
	char first[32], second[32], names[40];
	struct shortcut shortcut;
	const char *why = "";

	(void)state;
	assert_int_equal(shortcut_maker_begin(maker, 10, 4096, &why), 0);
	shortcut_open(&shortcut, path);
	find_twins(shortcut_maker_nonce(maker),
	    (unsigned)shortcut.head->slot_bits, first, second);
	(void)snprintf(names, sizeof(names), "u:%s", first);
	add(maker, 1, names, false);
	shortcut_maker_finish(maker);
	assert_true(knows(&shortcut, LOGIN, first));
	assert_false(knows(&shortcut, LOGIN, second));
	shortcut_close(&shortcut);
	/* Once more, now with both; the nonce and so the twins are others. */
	assert_int_equal(shortcut_maker_begin(maker, 10, 4096, &why), 0);
	shortcut_open(&shortcut, path);
	find_twins(shortcut_maker_nonce(maker),
	    (unsigned)shortcut.head->slot_bits, first, second);
	(void)snprintf(names, sizeof(names), "u:%s", first);
	add(maker, 1, names, false);
	(void)snprintf(names, sizeof(names), "u:%s", second);
	add(maker, 2, names, false);
	shortcut_maker_finish(maker);
	assert_true(knows(&shortcut, LOGIN, first));
	assert_true(knows(&shortcut, LOGIN, second));
	add(maker, 2, names, true);
	assert_false(knows(&shortcut, LOGIN, first));
	assert_false(knows(&shortcut, LOGIN, second));
	shortcut_close(&shortcut);
	shortcut_maker_free(&maker);
	scratch_free(path);
}

/* More changes than it has slots for: it gives up before it is full. */
static void
test_crowded(void **state)
{
	char *path = scratch_new();
	struct shortcut_maker *maker = open_maker(path);
	const char *why = "";
	char names[32];

	(void)state;
	assert_int_equal(shortcut_maker_begin(maker, 1, 4096, &why), 0);
	add(maker, 1, "u:anna", false);
	shortcut_maker_finish(maker);
	assert_true(file_knows(path, "anna"));
	assert_false(shortcut_maker_is_due(maker));
	for (uint32_t i = 0; i < 1000; i++) {
		(void)snprintf(names, sizeof(names), "u:new%u", i);
		add(maker, 2 + i, names, true);
	}
	assert_true(shortcut_maker_is_due(maker));
	assert_false(file_knows(path, "anna"));
	shortcut_maker_free(&maker);
	scratch_free(path);
}

/* ---- one that was left behind ---- */

static struct shortcut_head *
map_head(const char *path)
{
	char file[256];
	void *head;
	int fd;

	(void)snprintf(file, sizeof(file), "%s/" SHORTCUT_FILE, path);
	fd = open(file, O_RDWR);
	assert_true(fd >= 0);
	head = mmap(NULL, SHORTCUT_HEAD_SIZE, PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);
	assert_true(head != MAP_FAILED);
	(void)close(fd);
	return head;
}

/* A record that the database does not have shows who has answered. */
static void
forge(const char *path)
{
	char file[256], *text;
	struct shortcut_head *head = map_head(path);
	size_t size = (size_t)head->size;
	void *map;
	int fd;

	(void)munmap(head, SHORTCUT_HEAD_SIZE);
	(void)snprintf(file, sizeof(file), "%s/" SHORTCUT_FILE, path);
	fd = open(file, O_RDWR);
	assert_true(fd >= 0);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	(void)close(fd);
	text = memmem(map, size, "\1\20\0\0\0\1\0", 7);
	assert_non_null(text);
	text[5] = 7;
	(void)munmap(map, size);
}

static void
test_left_behind(void **state)
{
	char *path = scratch_new();
	struct store *store = open_store(path);
	struct shortcut_head *head;
	uint64_t covered, nonce;

	(void)state;
	begin(store);
	open_gate(store);
	put(store, 1, "u:anna", 1);
	commit(store);
	make_shortcut(store);
	store_free(&store);
	forge(path);
	expect(path, "anna", 7);
	head = map_head(path);
	covered = atomic_load(&head->covered);
	nonce = head->nonce;
	/* Somebody else wrote to the database. */
	atomic_store(&head->covered, covered - 1);
	expect(path, "anna", 1);
	atomic_store(&head->covered, covered);
	/* It belongs to another database. */
	head->nonce++;
	expect(path, "anna", 1);
	head->nonce = nonce;
	/* It was made before the machine fell. */
	head->boot[0] ^= 1;
	expect(path, "anna", 1);
	head->boot[0] ^= 1;
	/* It is being made. */
	atomic_fetch_add(&head->generation, 1);
	expect(path, "anna", 1);
	atomic_fetch_sub(&head->generation, 1);
	expect(path, "anna", 7);
	/* A new writer trusts nothing of it. */
	store = open_store(path);
	store_free(&store);
	expect(path, "anna", 1);
	(void)munmap(head, SHORTCUT_HEAD_SIZE);
	scratch_free(path);
}

/* ---- writers that are killed, readers beside them ---- */

/* What a name of account `number` is in its state `count`. */
static void
busy_names(char names[64], uint32_t number, uint64_t count)
{
	(void)snprintf(names, 64, "u:busy%u a:busy%u@%s u:turn%u", number,
	    number, count % 3 == 0 ? "x" : "y",
	    (number + (uint32_t)(count % 2)) % COUNT_BUSY);
}

/*
 * Changes accounts and makes the shortcut anew over and over. Each state is
 * told, once it was committed, by told[number].
 */
static void
write_on(struct store *store, uint64_t *random, _Atomic uint64_t *told)
{
	uint32_t numbers[4];
	uint64_t counts[4];
	size_t changes = 1 + next_random(random) % ARRAY_SIZE(numbers);
	const char *why = "";
	char names[64];
	bool more;

	begin(store);
	for (size_t i = 0; i < changes; i++) {
		numbers[i] = (uint32_t)(next_random(random) % COUNT_BUSY);
		counts[i] = atomic_load(&told[numbers[i]]) + 1 + i;
		busy_names(names, numbers[i], counts[i]);
		put(store, numbers[i], names, counts[i]);
	}
	if (next_random(random) % 8 == 0) {
		store_abort(store);
		changes = 0;
	} else {
		commit(store);
	}
	for (size_t i = 0; i < changes; i++)
		atomic_store(&told[numbers[i]], counts[i]);
	if (store_wants_shortcut(store))
		(void)store_make_shortcut(store, &more, &why);
}

static _Atomic uint64_t *
share(size_t count)
{
	void *map = mmap(NULL, count * sizeof(uint64_t), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(map != MAP_FAILED);
	return map;
}

static void
fill_busy(struct store *store, _Atomic uint64_t *told)
{
	char names[64];

	begin(store);
	open_gate(store);
	for (uint32_t i = 0; i < COUNT_BUSY; i++) {
		busy_names(names, i, 1);
		put(store, i, names, 1);
		atomic_store(&told[i], 1);
	}
	commit(store);
}

struct check {
	struct replica *replica;
	int answers[COUNT_BUSY]; /* of turn0 and so on */
	uint64_t counts[COUNT_BUSY];
};

static bool
check_record(void *context, bool is_account, struct slice record)
{
	struct check *check = context;
	struct slice rest = record, name;
	struct account account;
	enum name_kind kind;
	const char *why;
	uint32_t number;

	if (!is_account)
		return true;
	assert_int_equal(account_read(&account, record, &why), 0);
	memcpy(&number, account.id.data, sizeof(number));
	memcpy(&check->counts[number], account.csn.data, sizeof(uint64_t));
	while (layout_next_name(&rest, &kind, &name)) {
		uint64_t turn;

		if (slice_is(slice_first(name, 4), "turn") &&
		    slice_to_uint(
			slice_from_offset(name, 4), COUNT_BUSY - 1, &turn) == 0)
			check->answers[turn] =
			    check->answers[turn] == -REPLICA_UNKNOWN
				? (int)number
				: -REPLICA_AMBIGUOUS;
	}
	return true;
}

static uint64_t
count_of(struct replica *replica, const char *name)
{
	struct buf store = buf_bounded(LAYOUT_RECORD_MAX);
	struct account account;
	const char *why = "";
	uint64_t count = 0;

	if (replica_find_login(replica, slice_from(name), &store, &account,
		&why) == REPLICA_FOUND)
		memcpy(&count, account.csn.data, sizeof(count));
	buf_free(&store);
	return count;
}

/* Nobody writes: all look-ups are as the records of the database say. */
static void
check_all(const char *path)
{
	struct check check = { .replica = open_reader(path) };
	const char *why = "";
	char name[64];

	for (size_t i = 0; i < COUNT_BUSY; i++)
		check.answers[i] = -REPLICA_UNKNOWN;
	assert_int_equal(
	    replica_walk(check.replica, check_record, &check, &why), 0);
	for (unsigned i = 0; i < COUNT_BUSY; i++) {
		uint64_t count = check.counts[i];

		(void)snprintf(name, sizeof(name), "turn%u", i);
		assert_int_equal(
		    find_as(check.replica, -1, name), check.answers[i]);
		(void)snprintf(name, sizeof(name), "busy%u", i);
		assert_int_equal(count_of(check.replica, name), count);
		(void)snprintf(name, sizeof(name), "busy%u@%s", i,
		    count % 3 == 0 ? "x" : "y");
		assert_int_equal(count_of(check.replica, name), count);
		(void)snprintf(name, sizeof(name), "busy%u@%s", i,
		    count % 3 == 0 ? "y" : "x");
		assert_int_equal(
		    find_as(check.replica, -1, name), -REPLICA_UNKNOWN);
	}
	replica_free(&check.replica);
}

static void
write_until_killed(const char *path, _Atomic uint64_t *told, uint64_t random)
{
	struct store *store = NULL;
	enum store_found found;
	const char *why;

	if (store_open(&store, path, MAP_SIZE, &found, &why) != 0)
		_exit(1);
	for (;;)
		write_on(store, &random, told);
}

static void
test_killed(void **state)
{
	_Atomic uint64_t *told = share(COUNT_BUSY);
	uint64_t random = 4711;
	char *path = scratch_new();
	struct store *store = open_store(path);

	(void)state;
	fill_busy(store, told);
	make_shortcut(store);
	store_free(&store);
	for (int round = 0; round < 40; round++) {
		uint64_t seed = next_random(&random);
		pid_t child = fork();
		int status;

		assert_true(child >= 0);
		if (child == 0)
			write_until_killed(path, told, seed);
		(void)usleep((useconds_t)(next_random(&random) % 20000));
		(void)kill(child, SIGKILL);
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		check_all(path);
	}
	(void)munmap(told, COUNT_BUSY * sizeof(uint64_t));
	scratch_free(path);
}

/* Never older than what was committed before the look-up began. */
static int
read_along(const char *path, const _Atomic uint64_t *told, int until)
{
	struct replica *replica = NULL;
	uint64_t random = 815;
	const char *why = "";
	char name[64], end;
	int faults = 0;

	if (replica_open(&replica, path, &why) != 0)
		return 2;
	/* The pipe is readable once the writer is done. */
	do {
		for (unsigned i = 0; i < 100; i++) {
			uint32_t number =
			    (uint32_t)(next_random(&random) % COUNT_BUSY);
			uint64_t floor = atomic_load(&told[number]);

			(void)snprintf(name, sizeof(name), "busy%u", number);
			faults += count_of(replica, name) < floor;
		}
	} while (read(until, &end, 1) < 0);
	replica_free(&replica);
	return faults == 0 ? 0 : 1;
}

static void
test_reader_along(void **state)
{
	_Atomic uint64_t *told = share(COUNT_BUSY);
	uint64_t random = 42;
	char *path = scratch_new();
	struct store *store = open_store(path);
	int pipe_of[2], status = 0;
	pid_t child;

	(void)state;
	fill_busy(store, told);
	store_free(&store);
	assert_int_equal(pipe2(pipe_of, 0), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)close(pipe_of[1]);
		(void)fcntl(pipe_of[0], F_SETFL, O_NONBLOCK);
		_exit(read_along(path, told, pipe_of[0]));
	}
	store = open_store(path);
	make_shortcut(store);
	for (int i = 0; i < 3000; i++)
		write_on(store, &random, told);
	store_free(&store);
	(void)close(pipe_of[1]);
	(void)close(pipe_of[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	(void)munmap(told, COUNT_BUSY * sizeof(uint64_t));
	scratch_free(path);
}

/* A reader that knows a small one takes the large one that follows. */
static void
test_grown(void **state)
{
	char *path = scratch_new();
	struct store *store = open_store(path);
	struct shortcut shortcut;

	(void)state;
	begin(store);
	open_gate(store);
	put(store, COUNT_MANY, "u:anna", 1);
	commit(store);
	shortcut_open(&shortcut, path);
	assert_false(knows(&shortcut, LOGIN, "anna"));
	make_shortcut(store);
	assert_true(knows(&shortcut, LOGIN, "anna"));
	put_many(store);
	assert_true(store_wants_shortcut(store));
	make_shortcut(store);
	assert_true(knows(&shortcut, LOGIN, "anna"));
	assert_true(knows(&shortcut, LOGIN, "user2999"));
	shortcut_close(&shortcut);
	store_free(&store);
	scratch_free(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_answers),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_changes_while_it_is_made),
		cmocka_unit_test(test_collision),
		cmocka_unit_test(test_crowded),
		cmocka_unit_test(test_left_behind),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_reader_along),
		cmocka_unit_test(test_grown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
