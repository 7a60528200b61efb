#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/placement.h"
#include "lib/timestamp.h"
#include "tests/lib/entry.h"

#define VECTORS  "tests/lib/placement_vectors.txt"
#define EXAMPLES "tests/lib/placement_examples.txt"
#define MOMENT   INT64_C(1800000000000000) /* the examples' moment 0 */
#define SECOND   TIMESTAMP_SECOND
#define ACCOUNTS 10000

/* Opens a file of the tree; tests run at its top. */
static FILE *
open_table(const char *path)
{
	FILE *file = fopen(path, "re");

	if (!file)
		fail_msg("cannot open %s: run the test at the top of the tree",
		    path);
	return file;
}

/* Next word of a line, cut out in place; "" at its end. */
static char *
next_word(char **rest)
{
	char *word;

	*rest += strspn(*rest, " \n");
	word = *rest;
	*rest += strcspn(*rest, " \n");
	if (**rest != '\0')
		*(*rest)++ = '\0';
	return word;
}

/* ---- frozen vectors ---- */

static struct slice
from_hex(const char *hex, char *octets, size_t size)
{
	size_t count = strlen(hex) / 2;

	assert_true(count <= size);
	for (size_t i = 0; i < count; i++) {
		char digits[3] = { hex[2 * i], hex[2 * i + 1], '\0' };

		octets[i] = (char)strtoul(digits, NULL, 16);
	}
	return slice_of(octets, count);
}

/* `mbox1=100,mbox2=50` as a cell of one pool. */
static struct cell *
cell_of_weights(char *weights)
{
	struct cell *cell = cell_new();

	assert_non_null(cell);
	entry_add(cell, ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "mail" }));
	while (*weights != '\0') {
		char *equals = strchr(weights, '=');
		size_t size = strcspn(equals + 1, ",");
		char *end = equals + 1 + size;
		char *next = *end == ',' ? end + 1 : end;

		*equals = *end = '\0';
		entry_add(
		    cell, ENTRY({ CELL_KIND, "server" }, { CELL_NAME, weights },
			      { CELL_WEIGHT, equals + 1 }));
		weights = next;
	}
	assert_int_equal(cell_finish(cell), 0);
	return cell;
}

static void
check_place(struct slice key, char *weights, const char *expected)
{
	struct account account = { .group = key };
	struct cell *cell = cell_of_weights(weights);
	struct placement answer = placement(&account, cell, MOMENT);

	if (strcmp(expected, "-") == 0) {
		assert_int_equal(answer.kind, PLACEMENT_NONE);
	} else {
		assert_int_equal(answer.kind, PLACEMENT_SERVER);
		assert_true(slice_is(answer.server->name, expected));
	}
	cell_free(&cell);
}

static void
check_vector(char *line)
{
	char octets[512];
	char *kind = next_word(&line);
	struct slice key = from_hex(next_word(&line), octets, sizeof(octets));
	char *second = next_word(&line);
	char *third = next_word(&line);

	if (strcmp(kind, "phase") == 0)
		assert_int_equal(
		    placement_phase(key), strtoull(second, NULL, 16));
	else if (strcmp(kind, "draw") == 0)
		assert_int_equal(
		    placement_draw(key, placement_seed(slice_from(second))),
		    strtoull(third, NULL, 10));
	else
		check_place(key, second, third);
}

static void
test_frozen_vectors(void **state)
{
	FILE *file = open_table(VECTORS);
	char line[2048];
	size_t count = 0;

	(void)state;
	while (fgets(line, sizeof(line), file)) {
		check_vector(line);
		count++;
	}
	(void)fclose(file);
	assert_true(count >= 800);
}

/* ---- worked examples ---- */

#define TEXT_SIZE 128
#define ENTRIES   16
#define FIELDS    24

/* Entry or account of an example while its lines are read. */
struct draft {
	struct entry_field fields[FIELDS + 1];
	char texts[FIELDS][TEXT_SIZE];
	size_t count;
};

