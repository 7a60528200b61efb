#include "replica/layout.h"

#include "lib/account.h"
#include "lib/record.h"

/* Frozen: they lie in databases. */
static const char layout_kinds[NAME_KIND_COUNT] = {
	[NAME_UID] = 'u',
	[NAME_ADDRESS] = 'a',
	[NAME_PRINCIPAL] = 'p',
};

MDB_val
layout_value(struct slice slice)
{
	union {
		const char *given;
		void *wanted;
	} data = { .given = slice.data };

	/* LMDB never writes through the keys and values it is given. */
	return (MDB_val){ .mv_size = slice.size, .mv_data = data.wanted };
}

MDB_val
layout_string(const char *string)
{
	return layout_value(slice_from(string));
}

struct slice
layout_slice(MDB_val value)
{
	return slice_of(value.mv_data, value.mv_size);
}

const char *
layout_error(int code)
{
	const char *text = mdb_strerror(code);

	return text == NULL ? "unknown database error" : text;
}

int
layout_name_start(
    struct buf *out, enum name_kind kind, struct slice name, const char **why)
{
	if (name_normalise(out, kind, name, why) < 0)
		return -1;
	if (buf_add_char(out, '\0') == 0)
		return 0;
	*why = "out of memory";
	return -1;
}

int
layout_name_key(
    struct buf *out, enum name_kind kind, struct slice name, const char **why)
{
	if (layout_name_start(out, kind, name, why) < 0)
		return -1;
	if (buf_add_char(out, layout_kinds[kind]) == 0)
		return 0;
	*why = "out of memory";
	return -1;
}

bool
layout_key_is(struct slice key, unsigned kinds)
{
	for (unsigned kind = 0; kind < NAME_KIND_COUNT; kind++) {
		if ((kinds & 1U << kind) != 0 && key.size > 0 &&
		    key.data[key.size - 1] == layout_kinds[kind])
			return true;
	}
	return false;
}

bool
layout_next_name(struct slice *rest, enum name_kind *kind, struct slice *name)
{
	struct record_field field;

	while (record_next(rest, &field)) {
		*name = field.value;
		if (field.tag == ACCOUNT_UID)
			*kind = NAME_UID;
		else if (field.tag == ACCOUNT_ADDRESS)
			*kind = NAME_ADDRESS;
		else if (field.tag == ACCOUNT_PRINCIPAL)
			*kind = NAME_PRINCIPAL;
		else
			continue;
		return true;
	}
	return false;
}

struct layout_gate
layout_read_gate(struct slice record)
{
	struct record_field field;
	uint64_t numbers[GATE_STALE_AFTER + 1] = { 0 };

	while (record_next(&record, &field)) {
		if (field.tag <= GATE_STALE_AFTER)
			(void)record_uint(field.value, &numbers[field.tag]);
	}
	return (struct layout_gate){
		.complete = numbers[GATE_COMPLETE] != 0,
		.contact_us = (int64_t)numbers[GATE_CONTACT],
		.stale_after_us = (int64_t)numbers[GATE_STALE_AFTER],
	};
}
