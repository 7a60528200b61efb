#include <errno.h>

#include "lib/record.h"
#include "replica/store_state.h"

int
store_meta_get(struct store *store, const char *name, struct slice *value)
{
	MDB_val key = layout_string(name), data;
	int code = mdb_get(store->txn, store->meta, &key, &data);

	*value = code == 0 ? layout_slice(data) : slice_from("");
	return code == MDB_NOTFOUND ? 0 : code;
}

int
store_meta_put(struct store *store, const char *name, struct slice value)
{
	MDB_val key = layout_string(name), data = layout_value(value);

	return mdb_put(store->txn, store->meta, &key, &data, 0);
}

/* Puts what was gathered in `scratch`. */
static int
store_put_record(struct store *store, const char *name, const char **why)
{
	int code = store->scratch.failed ? ENOMEM
					 : store_meta_put(store, name,
					       buf_slice(&store->scratch));

	return code == 0 ? 0 : store_fail(store, code, why);
}

static int
store_get_record(struct store *store, const char *name, struct slice *record,
    const char **why)
{
	int code = store_meta_get(store, name, record);

	return code == 0 ? 0 : store_fail(store, code, why);
}

int
store_put_cookie(
    struct store *store, const struct store_cookie *cookie, const char **why)
{
	buf_clear(&store->scratch);
	for (size_t i = 0; i < cookie->vector.count; i++)
		(void)record_add(&store->scratch, COOKIE_CSN,
		    csn_vector_get(&cookie->vector, i));
	(void)record_add_uint(&store->scratch, COOKIE_RELOAD, cookie->reload);
	return store_put_record(store, META_COOKIE, why);
}

int
store_get_cookie(
    struct store *store, struct store_cookie *cookie, const char **why)
{
	struct record_field field;
	struct slice record;
	uint64_t reload = 1;

	csn_vector_clear(&cookie->vector);
	if (store_get_record(store, META_COOKIE, &record, why) != 0)
		return -1;
	while (record_next(&record, &field)) {
		if (field.tag == COOKIE_CSN)
			(void)csn_vector_add(&cookie->vector, field.value);
		else if (field.tag == COOKIE_RELOAD)
			(void)record_uint(field.value, &reload);
	}
	cookie->reload = reload != 0;
	return 0;
}

int
store_put_gate(
    struct store *store, const struct layout_gate *gate, const char **why)
{
	store->complete = gate->complete;
	buf_clear(&store->scratch);
	(void)record_add_uint(&store->scratch, GATE_COMPLETE, gate->complete);
	(void)record_add_uint(
	    &store->scratch, GATE_CONTACT, (uint64_t)gate->contact_us);
	(void)record_add_uint(
	    &store->scratch, GATE_STALE_AFTER, (uint64_t)gate->stale_after_us);
	return store_put_record(store, META_GATE, why);
}

int
store_get_gate(struct store *store, struct layout_gate *gate, const char **why)
{
	struct slice record;

	if (store_get_record(store, META_GATE, &record, why) != 0)
		return -1;
	*gate = layout_read_gate(record);
	return 0;
}

int
store_put_status(
    struct store *store, const struct store_status *status, const char **why)
{
	buf_clear(&store->scratch);
	(void)record_add(&store->scratch, STATUS_SOURCE, status->source);
	(void)record_add(&store->scratch, STATUS_STATE, status->state);
	for (size_t i = 0; i < status->vector->count; i++)
		(void)record_add(&store->scratch, STATUS_CSN,
		    csn_vector_get(status->vector, i));
	(void)record_add_uint(
	    &store->scratch, STATUS_FILLED, (uint64_t)status->filled_us);
	(void)record_add_uint(
	    &store->scratch, STATUS_LAG, (uint64_t)status->lag_us);
	return store_put_record(store, META_STATUS, why);
}

int
store_get_filled(struct store *store, int64_t *filled_us, const char **why)
{
	struct record_field field;
	struct slice record;
	uint64_t number = 0;

	if (store_get_record(store, META_STATUS, &record, why) != 0)
		return -1;
	while (record_next(&record, &field)) {
		if (field.tag == STATUS_FILLED)
			(void)record_uint(field.value, &number);
	}
	*filled_us = (int64_t)number;
	return 0;
}

int
store_put_origin(struct store *store, struct slice origin, const char **why)
{
	int code = store_meta_put(store, META_ORIGIN, origin);

	return code == 0 ? 0 : store_fail(store, code, why);
}

int
store_get_origin(struct store *store, struct slice *origin, const char **why)
{
	return store_get_record(store, META_ORIGIN, origin, why);
}
