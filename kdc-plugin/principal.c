#include "kdc-plugin/principal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kdc-plugin/lookup.h"
#include "lib/record.h"
#include "lib/timestamp.h"

void
principal_keys(const struct account *account, struct principal_keys *keys)
{
	struct slice rest = account->record;
	struct record_field field;
	const char *why;

	keys->count = 0;
	while (record_next(&rest, &field) &&
	       keys->count < ARRAY_SIZE(keys->sets)) {
		if (field.tag == ACCOUNT_KEYS &&
		    keyset_parse(field.value, &keys->sets[keys->count], &why) ==
			0)
			keys->count++;
	}
	if (keys->count > 0)
		qsort(keys->sets, keys->count, sizeof(keys->sets[0]),
		    keyset_compare_any);
}

bool
principal_locked(const struct account *account, struct locked *locked)
{
	struct slice rest = account->record;
	struct record_field field;
	struct locked value;
	bool found = false;
	const char *why;

	while (record_next(&rest, &field)) {
		if (field.tag != ACCOUNT_LOCKED ||
		    locked_parse(field.value, &value, &why) != 0)
			continue;
		if (!found || locked_compare(locked, &value) < 0)
			*locked = value;
		found = true;
	}
	return found;
}

bool
principal_is_person(const struct account *account)
{
	return account->uid.size > 0 || account->address.size > 0;
}

bool
principal_may_act(const struct account *account, int64_t now_us)
{
	struct locked locked;

	return account->status == ACCOUNT_ACTIVE &&
	       !(principal_locked(account, &locked) &&
		   locked_holds(&locked, now_us));
}

struct slice
principal_value(const struct account *account, uint8_t tag)
{
	struct slice rest = account->record;
	struct record_field field;

	while (record_next(&rest, &field)) {
		if (field.tag == tag)
			return field.value;
	}
	return slice_from("");
}

krb5_error_code
principal_decode_key(struct slice der, Key *key)
{
	size_t size = 0;
	int code = decode_Key((const void *)der.data, der.size, key, &size);

	if (code == 0 && size != der.size) {
		free_Key(key);
		code = ASN1_BAD_FORMAT;
	}
	return code;
}

static krb5_error_code
principal_add_key(krb5_context context, Keys *keys, struct slice der)
{
	krb5_error_code code = 0;
	size_t size;
	Key key;

	/* One that is damaged, or of a type that nobody knows, must not take
	 * the others with it. */
	if (principal_decode_key(der, &key) != 0)
		return 0;
	if (krb5_enctype_keysize(context, key.key.keytype, &size) == 0)
		code = add_Keys(keys, &key);
	free_Key(&key);
	return code;
}

static krb5_error_code
principal_add_set(krb5_context context, Keys *keys, const struct keyset *set)
{
	struct buf der = buf_bounded(KEYSET_KEY_MAX);
	krb5_error_code code = 0;

	for (size_t i = 0; i < set->key_count && code == 0; i++) {
		buf_clear(&der);
		if (keyset_key(set, i, &der) == 0)
			code =
			    principal_add_key(context, keys, buf_slice(&der));
	}
	buf_wipe(&der);
	return code;
}

/* Keys by Heimdal's own attributes, of an account that has no others. */
static krb5_error_code
principal_add_legacy(
    krb5_context context, const struct account *account, hdb_entry *entry)
{
	struct slice rest = account->record;
	struct record_field field;
	krb5_error_code code = 0;
	uint64_t kvno = 0;

	if (slice_to_uint(principal_value(account, ACCOUNT_OLD_KVNO),
		KEYSET_KVNO_MAX, &kvno) == 0)
		entry->kvno = (unsigned)kvno;
	while (code == 0 && record_next(&rest, &field)) {
		if (field.tag == ACCOUNT_OLD_KEY)
			code = principal_add_key(
			    context, &entry->keys, field.value);
	}
	return code;
}

