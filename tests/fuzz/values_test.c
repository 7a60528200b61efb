/*
 * Values that stand in the directory and in shared memory: whoever can write
 * there, or did with another version, may have written anything.
 */
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/exposition.h"
#include "lib/change.h"
#include "lib/keyset.h"
#include "lib/locked.h"
#include "lib/lockout.h"
#include "lib/password.h"
#include "lib/record.h"
#include "tests/fuzz/fuzz.h"

#define NOW_US     INT64_C(1800000000000000)
#define KEEP_US    INT64_C(86400000000)
#define LIMIT      3
#define VALUES_MAX 64

const char fuzz_name[] = "values";

/* ---- keys ---- */

static bool
read_keyset(struct slice text, struct keyset *set)
{
	struct buf out = buf_bounded((size_t)2 * KEYSET_SIZE_MAX);
	struct buf key = buf_bounded(KEYSET_KEY_MAX);
	struct keyset again;
	const char *why = NULL;

	if (keyset_parse(text, set, &why) < 0) {
		fuzz_require(why, "a reason");
		return false;
	}
	fuzz_require(keyset_format(&out, set) == 0 &&
			 keyset_parse(buf_slice(&out), &again, &why) == 0 &&
			 again.time_us == set->time_us &&
			 again.kvno == set->kvno &&
			 again.key_count == set->key_count &&
			 slice_equal(again.scram, set->scram),
	    "keys can be written and read again");
	for (size_t i = 0; i < set->key_count; i++) {
		buf_clear(&key);
		(void)keyset_key(set, i, &key);
	}
	buf_free(&out);
	buf_free(&key);
	return true;
}

static void
change_keys(struct slice text)
{
	static struct keyset sets[VALUES_MAX];
	const struct keyset *newest;
	struct keyset_change change;
	struct slice line;
	const char *why = NULL;
	size_t count = 0;

	while (count < VALUES_MAX && slice_next_word(&text, '\n', &line))
		count += read_keyset(line, &sets[count]);
	qsort(sets, count, sizeof(sets[0]), keyset_compare_any);
	newest = keyset_newest(sets, count);
	fuzz_require(!newest == (count == 0), "the newest of them");
	if (keyset_change_make(&change, sets, count, 7, NOW_US, KEEP_US, &why) <
	    0) {
		fuzz_require(why, "a reason");
		return;
	}
	fuzz_require(
	    change.kvno > 7 && change.kvno <= KEYSET_KVNO_MAX, "versions grow");
	fuzz_require(!newest || (change.time_us > newest->time_us &&
				    change.kvno > newest->kvno),
	    "a change is newer than all");
	fuzz_require(count == 0 || change.superseded < count,
	    "what held until now stays for tickets");
	fuzz_require(count - change.superseded < KEYSET_VALUES_MAX + 1,
	    "values are bounded");
}

/* ---- locks ---- */

static void
read_locked(struct slice text)
{
	struct buf out = buf_bounded((size_t)2 * LOCKED_SIZE_MAX);
	struct locked locked, again;
	const char *why = NULL;

	if (locked_parse(text, &locked, &why) < 0) {
		fuzz_require(why, "a reason");
		return;
	}
	fuzz_require(locked_format(&out, &locked) == 0 &&
			 locked_parse(buf_slice(&out), &again, &why) == 0 &&
			 again.time_us == locked.time_us &&
			 again.is_locked == locked.is_locked &&
			 again.until_us == locked.until_us,
	    "a lock can be written and read again");
	fuzz_require(locked_next_time(&locked, NOW_US) > locked.time_us,
	    "a change is newer");
	(void)locked_holds(&locked, NOW_US);
	buf_free(&out);
}

/* A table of guesses that another program left: never more than the limit. */
static void
count_guesses(struct slice octets)
{
	static alignas(uint64_t) char memory[LOCKOUT_SIZE];
	struct lockout_policy policy = { LIMIT, 600000000 };
	struct lockout_attempt attempt = { 0 };
	struct lockout table;
	uint64_t key = lockout_key(octets);
	const char *why = NULL;
	unsigned let = 0;

	memset(memory, 0, sizeof(memory));
	memcpy(memory, octets.data, octets.size);
	if (lockout_attach(&table, memory, sizeof(memory), &why) < 0) {
		fuzz_require(why, "a reason");
		return;
	}
	for (int i = 0; i < LIMIT + 2; i++) {
		if (!lockout_reserve(&table, key, &policy, NOW_US, 0, &attempt))
			continue;
		let++;
		(void)lockout_fail(&table, &policy, &attempt);
	}
	fuzz_require(let <= LIMIT, "no more guesses than the limit");
}

/* ---- transitions ---- */

static struct cell *
make_cell(struct slice text)
{
	struct cell *cell = cell_new();
	struct buf record = buf_bounded(1 << 20);
	struct slice line;

	record_add(&record, CELL_KIND, slice_from("server"));
	record_add(&record, CELL_NAME, slice_from("s"));
	while (slice_next_word(&text, '\n', &line))
		record_add(&record, CELL_TRANSITION, line);
	fuzz_require(!record.failed && cell &&
			 cell_add(cell, buf_slice(&record)) == 0 &&
			 cell_finish(cell) == 0,
	    "a map can be made");
	buf_free(&record);
	return cell;
}

static void
change_host(struct slice text)
{
	struct cell *cell = make_cell(text);
	const struct host *host = cell_host(cell, HOST_SERVER, slice_from("s"));
	struct change change;

	fuzz_require(host, "a host");
	change_make(&change, host, POOL_GUARD, NOW_US, HOST_DRAIN, 100, 60);
	fuzz_require(change.passed + change.ahead <= host->transition_count,
	    "what goes was there");
	for (size_t i = change.passed;
	     change.step == CHANGE_WRITE &&
	     i + change.ahead < host->transition_count;
	     i++)
		fuzz_require(
		    change.value.time_us > host->transitions[i].time_us,
		    "a change is newer than what stays");
	(void)change_is_settled(host, NOW_US);
	cell_free(&cell);
}

/* ---- the rest ---- */

static void
read_record(struct slice record)
{
	struct slice rest = record;
	struct record_field field;
	size_t size = 0;
	uint64_t number;

	while (record_next(&rest, &field)) {
		size += 5 + field.value.size;
		(void)record_uint(field.value, &number);
	}
	fuzz_require(size + rest.size == record.size, "fields are parts");
}

static void
check_password(struct slice text)
{
	if (password_fault(text, PASSWORD_SIZE_MAX))
		return;
	fuzz_require(text.size > 0 && text.size <= PASSWORD_SIZE_MAX &&
			 slice_find(text, '\0') == SIZE_MAX,
	    "a password is one at every door");
}

/* Whatever a name is, a metric is one line. */
static void
expose(struct slice text)
{
	struct exposition_label label = { "name", text };
	struct buf out = buf_bounded(8 * text.size + 256);
	size_t end;

	exposition_value(&out, "m", "", &label, 1, 1);
	end = slice_find(buf_slice(&out), '\n');
	fuzz_require(!out.failed && end + 1 == out.size, "one line");
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size);

	change_keys(text);
	read_locked(text);
	count_guesses(text);
	change_host(text);
	read_record(text);
	check_password(text);
	expose(text);
	return 0;
}