struct example {
	char text[256];
	struct draft entries[ENTRIES];
	size_t entry_count;
	struct draft users[ENTRIES];
	size_t user_count;
	struct cell *cell; /* made at the first question */
	size_t line;
};

static void
put(struct draft *draft, uint8_t tag, const char *text)
{
	char *copy = draft->texts[draft->count];

	assert_true(draft->count < FIELDS);
	(void)snprintf(copy, TEXT_SIZE, "%s", text);
	draft->fields[draft->count++] = (struct entry_field){ tag, copy };
	draft->fields[draft->count] = (struct entry_field){ 0, NULL };
}

static int64_t
parse_time(const char *word)
{
	double seconds;

	if (strcmp(word, "ever") == 0)
		return 0;
	seconds = strtod(word, NULL);
	return MOMENT +
	       (int64_t)(seconds * SECOND + (seconds < 0 ? -0.5 : 0.5));
}

static void
read_pool(struct example *example, char *rest)
{
	struct draft *draft = &example->entries[example->entry_count++];
	char *word = next_word(&rest);

	put(draft, CELL_KIND, "pool");
	put(draft, CELL_NAME, word);
	while (*(word = next_word(&rest)) != '\0') {
		if (strcmp(word, "default") == 0)
			put(draft, CELL_DEFAULT, "TRUE");
		else if (strcmp(word, "guard") == 0)
			put(draft, CELL_GUARD, next_word(&rest));
		else if (strcmp(word, "affinity") == 0)
			put(draft, CELL_AFFINITY, next_word(&rest));
		else
			fail_msg("line %zu: %s", example->line, word);
	}
}

static void
read_server(struct example *example, char *rest)
{
	struct draft *draft = &example->entries[example->entry_count++];
	char *name = next_word(&rest);
	char url[TEXT_SIZE];

	(void)snprintf(url, sizeof(url), "imap://%s.example.org", name);
	put(draft, CELL_KIND, "server");
	put(draft, CELL_NAME, name);
	put(draft, CELL_SERVICE, url);
	put(draft, CELL_POOL, next_word(&rest));
	if (strcmp(next_word(&rest), "wish") == 0) {
		put(draft, CELL_STATE, next_word(&rest));
		put(draft, CELL_WEIGHT, next_word(&rest));
	}
}

static void
read_value(struct example *example, char *rest)
{
	struct buf text = buf_bounded(TEXT_SIZE);

	timestamp_format(&text, parse_time(next_word(&rest)));
	rest[strcspn(rest, "\n")] = '\0';
	buf_printf(&text, " %s", rest);
	put(&example->entries[example->entry_count - 1], CELL_TRANSITION,
	    buf_string(&text));
	buf_free(&text);
}

static void
read_text(struct example *example, char *rest)
{
	rest[strcspn(rest, "\n")] = '\0';
	put(&example->entries[example->entry_count - 1], CELL_TRANSITION, rest);
}

static void
read_user(struct example *example, char *rest)
{
	struct draft *draft = &example->users[example->user_count++];
	struct buf moved = buf_bounded(TEXT_SIZE);
	char *word;

	put(draft, ACCOUNT_UID, next_word(&rest));
	while (*(word = next_word(&rest)) != '\0') {
		if (strcmp(word, "pin") == 0) {
			put(draft, ACCOUNT_PIN, next_word(&rest));
		} else if (strcmp(word, "pool") == 0) {
			put(draft, ACCOUNT_POOL, next_word(&rest));
		} else if (strcmp(word, "group") == 0) {
			put(draft, ACCOUNT_GROUP, next_word(&rest));
		} else if (strcmp(word, "moved") == 0) {
			timestamp_format(&moved, parse_time(next_word(&rest)));
			buf_printf(&moved, " %s", next_word(&rest));
			buf_printf(&moved, " %s", next_word(&rest));
			put(draft, ACCOUNT_MOVED, buf_string(&moved));
		} else {
			fail_msg("line %zu: %s", example->line, word);
		}
	}
	buf_free(&moved);
}

