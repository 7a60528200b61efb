#include "kdc-plugin/changes.h"

#include <stdlib.h>
#include <string.h>

#include "kdc-plugin/principal.h"
#include "lib/base64.h"
#include "lib/keyset.h"
#include "lib/locked.h"
#include "lib/record.h"

#define CHANGES_MAX 128

/* One value of one attribute, with the room that libldap wants. */
struct changes_item {
	LDAPMod mod;
	struct berval value;
	bool has_value;
	struct buf text;
};

struct changes {
	struct changes_item items[CHANGES_MAX];
	LDAPMod *list[CHANGES_MAX + 1];
	struct berval
	    *values[2 * CHANGES_MAX + 1]; /* each group ends in NULL */
	size_t count;
	bool failed;
};

struct changes *
changes_new(void)
{
	return calloc(1, sizeof(struct changes));
}

void
changes_free(struct changes **changes)
{
	for (size_t i = 0; *changes && i < (*changes)->count; i++) {
		free((*changes)->items[i].mod.mod_type);
		buf_wipe(&(*changes)->items[i].text);
	}
	free(*changes);
	*changes = NULL;
}

static void
changes_put(struct changes *changes, int operation, const char *attribute,
    struct slice value)
{
	struct changes_item *item = &changes->items[changes->count];

	if (changes->count == CHANGES_MAX) {
		changes->failed = true;
		return;
	}
	changes->count++;
	item->text = buf_bounded(value.size);
	item->mod.mod_op = operation | LDAP_MOD_BVALUES;
	item->mod.mod_type = strdup(attribute);
	if (buf_add_slice(&item->text, value) != 0 || !item->mod.mod_type)
		changes->failed = true;
	item->value = (struct berval){ item->text.size, item->text.data };
	item->has_value = value.size > 0;
}

void
changes_add(struct changes *changes, const char *attribute, struct slice value)
{
	changes_put(changes, LDAP_MOD_ADD, attribute, value);
}

void
changes_drop(struct changes *changes, const char *attribute, struct slice value)
{
	changes_put(changes, LDAP_MOD_DELETE, attribute, value);
}

void
changes_set(struct changes *changes, const char *attribute, struct slice value)
{
	changes_put(changes, LDAP_MOD_REPLACE, attribute, value);
}

void
changes_lock(struct changes *changes, const struct account *account,
    bool is_locked, int64_t now_us, int64_t until_us)
{
	struct buf text = buf_bounded(LOCKED_SIZE_MAX);
	struct slice rest = account->record;
	struct record_field field;
	struct locked newest, value;
	bool any = principal_locked(account, &newest);
	const char *why;

	value = (struct locked){
		.time_us = locked_next_time(any ? &newest : NULL, now_us),
		.is_locked = is_locked,
		.until_us = until_us,
	};
	if (locked_format(&text, &value) != 0)
		changes->failed = true;
	changes_add(changes, "postcellLocked", buf_slice(&text));
	while (record_next(&rest, &field)) {
		if (field.tag == ACCOUNT_LOCKED &&
		    locked_parse(field.value, &value, &why) == 0 &&
		    !slice_equal(field.value, newest.text))
			changes_drop(changes, "postcellLocked", field.value);
	}
	buf_free(&text);
}

/* Adds the text of the set; its base64 lies in `store`. */
static int
changes_format_keys(struct changes *changes, struct keyset *set,
    const struct buf *keys, size_t key_count, struct buf *store)
{
	struct buf text = buf_bounded(KEYSET_SIZE_MAX);
	size_t begins[KEYSET_KEYS_MAX + 1] = { 0 };
	int result = -1;

	for (size_t i = 0; i < key_count; i++) {
		(void)base64_encode(store, buf_slice(&keys[i]));
		begins[i + 1] = store->size;
	}
	/* Only now: the store moves while it grows. */
	for (size_t i = 0; i < key_count; i++)
		set->keys[i] = slice_of(
		    store->data + begins[i], begins[i + 1] - begins[i]);
	set->key_count = key_count;
	if (!store->failed && keyset_format(&text, set) == 0) {
		changes_add(changes, "postcellKeys", buf_slice(&text));
		result = 0;
	}
	buf_wipe(&text);
	return result;
}

int
changes_keys(struct changes *changes, const struct account *account,
    const struct buf *keys, size_t key_count, int64_t now_us, int64_t keep_us,
    const char **why)
{
	struct buf store = buf_bounded(KEYSET_SIZE_MAX);
	struct principal_keys old;
	struct keyset_change change;
	struct keyset set = { 0 };
	uint64_t kvno = 0;
	int result;

	principal_keys(account, &old);
	(void)slice_to_uint(
	    principal_value(account, ACCOUNT_OLD_KVNO), KEYSET_KVNO_MAX, &kvno);
	if (keyset_change_make(&change, old.sets, old.count, (uint32_t)kvno,
		now_us, keep_us, why) != 0)
		return -1;
	*why = "too many keys, or too large ones";
	if (key_count == 0 || key_count > KEYSET_KEYS_MAX)
		return -1;
	set.time_us = change.time_us;
	set.kvno = change.kvno;
	result = changes_format_keys(changes, &set, keys, key_count, &store);
	for (size_t i = 0; i < change.superseded; i++)
		changes_drop(changes, "postcellKeys", old.sets[i].text);
	buf_wipe(&store);
	return result;
}

bool
changes_is_empty(const struct changes *changes)
{
	return changes->count == 0;
}

/* Whether the value goes into the same modification as those before it. */
static bool
changes_joins(const LDAPMod *group, const LDAPMod *mod)
{
	int before = group->mod_op & LDAP_MOD_OP,
	    now = mod->mod_op & LDAP_MOD_OP;

	return strcmp(group->mod_type, mod->mod_type) == 0 &&
	       (before == now ||
		   (before == LDAP_MOD_REPLACE && now == LDAP_MOD_ADD));
}

/*
 * Values of one attribute stand together: one without a rule of equality could
 * not be added to by a second modification.
 */
static LDAPMod **
changes_group(struct changes *changes, bool entry)
{
	LDAPMod *group = NULL;
	size_t count = 0, used = 0;

	for (size_t i = 0; i < changes->count; i++) {
		struct changes_item *item = &changes->items[i];

		if (entry && !item->has_value)
			continue;
		if (entry)
			item->mod.mod_op = LDAP_MOD_ADD | LDAP_MOD_BVALUES;
		if (!group || !changes_joins(group, &item->mod)) {
			changes->values[used++] = NULL;
			group = &item->mod;
			group->mod_bvalues = &changes->values[used];
			changes->list[count++] = group;
		}
		if (item->has_value)
			changes->values[used++] = &item->value;
	}
	changes->values[used] = NULL;
	changes->list[count] = NULL;
	return changes->failed ? NULL : changes->list;
}

LDAPMod **
changes_list(struct changes *changes)
{
	return changes_group(changes, false);
}

LDAPMod **
changes_entry(struct changes *changes)
{
	return changes_group(changes, true);
}