static krb5_error_code
principal_add_old(krb5_context context, const struct principal_keys *keys,
    const struct keyset *current, hdb_entry *entry)
{
	HDB_extension extension = { .mandatory = 0 };
	HDB_Ext_KeySet *old = &extension.data.u.hist_keys;
	krb5_error_code code = 0;

	extension.data.element = choice_HDB_extension_data_hist_keys;
	for (size_t i = keys->count; i-- > 0 && code == 0;) {
		const struct keyset *set = &keys->sets[i];
		KerberosTime time = (time_t)(set->time_us / TIMESTAMP_SECOND);
		hdb_keyset one = { .kvno = set->kvno, .set_time = &time };

		/* Of two sets of one version the newer has it. */
		if (set->kvno == current->kvno ||
		    keyset_of_kvno(keys->sets, keys->count, set->kvno) != set)
			continue;
		code = principal_add_set(context, &one.keys, set);
		if (code == 0)
			code = add_HDB_Ext_KeySet(old, &one);
		free_Keys(&one.keys);
	}
	if (code == 0 && old->len > 0)
		code = hdb_replace_extension(context, entry, &extension);
	free_HDB_extension(&extension);
	return code;
}

static krb5_error_code
principal_fill_keys(krb5_context context, const struct account *account,
    const struct principal_wish *wish, hdb_entry *entry)
{
	struct principal_keys keys;
	const struct keyset *set;
	krb5_error_code code;

	principal_keys(account, &keys);
	if (keys.count == 0) {
		code = principal_add_legacy(context, account, entry);
		if (code == 0 && wish->kvno != 0 && wish->kvno != entry->kvno)
			code = HDB_ERR_KVNO_NOT_FOUND;
		return code;
	}
	set = wish->kvno == 0
		  ? keyset_newest(keys.sets, keys.count)
		  : keyset_of_kvno(keys.sets, keys.count, wish->kvno);
	if (!set)
		return HDB_ERR_KVNO_NOT_FOUND;
	entry->kvno = set->kvno;
	code = principal_add_set(context, &entry->keys, set);
	if (code == 0 && wish->old_keys)
		code = principal_add_old(context, &keys, set, entry);
	if (code == 0)
		code = hdb_entry_set_pw_change_time(
		    context, entry, (time_t)(set->time_us / TIMESTAMP_SECOND));
	return code;
}

/* 0 for what is absent or malformed. */
static KerberosTime
principal_time(const struct account *account, uint8_t tag)
{
	int64_t moment_us;

	if (timestamp_parse(principal_value(account, tag), &moment_us) != 0)
		return 0;
	return (time_t)(moment_us / TIMESTAMP_SECOND);
}

static krb5_error_code
principal_fill_time(
    const struct account *account, uint8_t tag, KerberosTime **out)
{
	KerberosTime time = principal_time(account, tag);

	if (time == 0)
		return 0;
	*out = malloc(sizeof(**out));
	if (!*out)
		return ENOMEM;
	**out = time;
	return 0;
}

/* At most `bound`, which also holds where the entry says nothing. */
static krb5_error_code
principal_fill_life(
    const struct account *account, uint8_t tag, int bound, unsigned int **out)
{
	uint64_t number = (uint64_t)bound;

	(void)slice_to_uint(principal_value(account, tag), UINT32_MAX, &number);
	*out = malloc(sizeof(**out));
	if (!*out)
		return ENOMEM;
	**out = (unsigned int)number;
	return 0;
}

static void
principal_fill_flags(const struct account *account,
    const struct principal_wish *wish, hdb_entry *entry)
{
	bool person = principal_is_person(account);
	uint64_t number;

	entry->flags = (HDBFlags){ .forwardable = 1,
		.proxiable = 1,
		.renewable = 1,
		.client = 1,
		.server = 1,
		.require_preauth = 1 };
	if (slice_to_uint(principal_value(account, ACCOUNT_KDC_FLAGS),
		UINT32_MAX, &number) == 0)
		entry->flags = int2HDBFlags((unsigned)number);
	/* Tickets for a person could be opened with the password. */
	if (person)
		entry->flags.server = 0;
	if (!principal_may_act(account, wish->now_us))
		entry->flags.locked_out = 1;
}