/* The user's record as the example has it, or of nothing but a uid. */
static void
make_account(const struct example *example, const char *name,
    struct account *account, struct buf *record)
{
	const struct entry_field *fields = ENTRY({ ACCOUNT_UID, name });
	const char *why;

	for (size_t i = 0; i < example->user_count; i++)
		if (strcmp(example->users[i].texts[0], name) == 0)
			fields = example->users[i].fields;
	entry_record(record, fields);
	assert_int_equal(account_read(account, buf_slice(record), &why), 0);
}

static void
make_cell(struct example *example)
{
	if (example->cell)
		return;
	example->cell = cell_new();
	assert_non_null(example->cell);
	for (size_t i = 0; i < example->entry_count; i++)
		entry_add(example->cell, example->entries[i].fields);
	assert_int_equal(cell_finish(example->cell), 0);
}

static void
describe(const struct placement *answer, char *text, size_t size)
{
	static const char *const whys[] = {
		[PLACEMENT_BY_HASH] = "?",
		[PLACEMENT_BY_PIN] = "?",
		[PLACEMENT_GUARDED] = "?",
		[PLACEMENT_NO_POOL] = "no-pool",
		[PLACEMENT_NO_SERVER] = "no-server",
		[PLACEMENT_PIN_DOWN] = "pin-down",
		[PLACEMENT_PIN_UNKNOWN] = "pin-unknown",
	};
	struct slice name =
	    answer->server ? answer->server->name : answer->host;

	switch (answer->kind) {
	case PLACEMENT_SERVER:
		(void)snprintf(text, size, "%.*s", SLICE_ARGS(name));
		break;
	case PLACEMENT_HOST:
		(void)snprintf(text, size, "host %.*s", SLICE_ARGS(name));
		break;
	case PLACEMENT_WAIT:
		(void)snprintf(text, size, "wait %.*s", SLICE_ARGS(name));
		break;
	case PLACEMENT_NONE:
		(void)snprintf(text, size, "none %s", whys[answer->reason]);
		break;
	}
}

static void
ask(struct example *example, char *rest)
{
	int64_t now_us = parse_time(next_word(&rest));
	const char *name = next_word(&rest);
	struct account account;
	struct placement answer;
	struct buf record;
	char text[TEXT_SIZE];

	rest += strspn(rest, " ");
	rest[strcspn(rest, "\n")] = '\0';
	make_cell(example);
	make_account(example, name, &account, &record);
	answer = placement(&account, example->cell, now_us);
	describe(&answer, text, sizeof(text));
	if (strcmp(rest, "any") == 0)
		assert_int_equal(answer.kind, PLACEMENT_SERVER);
	else if (strcmp(text, rest) != 0)
		fail_msg(EXAMPLES ":%zu: %s is %s, not %s\n(%s)", example->line,
		    name, text, rest, example->text);
	if (answer.kind == PLACEMENT_WAIT)
		assert_true(answer.until_us > now_us);
	assert_true(placement_next(&account, example->cell, now_us) > now_us);
	buf_free(&record);
}

/* What the table says of an account's hashes. */
static void
check_account(char *rest)
{
	struct slice key = slice_from(next_word(&rest));
	double phase = strtod(next_word(&rest), NULL);
	uint64_t draw = 0;

	assert_true(fabs((double)placement_phase(key) / 0x1p64 - phase) < 5e-5);
	for (int i = 0; i < 3; i++) {
		uint64_t seed = placement_seed(slice_from(next_word(&rest)));

		assert_true(placement_draw(key, seed) > draw);
		draw = placement_draw(key, seed);
	}
}

static void
begin(struct example *example, char *rest)
{
	size_t line = example->line;

	cell_free(&example->cell);
	memset(example, 0, sizeof(*example));
	example->line = line;
	(void)snprintf(example->text, sizeof(example->text), "%s", rest);
}

