/* What a directory says: values of RFC 4533, and entries that become records.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/account.h"
#include "lib/cell.h"
#include "replica/entry.h"
#include "replica/sync_value.h"
#include "tests/fuzz/fuzz.h"

#define VALUES_MAX 64
#define RECORD_MAX (1 << 20)

const char fuzz_name[] = "sync";

static void
read_state(struct slice octets)
{
	struct berval value = { octets.size, malloc(octets.size + 1) };
	struct sync_state state;

	fuzz_require(value.bv_val, "memory");
	memcpy(value.bv_val, octets.data, octets.size);
	value.bv_val[octets.size] = '\0';
	if (sync_value_state(&state, &value) == 0)
		fuzz_require(state.id.size == LAYOUT_ID_SIZE, "an id is whole");
	sync_value_state_free(&state);
	free(value.bv_val);
}

static void
read_info(struct slice octets)
{
	struct berval value = { octets.size, malloc(octets.size + 1) };
	struct sync_info info;

	fuzz_require(value.bv_val, "memory");
	memcpy(value.bv_val, octets.data, octets.size);
	value.bv_val[octets.size] = '\0';
	if (sync_value_info(&info, &value) == 0)
		fuzz_require(info.kind != SYNC_PHASE_END || !info.ids,
		    "ids are of a set");
	sync_value_info_free(&info);
	free(value.bv_val);
}

/* What an entry became can be read by those who look it up. */
static void
check_record(enum entry_kind kind, struct slice record)
{
	struct account account;
	const char *why = NULL;
	struct cell *cell;

	if (kind == ENTRY_ACCOUNT)
		fuzz_require(account_read(&account, record, &why) == 0,
		    "an account can be read");
	if (kind != ENTRY_CELL)
		return;
	cell = cell_new();
	fuzz_require(
	    cell && cell_add(cell, record) == 0 && cell_finish(cell) == 0,
	    "a map can be made");
	cell_free(&cell);
}

/* The first line is its name, others "ATTRIBUTE VALUE". */
static void
make_entry(struct slice text, bool keys)
{
	struct entry_value values[VALUES_MAX];
	struct buf record = buf_bounded(RECORD_MAX);
	struct entry entry = { .values = values, .keys = keys };
	uint8_t id[LAYOUT_ID_SIZE];
	enum entry_kind kind = ENTRY_OTHER;
	const char *why = NULL;
	struct slice line;

	(void)slice_next_word(&text, '\n', &entry.dn);
	while (entry.value_count < VALUES_MAX &&
	       slice_next_word(&text, '\n', &line)) {
		size_t space = slice_find(line, ' ');

		values[entry.value_count].attribute = slice_first(line, space);
		values[entry.value_count++].value = slice_from_offset(
		    line, space == SIZE_MAX ? line.size : space + 1);
	}
	if (entry_make(&entry, &record, id, &kind, &why) < 0)
		fuzz_require(why, "a reason");
	else
		check_record(kind, buf_slice(&record));
	buf_free(&record);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size);

	read_state(text);
	read_info(text);
	make_entry(text, size % 2);
	return 0;
}