/* Constrained delegation, PKINIT's names and the like. */
static krb5_error_code
principal_fill_extensions(
    krb5_context context, const struct account *account, hdb_entry *entry)
{
	struct slice rest = account->record;
	struct record_field field;
	krb5_error_code code = 0;

	while (code == 0 && record_next(&rest, &field)) {
		HDB_extension extension;
		size_t size;

		if (field.tag != ACCOUNT_EXTENSION ||
		    decode_HDB_extension((const void *)field.value.data,
			field.value.size, &extension, &size) != 0)
			continue;
		if (extension.data.element !=
		    choice_HDB_extension_data_hist_keys)
			code =
			    hdb_replace_extension(context, entry, &extension);
		free_HDB_extension(&extension);
	}
	return code;
}

krb5_error_code
principal_fill(krb5_context context, const struct options *options,
    const struct account *account, const struct principal_wish *wish,
    hdb_entry *entry)
{
	krb5_error_code code =
	    wish->name
		? krb5_copy_principal(context, wish->name, &entry->principal)
		: lookup_spell(
		      context, account, options->realm, &entry->principal);

	entry->created_by.time = principal_time(account, ACCOUNT_CREATED);
	principal_fill_flags(account, wish, entry);
	if (code == 0)
		code = principal_fill_keys(context, account, wish, entry);
	if (code == 0)
		code = principal_fill_extensions(context, account, entry);
	if (code == 0)
		code = principal_fill_time(
		    account, ACCOUNT_VALID_START, &entry->valid_start);
	if (code == 0)
		code = principal_fill_time(
		    account, ACCOUNT_VALID_END, &entry->valid_end);
	if (code == 0)
		code = principal_fill_time(
		    account, ACCOUNT_PASSWORD_END, &entry->pw_end);
	if (code == 0)
		code = principal_fill_life(account, ACCOUNT_MAX_LIFE,
		    options->ticket_life, &entry->max_life);
	if (code == 0)
		code = principal_fill_life(account, ACCOUNT_MAX_RENEW,
		    options->renew_life, &entry->max_renew);
	return code;
}

static void
principal_drop_key(Keys *keys, unsigned at)
{
	free_Key(&keys->val[at]);
	keys->len--;
	memmove(&keys->val[at], &keys->val[at + 1],
	    (keys->len - at) * sizeof(keys->val[0]));
}

static krb5_error_code
principal_unseal_keys(krb5_context context, HDB *db, struct opened *opened,
    Keys *keys, size_t *damaged)
{
	for (unsigned i = 0; i < keys->len;) {
		krb5_error_code code = HDB_ERR_NO_MKEY;

		/* libhdb takes a sealed key for a plain one without it. */
		if (!keys->val[i].mkvno || db->hdb_master_key_set)
			code =
			    opened_unseal(opened, context, db, &keys->val[i]);
		if (code != 0 && (!damaged || code == HDB_ERR_NO_MKEY))
			return code;
		if (code == 0) {
			i++;
			continue;
		}
		principal_drop_key(keys, i);
		(*damaged)++;
	}
	return 0;
}

krb5_error_code
principal_unseal(krb5_context context, HDB *db, struct opened *opened,
    hdb_entry *entry, size_t *damaged)
{
	HDB_extension *old =
	    hdb_find_extension(entry, choice_HDB_extension_data_hist_keys);
	krb5_error_code code =
	    principal_unseal_keys(context, db, opened, &entry->keys, damaged);

	for (size_t i = 0; old && i < old->data.u.hist_keys.len && code == 0;
	     i++)
		code = principal_unseal_keys(context, db, opened,
		    &old->data.u.hist_keys.val[i].keys, damaged);
	return code;
}

krb5_error_code
principal_refuse(krb5_context context, hdb_entry *entry)
{
	entry->flags.locked_out = 1;
	entry->flags.require_preauth = 0;
	for (size_t i = 0; i < entry->keys.len; i++) {
		Key *key = &entry->keys.val[i];
		krb5_keyblock other;
		krb5_error_code code = krb5_generate_random_keyblock(
		    context, key->key.keytype, &other);

		if (code != 0)
			return code;
		krb5_free_keyblock_contents(context, &key->key);
		key->key = other;
		free(key->mkvno);
		key->mkvno = NULL;
	}
	return 0;
}
