#include "slapd-overlay/made.h"

#include "lib/timestamp.h"

void
made_free(struct made *made)
{
	buf_wipe(&made->keys);
	buf_wipe(&made->password);
}

/* What stands in userPassword can be checked by itself: the first key. */
int
made_text(struct made *made, const struct keyset *set)
{
	made->password = buf_bounded(KEYSET_SIZE_MAX);
	buf_add_string(&made->password, SCHEME_TEXT);
	return buf_add_slice(&made->password, set->keys[0]);
}

static uint32_t
old_kvno(Entry *entry)
{
	uint64_t number;

	return slice_to_uint(entry_first(entry, ATTRIBUTE_OLD_KVNO),
		   KEYSET_KVNO_MAX, &number) == 0
		   ? (uint32_t)number
		   : 0;
}

int
made_make(struct made *made, Operation *op, Entry *entry,
    const struct keyset *sets, size_t count, struct slice password,
    struct keyset_change *change, const char **why)
{
	const struct overlay *overlay = overlay_of(op);
	struct buf store = buf_bounded(KEYSET_SIZE_MAX);
	struct keyset set = { 0 };
	int result = -1;

	made->keys = buf_bounded(KEYSET_SIZE_MAX);
	made->password = buf_bounded(0);
	if (keyset_change_make(change, sets, count, old_kvno(entry), clock_us(),
		overlay->ticket_life * TIMESTAMP_SECOND, why) < 0)
		goto done;
	if (keys_make(overlay->keys, entry_first(entry, ATTRIBUTE_PRINCIPAL),
		entry_first(entry, ATTRIBUTE_UID), password, &set, &store,
		why) < 0)
		goto done;
	set.time_us = change->time_us;
	set.kvno = change->kvno;
	*why = "keys are too long";
	if (keyset_format(&made->keys, &set) == 0)
		result = made_text(made, &set);
done:
	buf_wipe(&store);
	return result;
}

void
made_append_deletions(Modifications **mods, Entry *entry)
{
	BerVarray values = entry_values(entry, attribute_password());

	for (size_t i = 0; values && values[i].bv_val; i++)
		mods_append(mods, mod_new(attribute_password(), LDAP_MOD_DELETE,
				      bv_slice(&values[i])));
}

void
made_append_text(Modifications **mods, Entry *entry, const struct made *made)
{
	made_append_deletions(mods, entry);
	mods_append(mods, mod_new(attribute_password(), LDAP_MOD_ADD,
			      buf_slice(&made->password)));
}

void
made_append_keys(Modifications **mods, Entry *entry, const struct made *made,
    const struct keyset *sets, size_t superseded)
{
	AttributeDescription *keys = attribute(ATTRIBUTE_KEYS);

	if (!entry_is(entry, CLASS_LOGIN))
		mods_append(mods, mod_new(attribute_class(), LDAP_MOD_ADD,
				      class_name(CLASS_LOGIN)));
	mods_append(mods, mod_new(keys, LDAP_MOD_ADD, buf_slice(&made->keys)));
	for (size_t i = 0; i < superseded; i++)
		mods_append(mods, mod_new(keys, LDAP_MOD_DELETE, sets[i].text));
}

void
made_append_end(Modifications **mods, Operation *op, Entry *entry)
{
	unsigned life = overlay_of(op)->password_life;
	struct buf day = buf_bounded(32);

	if (life > 0 && entry_first(entry, ATTRIBUTE_PASSWORD_END).size > 0 &&
	    clock_day(&day, clock_us() + life * TIMESTAMP_SECOND) == 0)
		mods_append(mods, mod_new(attribute(ATTRIBUTE_PASSWORD_END),
				      LDAP_MOD_REPLACE, buf_slice(&day)));
	buf_free(&day);
}