static void
read_line(struct example *example, char *line)
{
	char *word = next_word(&line);

	if (word[0] == '\0' || word[0] == '#')
		return;
	if (strcmp(word, "account") == 0)
		check_account(line);
	else if (strcmp(word, "example") == 0)
		begin(example, line);
	else if (strcmp(word, "pool") == 0)
		read_pool(example, line);
	else if (strcmp(word, "server") == 0)
		read_server(example, line);
	else if (strcmp(word, "value") == 0)
		read_value(example, line);
	else if (strcmp(word, "text") == 0)
		read_text(example, line);
	else if (strcmp(word, "user") == 0)
		read_user(example, line);
	else if (strcmp(word, "at") == 0)
		ask(example, line);
	else
		fail_msg(EXAMPLES ":%zu: %s", example->line, word);
}

static void
test_worked_examples(void **state)
{
	static struct example example;
	FILE *file = open_table(EXAMPLES);
	char line[512];

	(void)state;
	while (fgets(line, sizeof(line), file)) {
		example.line++;
		read_line(&example, line);
	}
	(void)fclose(file);
	cell_free(&example.cell);
	assert_true(example.line > 300);
}

/* ---- properties ---- */

struct server {
	const char *name, *weight;
	const char *value, *later; /* transitions, or NULL */
};

static struct cell *
cell_of(const struct server *servers, size_t count)
{
	struct cell *cell = cell_new();

	assert_non_null(cell);
	entry_add(cell, ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "mail" }));
	for (size_t i = 0; i < count; i++)
		entry_add(cell, ENTRY({ CELL_KIND, "server" },
				    { CELL_NAME, servers[i].name },
				    { CELL_WEIGHT, servers[i].weight },
				    { CELL_TRANSITION, servers[i].value },
				    { CELL_TRANSITION, servers[i].later }));
	assert_int_equal(cell_finish(cell), 0);
	return cell;
}

/* Names as slapd's entryUUIDs: one node, one clock sequence, times near. */
static void
make_ids(char ids[ACCOUNTS][ACCOUNT_ID_SIZE])
{
	static const unsigned char model[ACCOUNT_ID_SIZE] = { 0, 0, 0, 0, 0x5a,
		0x3b, 0x10, 0x3f, 0x8c, 0x5e, 0xd1, 0xa5, 0xb7, 0xc9, 0xe0,
		0xf2 };

	for (unsigned i = 0; i < ACCOUNTS; i++) {
		unsigned time_low = 0x6f1c2a00 + 7 * i;

		memcpy(ids[i], model, sizeof(model));
		for (unsigned k = 0; k < 4; k++)
			ids[i][k] = (char)(time_low >> (24 - 8 * k));
	}
}

static char ids[ACCOUNTS][ACCOUNT_ID_SIZE];

static struct placement
place(const struct cell *cell, size_t index, int64_t now_us)
{
	struct account account = { .id =
				       slice_of(ids[index], ACCOUNT_ID_SIZE) };

	return placement(&account, cell, now_us);
}

/* Number of the server in the cell; SIZE_MAX for none. */
static size_t
index_of(const struct cell *cell, const struct placement *answer)
{
	size_t count;
	const struct host *hosts = cell_hosts(cell, &count);

	return answer->kind == PLACEMENT_SERVER
		   ? (size_t)(answer->server - hosts)
		   : SIZE_MAX;
}

static void
check_distribution(const struct server *servers, size_t count)
{
	struct cell *cell = cell_of(servers, count);
	size_t users[16] = { 0 };
	double weights = 0;

	for (size_t i = 0; i < ACCOUNTS; i++) {
		struct placement answer = place(cell, i, MOMENT);

		users[index_of(cell, &answer)]++;
	}
	for (size_t i = 0; i < count; i++)
		weights += strtod(servers[i].weight, NULL);
	for (size_t i = 0; i < count; i++) {
		double share =
		    ACCOUNTS * strtod(servers[i].weight, NULL) / weights;

		if (fabs((double)users[i] - share) > 0.05 * share)
			fail_msg("%s has %zu users, its share is %.0f",
			    servers[i].name, users[i], share);
	}
	cell_free(&cell);
}

