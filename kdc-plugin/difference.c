#include "kdc-plugin/difference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kdc-plugin/fault.h"
#include "lib/keyset.h"
#include "lib/timestamp.h"
#include "replica/clock.h"

#define DIFFERENCE_TEXT_MAX ((size_t)64 << 10)

/* Attributes of one value, of Heimdal's own schema. */
enum difference_attribute {
	DIFFERENCE_FLAGS,
	DIFFERENCE_VALID_START,
	DIFFERENCE_VALID_END,
	DIFFERENCE_PASSWORD_END,
	DIFFERENCE_MAX_LIFE,
	DIFFERENCE_MAX_RENEW,
	DIFFERENCE_ATTRIBUTES
};

static const char *const difference_names[] = {
	[DIFFERENCE_FLAGS] = "krb5KDCFlags",
	[DIFFERENCE_VALID_START] = "krb5ValidStart",
	[DIFFERENCE_VALID_END] = "krb5ValidEnd",
	[DIFFERENCE_PASSWORD_END] = "krb5PasswordEnd",
	[DIFFERENCE_MAX_LIFE] = "krb5MaxLife",
	[DIFFERENCE_MAX_RENEW] = "krb5MaxRenew",
};

static void
difference_time(struct buf *out, const KerberosTime *time)
{
	struct tm parts;
	char text[32];

	if (time && gmtime_r(time, &parts) &&
	    strftime(text, sizeof(text), "%Y%m%d%H%M%SZ", &parts) > 0)
		(void)buf_add_string(out, text);
}

static void
difference_number(struct buf *out, const unsigned int *number)
{
	if (number)
		(void)buf_printf(out, "%u", *number);
}

/* The text of an attribute; nothing where the entry has none. */
static void
difference_text(struct buf *out, const hdb_entry *entry,
    enum difference_attribute attribute)
{
	HDBFlags flags = entry->flags;

	/* It stands in postcellLocked. */
	flags.locked_out = 0;
	switch (attribute) {
	case DIFFERENCE_FLAGS:
		(void)buf_printf(out, "%u", HDBFlags2int(flags));
		break;
	case DIFFERENCE_VALID_START:
		difference_time(out, entry->valid_start);
		break;
	case DIFFERENCE_VALID_END:
		difference_time(out, entry->valid_end);
		break;
	case DIFFERENCE_PASSWORD_END:
		difference_time(out, entry->pw_end);
		break;
	case DIFFERENCE_MAX_LIFE:
		difference_number(out, entry->max_life);
		break;
	case DIFFERENCE_MAX_RENEW:
		difference_number(out, entry->max_renew);
		break;
	case DIFFERENCE_ATTRIBUTES:
		break;
	}
}

static bool
difference_same_text(
    const hdb_entry *a, const hdb_entry *b, enum difference_attribute attribute)
{
	struct buf first = buf_bounded(64), second = buf_bounded(64);
	bool same;

	difference_text(&first, a, attribute);
	difference_text(&second, b, attribute);
	same = slice_equal(buf_slice(&first), buf_slice(&second));
	buf_free(&first);
	buf_free(&second);
	return same;
}

static krb5_error_code
difference_of_texts(krb5_context context,
    const struct difference_states *states, struct changes *changes)
{
	for (unsigned i = 0; i < DIFFERENCE_ATTRIBUTES; i++) {
		enum difference_attribute each = (enum difference_attribute)i;
		struct buf text = buf_bounded(64);

		if (difference_same_text(states->base, states->wanted, each) ||
		    difference_same_text(states->current, states->wanted, each))
			continue;
		if (!difference_same_text(states->base, states->current, each))
			return fault_say(context, EAGAIN,
			    "another change came between: try again");
		difference_text(&text, states->wanted, each);
		changes_set(changes, difference_names[i], buf_slice(&text));
		buf_free(&text);
	}
	return 0;
}

static bool
difference_keeps_extension(const HDB_extension *extension)
{
	unsigned element = extension->data.element;

	/* The first two lie in postcellKeys, and passwords nowhere. */
	return element != choice_HDB_extension_data_hist_keys &&
	       element != choice_HDB_extension_data_last_pw_change &&
	       element != choice_HDB_extension_data_password;
}

/* The DER of each extension that is kept, one after the other. */
static void
difference_extensions(
    const hdb_entry *entry, struct changes *changes, struct buf *all)
{
	for (unsigned i = 0; entry->extensions && i < entry->extensions->len;
	     i++) {
		const HDB_extension *each = &entry->extensions->val[i];
		unsigned char *der = NULL;
		size_t length = 0, size = 0;
		int code = 0;

		if (!difference_keeps_extension(each))
			continue;
		ASN1_MALLOC_ENCODE(
		    HDB_extension, der, length, each, &size, code);
		if (code != 0)
			continue;
		(void)buf_add(all, der, size);
		if (changes)
			changes_add(changes, "krb5ExtendedAttributes",
			    slice_of(der, size));
		free(der);
	}
}

