/* What an account is called, kept beside it: its keys in the table of names. */
#include <errno.h>

#include "replica/store_state.h"

/* Packs the keys of an account's names: size (2 octets), key. */
static void
store_pack_names(struct buf *out, struct buf *key, struct slice record)
{
	enum name_kind kind;
	struct slice name;
	const char *why;

	buf_clear(out);
	while (layout_next_name(&record, &kind, &name)) {
		buf_clear(key);
		/* A name that has no normalised form cannot be asked for. */
		if (layout_name_key(key, kind, name, &why) != 0)
			continue;
		(void)buf_add_char(out, (char)(key->size >> 8));
		(void)buf_add_char(out, (char)(key->size & 0xff));
		(void)buf_add_slice(out, buf_slice(key));
	}
}

static bool
store_next_packed(struct slice *rest, struct slice *key)
{
	size_t size;

	if (rest->size < 2)
		return false;
	size = (size_t)(unsigned char)rest->data[0] << 8 |
	       (unsigned char)rest->data[1];
	*key = slice_first(slice_from_offset(*rest, 2), size);
	*rest = slice_from_offset(*rest, 2 + size);
	return true;
}

/* Where the cursor over names stands after it put one. */
static void
store_tell_ambiguous(struct store *store, struct slice name)
{
	size_t count = 0;

	if (store->ambiguous &&
	    mdb_cursor_count(store->names_cursor, &count) == 0 && count > 1)
		store->ambiguous(store->context, name);
}

static int
store_delete_names(struct store *store, struct slice packed, struct slice id)
{
	struct slice name;
	int code = 0;

	while (code == 0 && store_next_packed(&packed, &name)) {
		MDB_val key = layout_value(name), value = layout_value(id);

		code = mdb_del(store->txn, store->names, &key, &value);
		if (code == MDB_NOTFOUND)
			code = 0;
	}
	return code;
}

static int
store_put_names(struct store *store, struct slice packed, struct slice id)
{
	struct slice name;
	int code = store_cursor(store, store->names, &store->names_cursor);

	while (code == 0 && store_next_packed(&packed, &name)) {
		MDB_val key = layout_value(name), value = layout_value(id);

		code = mdb_cursor_put(
		    store->names_cursor, &key, &value, MDB_NODUPDATA);
		if (code == MDB_KEYEXIST)
			code = 0;
		else if (code == 0)
			store_tell_ambiguous(store, name);
	}
	return code;
}

int
store_move_names(struct store *store, struct slice id, struct slice old_record,
    struct slice new_record)
{
	int code;

	store_pack_names(&store->old_names, &store->key, old_record);
	store_pack_names(&store->new_names, &store->key, new_record);
	if (store->old_names.failed || store->new_names.failed)
		return ENOMEM;
	if (slice_equal(
		buf_slice(&store->old_names), buf_slice(&store->new_names)))
		return 0;
	code = store_delete_names(store, buf_slice(&store->old_names), id);
	if (code == 0)
		code = store_put_names(store, buf_slice(&store->new_names), id);
	return code;
}