static void
test_distribution_equal(void **state)
{
	static const struct server servers[] = { { .name = "a",
						     .weight = "100" },
		{ .name = "b", .weight = "100" },
		{ .name = "c", .weight = "100" },
		{ .name = "d", .weight = "100" },
		{ .name = "e", .weight = "100" } };

	(void)state;
	check_distribution(servers, 2);
	check_distribution(servers, 3);
	check_distribution(servers, 5);
}

static void
test_distribution_weighted(void **state)
{
	static const struct server servers[] = { { .name = "mbox1",
						     .weight = "100" },
		{ .name = "mbox2", .weight = "200" },
		{ .name = "mbox3", .weight = "300" },
		{ .name = "mbox4", .weight = "150" } };

	(void)state;
	check_distribution(servers, 2);
	check_distribution(servers, 4);
}

/* The shortcuts that placement takes never change who has the smallest draw. */
static void
check_draws(const struct server *servers, size_t count)
{
	struct cell *cell = cell_of(servers, count);

	for (uint64_t i = 0; i < ACCOUNTS; i++) {
		struct account account = { .group = slice_of(&i, sizeof(i)) };
		struct placement answer = placement(&account, cell, MOMENT);
		const char *best = NULL;
		long double lowest = 0;

		for (size_t k = 0; k < count; k++) {
			uint64_t seed =
			    placement_seed(slice_from(servers[k].name));
			long double draw =
			    (long double)placement_draw(account.group, seed) /
			    strtold(servers[k].weight, NULL);

			if (!best || draw < lowest) {
				best = servers[k].name;
				lowest = draw;
			}
		}
		assert_true(slice_is(answer.server->name, best));
	}
	cell_free(&cell);
}

static void
test_smallest_draw(void **state)
{
	static const struct server servers[] = { { .name = "a",
						     .weight = "100" },
		{ .name = "b", .weight = "100" },
		{ .name = "c", .weight = "50" },
		{ .name = "d", .weight = "100" },
		{ .name = "e", .weight = "101" } };

	(void)state;
	check_draws(servers, 2);
	check_draws(servers, 3);
	check_draws(servers, 5);
}

/* Compares two cells account by account; who moves must move as is said. */
static size_t
count_moves(const struct cell *one, const struct cell *two, const char *from,
    const char *to)
{
	size_t moves = 0;

	for (size_t i = 0; i < ACCOUNTS; i++) {
		struct placement old = place(one, i, MOMENT);
		struct placement new = place(two, i, MOMENT);

		assert_int_equal(old.kind, PLACEMENT_SERVER);
		assert_int_equal(new.kind, PLACEMENT_SERVER);
		if (slice_equal(old.server->name, new.server->name))
			continue;
		if (from)
			assert_true(slice_is(old.server->name, from));
		if (to)
			assert_true(slice_is(new.server->name, to));
		moves++;
	}
	return moves;
}

static const struct server four[] = { { .name = "mbox1", .weight = "100" },
	{ .name = "mbox2", .weight = "100" },
	{ .name = "mbox3", .weight = "100" },
	{ .name = "mbox4", .weight = "100" } };

static void
test_removing_moves_its_own_only(void **state)
{
	struct cell *before = cell_of(four, 4), *after = cell_of(four, 3);
	size_t moves = count_moves(before, after, "mbox4", NULL);

	(void)state;
	assert_in_range(moves, 2375, 2625);
	cell_free(&before);
	cell_free(&after);
}

static void
test_adding_takes_its_share_only(void **state)
{
	struct cell *before = cell_of(four, 3), *after = cell_of(four, 4);
	size_t moves = count_moves(before, after, NULL, "mbox4");

	(void)state;
	assert_in_range(moves, 2375, 2625);
	cell_free(&before);
	cell_free(&after);
}

static void
test_raising_weight_moves_to_it_only(void **state)
{
	struct server raised[] = { four[0], { "mbox2", "200", NULL, NULL },
		four[2], four[3] };
	struct cell *before = cell_of(four, 4), *after = cell_of(raised, 4);
	size_t moves = count_moves(before, after, NULL, "mbox2");

	(void)state;
	assert_in_range(moves, 1425, 1575); /* from 1/4 to 2/5 */
	assert_int_equal(count_moves(after, before, "mbox2", NULL), moves);
	cell_free(&before);
	cell_free(&after);
}