static krb5_error_code
difference_of_extensions(krb5_context context,
    const struct difference_states *states, struct changes *changes)
{
	struct buf base = buf_bounded(DIFFERENCE_TEXT_MAX);
	struct buf wanted = buf_bounded(DIFFERENCE_TEXT_MAX);
	struct buf current = buf_bounded(DIFFERENCE_TEXT_MAX);
	krb5_error_code code = 0;

	difference_extensions(states->base, NULL, &base);
	difference_extensions(states->wanted, NULL, &wanted);
	difference_extensions(states->current, NULL, &current);
	if (!slice_equal(buf_slice(&base), buf_slice(&wanted)) &&
	    !slice_equal(buf_slice(&current), buf_slice(&wanted))) {
		if (!slice_equal(buf_slice(&base), buf_slice(&current)))
			code = fault_say(context, EAGAIN,
			    "another change came between: try again");
		/* The attribute has no rule of equality: whole or not. */
		changes_set(changes, "krb5ExtendedAttributes", slice_from(""));
		buf_clear(&wanted);
		difference_extensions(states->wanted, changes, &wanted);
	}
	buf_free(&base);
	buf_free(&wanted);
	buf_free(&current);
	return code;
}

static bool
difference_same_salt(const Salt *a, const Salt *b)
{
	if (!a || !b)
		return a == b;
	return a->type == b->type &&
	       slice_equal(slice_of(a->salt.data, a->salt.length),
		   slice_of(b->salt.data, b->salt.length));
}

/* Whether two keys are one, however they were sealed. */
static bool
difference_same_key(krb5_context context, HDB *db, const Key *a, const Key *b)
{
	Key first = { 0 }, second = { 0 };
	bool same = false;

	if (a->key.keytype != b->key.keytype ||
	    !difference_same_salt(a->salt, b->salt))
		return false;
	/* One that is damaged opens nowhere. */
	if (!a->mkvno == !b->mkvno &&
	    slice_equal_secret(
		slice_of(a->key.keyvalue.data, a->key.keyvalue.length),
		slice_of(b->key.keyvalue.data, b->key.keyvalue.length)))
		return true;
	if (copy_Key(a, &first) == 0 && copy_Key(b, &second) == 0 &&
	    hdb_unseal_key(context, db, &first) == 0 &&
	    hdb_unseal_key(context, db, &second) == 0)
		same = slice_equal_secret(slice_of(first.key.keyvalue.data,
					      first.key.keyvalue.length),
		    slice_of(
			second.key.keyvalue.data, second.key.keyvalue.length));
	free_Key(&first);
	free_Key(&second);
	return same;
}

static bool
difference_same_keys(
    krb5_context context, HDB *db, const Keys *a, const Keys *b)
{
	if (a->len != b->len)
		return false;
	for (unsigned i = 0; i < a->len; i++)
		if (!difference_same_key(context, db, &a->val[i], &b->val[i]))
			return false;
	return true;
}

/* The DER of a key, sealed: some of kadm5's ways leave that to the back end. */
static krb5_error_code
difference_encode_key(
    krb5_context context, HDB *db, const Key *key, struct buf *out)
{
	unsigned char *der = NULL;
	size_t length = 0, size = 0;
	Key sealed = { 0 };
	int code = copy_Key(key, &sealed);

	if (code == 0 && !sealed.mkvno)
		code = db->hdb_master_key_set
			   ? hdb_seal_key(context, db, &sealed)
			   : fault_say(context, HDB_ERR_NO_MKEY,
				 "there is no master key to seal keys with");
	if (code == 0)
		ASN1_MALLOC_ENCODE(Key, der, length, &sealed, &size, code);
	if (code == 0)
		(void)buf_add(out, der, size);
	free(der);
	free_Key(&sealed);
	return code;
}

static krb5_error_code
difference_encode_keys(krb5_context context, HDB *db, const Keys *keys,
    struct buf out[KEYSET_KEYS_MAX], size_t *count)
{
	krb5_error_code code = 0;

	*count = 0;
	for (unsigned i = 0;
	     i < keys->len && *count < KEYSET_KEYS_MAX && code == 0; i++) {
		out[*count] = buf_bounded(KEYSET_KEY_MAX);
		code = difference_encode_key(
		    context, db, &keys->val[i], &out[*count]);
		(*count)++;
	}
	return code;
}

static krb5_error_code
difference_of_keys(krb5_context context, HDB *db, const struct options *options,
    const struct difference_states *states, const struct account *account,
    struct changes *changes)
{
	struct buf keys[KEYSET_KEYS_MAX] = { 0 };
	int64_t keep_s = options->renew_life;
	krb5_error_code code;
	const char *why;
	size_t count = 0;

	if (states->wanted->keys.len == 0 ||
	    difference_same_keys(
		context, db, &states->base->keys, &states->wanted->keys) ||
	    difference_same_keys(
		context, db, &states->current->keys, &states->wanted->keys))
		return 0;
	if (keep_s < options->ticket_life)
		keep_s = options->ticket_life;
	code = difference_encode_keys(
	    context, db, &states->wanted->keys, keys, &count);
	if (code == 0 &&
	    changes_keys(changes, account, keys, count, clock_realtime_us(),
		keep_s * TIMESTAMP_SECOND, &why) != 0)
		code = fault_say(context, ERANGE, why);
	for (size_t i = 0; i < count; i++)
		buf_wipe(&keys[i]);
	return code;
}

krb5_error_code
difference_make(krb5_context context, HDB *db, const struct options *options,
    const struct difference_states *states, const struct account *account,
    struct changes *changes)
{
	krb5_error_code code = difference_of_texts(context, states, changes);

	if (code == 0)
		code = difference_of_extensions(context, states, changes);
	if (code == 0)
		code = difference_of_keys(
		    context, db, options, states, account, changes);
	return code;
}