#define LONG_AGO "20200101000000.000000Z"
#define AT_0     "20270115080000.000000Z"
#define AT_600   "20270115081000.000000Z"

/* Each account of a drained server moves once, at its moment, and the moments
 * are spread evenly over the ramp. */
static void
test_ramp_is_even(void **state)
{
	const struct server servers[] = {
		{ "mbox1", "100", LONG_AGO " 0 up 100", AT_0 " 60 drain 100" },
		four[1], four[2], four[3]
	};
	struct cell *cell = cell_of(servers, 4);
	size_t tenths[10] = { 0 }, moved = 0;

	(void)state;
	for (size_t i = 0; i < ACCOUNTS; i++) {
		struct placement start = place(cell, i, MOMENT - 1);
		struct slice now = start.server->name;

		for (int second = 0; second <= 62; second++) {
			struct placement answer =
			    place(cell, i, MOMENT + second * SECOND);

			if (slice_equal(answer.server->name, now))
				continue;
			assert_true(slice_is(now, "mbox1"));
			now = answer.server->name;
			tenths[(second - 1) / 6]++;
			moved++;
		}
		assert_false(slice_is(now, "mbox1"));
	}
	assert_in_range(moved, 2375, 2625);
	for (size_t i = 0; i < ARRAY_SIZE(tenths); i++)
		assert_in_range(
		    tenths[i], moved / 10 * 8 / 10, moved / 10 * 12 / 10);
	cell_free(&cell);
}

static void
test_drain_and_return_restore(void **state)
{
	const struct server servers[] = {
		{ "mbox1", "100", AT_0 " 60 drain 100", AT_600 " 60 up 100" },
		four[1], four[2], four[3]
	};
	struct cell *before = cell_of(four, 4), *after = cell_of(servers, 4);

	(void)state;
	for (size_t i = 0; i < ACCOUNTS; i++) {
		struct placement old = place(before, i, MOMENT);
		struct placement new = place(after, i, MOMENT + 700 * SECOND);

		assert_int_equal(new.kind, PLACEMENT_SERVER);
		assert_true(slice_equal(old.server->name, new.server->name));
	}
	cell_free(&before);
	cell_free(&after);
}

static void
test_order_of_entries_is_nothing(void **state)
{
	const struct server ordered[] = {
		{ "mbox1", "100", AT_0 " 0 down 100", AT_0 " 0 up 50" },
		{ "mbox1", "100", LONG_AGO " 0 up 300", NULL }, four[1], four[2]
	};
	const struct server shuffled[] = { four[2],
		{ "mbox1", "100", LONG_AGO " 0 up 300", NULL }, four[1],
		{ "mbox1", "100", AT_0 " 0 up 50", AT_0 " 0 down 100" } };
	struct cell *one = cell_of(ordered, 4), *two = cell_of(shuffled, 4);

	(void)state;
	for (size_t i = 0; i < ACCOUNTS; i++) {
		struct placement a = place(one, i, MOMENT + 2 * SECOND);
		struct placement b = place(two, i, MOMENT + 2 * SECOND);

		assert_int_equal(a.kind, b.kind);
		assert_true(slice_equal(a.server->name, b.server->name));
		assert_int_equal(
		    a.server->transition_count, b.server->transition_count);
	}
	cell_free(&one);
	cell_free(&two);
}

/* Two deciders' values a moment apart: the wait neither ends early nor starts
 * again. */
static void
test_guard_of_two_deciders(void **state)
{
	struct cell *cell = cell_new();
	size_t waiting = 0;

	(void)state;
	assert_non_null(cell);
	entry_add(cell, ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "mail" }));
	entry_add(cell,
	    ENTRY({ CELL_KIND, "server" }, { CELL_NAME, "mbox1" },
		{ CELL_TRANSITION, LONG_AGO " 0 up 100" },
		{ CELL_TRANSITION, AT_0 " 0 failed 100" },
		{ CELL_TRANSITION, "20270115080000.300000Z 0 failed 100" }));
	for (size_t i = 1; i < 3; i++)
		entry_add(cell, ENTRY({ CELL_KIND, "server" },
				    { CELL_NAME, four[i].name }));
	assert_int_equal(cell_finish(cell), 0);
	for (size_t i = 0; i < 1000; i++) {
		struct placement before = place(cell, i, MOMENT - 1);
		struct placement wait = place(cell, i, MOMENT + SECOND - 1);
		struct placement after = place(cell, i, MOMENT + SECOND);

		assert_int_equal(after.kind, PLACEMENT_SERVER);
		if (!slice_is(before.server->name, "mbox1"))
			continue;
		assert_int_equal(wait.kind, PLACEMENT_WAIT);
		assert_int_equal(wait.until_us, MOMENT + SECOND);
		assert_ptr_equal(wait.server, after.server);
		waiting++;
	}
	assert_true(waiting > 250);
	cell_free(&cell);
}

static void
test_spread_without_affinity(void **state)
{
	struct cell *cell = cell_new();
	size_t users[3] = { 0 };

	(void)state;
	assert_non_null(cell);
	entry_add(cell, ENTRY({ CELL_KIND, "pool" }, { CELL_NAME, "mail" },
			    { CELL_AFFINITY, "none" }));
	for (size_t i = 0; i < 3; i++)
		entry_add(cell, ENTRY({ CELL_KIND, "server" },
				    { CELL_NAME, four[i].name }));
	assert_int_equal(cell_finish(cell), 0);
	for (int64_t i = 0; i < ACCOUNTS; i++) {
		struct placement answer = place(cell, 0, MOMENT + i * 1000);

		users[index_of(cell, &answer)]++;
	}
	for (size_t i = 0; i < 3; i++)
		assert_in_range(users[i], 3166, 3500);
	cell_free(&cell);
}

static void
test_next(void **state)
{
	const struct server servers[] = {
		{ "mbox1", "100", LONG_AGO " 0 up 100", AT_0 " 0 down 100" },
		four[1]
	};
	struct cell *cell = cell_of(servers, 2);
	struct account account = { .group = slice_from("sven") };

	(void)state;
	assert_int_equal(
	    placement_next(&account, cell, MOMENT - 5 * SECOND), MOMENT);
	assert_int_equal(
	    placement_next(&account, cell, MOMENT), MOMENT + SECOND);
	assert_int_equal(
	    placement_next(&account, cell, MOMENT + SECOND), INT64_MAX);
	account.moved = true;
	account.moved_us = MOMENT + 60 * SECOND;
	assert_int_equal(placement_next(&account, cell, MOMENT + SECOND),
	    MOMENT + 59 * SECOND + 1);
	assert_int_equal(placement_next(&account, cell, MOMENT + 60 * SECOND),
	    MOMENT + 61 * SECOND);
	cell_free(&cell);
}

static void
test_reasons_have_texts(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= PLACEMENT_PIN_UNKNOWN; i++)
		assert_non_null(
		    placement_reason_text((enum placement_reason)i));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frozen_vectors),
		cmocka_unit_test(test_worked_examples),
		cmocka_unit_test(test_smallest_draw),
		cmocka_unit_test(test_distribution_equal),
		cmocka_unit_test(test_distribution_weighted),
		cmocka_unit_test(test_removing_moves_its_own_only),
		cmocka_unit_test(test_adding_takes_its_share_only),
		cmocka_unit_test(test_raising_weight_moves_to_it_only),
		cmocka_unit_test(test_ramp_is_even),
		cmocka_unit_test(test_drain_and_return_restore),
		cmocka_unit_test(test_order_of_entries_is_nothing),
		cmocka_unit_test(test_guard_of_two_deciders),
		cmocka_unit_test(test_spread_without_affinity),
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_reasons_have_texts),
	};

	make_ids(ids);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
