#include "kdc-plugin/write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <kadm5/kadm5_err.h>

#include "kdc-plugin/changes.h"
#include "kdc-plugin/lookup.h"
#include "kdc-plugin/principal.h"
#include "lib/password.h"
#include "lib/record.h"
#include "lib/timestamp.h"
#include "replica/clock.h"
#include "replica/layout.h"

#define WRITE_TRIES      5
#define WRITE_DN_MAX     ((size_t)4096)
#define WRITE_FILTER_MAX ((size_t)4096)
#define WRITE_FOUND_MAX  8
#define WRITE_TEXT_MAX   ((size_t)64 << 10)

/* An entry as it was read. */
struct write_view {
	struct lookup found;
	bool has_login;
};

struct write {
	const struct options *options; /* borrowed */
	struct directory *directory;   /* borrowed */
	struct write_view base; /* what the next store is compared with */
	struct buf base_name;   /* empty: nothing was read */
};

struct write *
write_new(const struct options *options, struct directory *directory)
{
	struct write *write = calloc(1, sizeof(*write));

	if (write)
		*write = (struct write){ .options = options,
			.directory = directory,
			.base.found = lookup_empty(),
			.base_name = buf_bounded(2 * NAME_SIZE_MAX + 1) };
	return write;
}

void
write_free(struct write **write)
{
	if (*write) {
		lookup_free(&(*write)->base.found);
		buf_free(&(*write)->base_name);
	}
	free(*write);
	*write = NULL;
}

void
write_forget(struct write *write)
{
	buf_clear(&write->base_name);
}

static krb5_error_code
write_fail(krb5_context context, krb5_error_code code, const char *why)
{
	krb5_set_error_message(context, code, "%s", why);
	return code;
}

static krb5_error_code
write_fail_ldap(struct write *write, krb5_context context, int result)
{
	const char *why = directory_why(write->directory);

	if (result == LDAP_ALREADY_EXISTS)
		return write_fail(context, HDB_ERR_EXISTS, why);
	if (result == LDAP_CONSTRAINT_VIOLATION)
		return write_fail(context, KADM5_PASS_Q_DICT, why);
	if (result == LDAP_INSUFFICIENT_ACCESS)
		return write_fail(context, EACCES, why);
	return write_fail(context, EIO, why);
}

/* Who could have that principal; exactness is looked at afterwards. */
static int
write_filter(const struct lookup_name *name, struct buf *out)
{
	(void)buf_add_string(out, "(|(krb5PrincipalName=");
	(void)name_escape_filter(out, slice_from(name->text));
	(void)buf_add_char(out, ')');
	if (name->uid.size > 0) {
		(void)buf_add_string(out, "(uid=");
		(void)name_escape_filter(out, name->uid);
		(void)buf_add_char(out, ')');
	}
	return buf_add_char(out, ')');
}

static int
write_take(struct write *write, LDAPMessage *message, struct write_view *view,
    const char **why)
{
	buf_clear(&view->found.store);
	if (directory_record(write->directory, message, &view->found.store,
		&view->has_login, why) != 0)
		return -1;
	return account_read(
	    &view->found.account, buf_slice(&view->found.store), why);
}

static bool
write_is_named(const struct write_view *view, const struct lookup_name *name)
{
	const struct account *account = &view->found.account;

	return account->principal.size > 0
		   ? slice_is(account->principal, name->text)
		   : name->uid.size > 0 && slice_equal(account->uid, name->uid);
}

/* The one entry of an answer that has the name. */
static krb5_error_code
write_choose(struct write *write, krb5_context context, LDAPMessage *answer,
    const struct lookup_name *name, struct write_view *view)
{
	LDAP *ldap = directory_ldap(write->directory);
	LDAPMessage *chosen = NULL;
	const char *why = "";

	for (LDAPMessage *message = ldap_first_entry(ldap, answer); message;
	     message = ldap_next_entry(ldap, message)) {
		if (write_take(write, message, view, &why) != 0 ||
		    !write_is_named(view, name))
			continue;
		if (chosen)
			return write_fail(context, HDB_ERR_NO_WRITE_SUPPORT,
			    "several entries have that principal");
		chosen = message;
	}
	if (!chosen)
		return HDB_ERR_NOENTRY;
	if (write_take(write, chosen, view, &why) != 0)
		return write_fail(context, EIO, why);
	return 0;
}

static krb5_error_code
write_find(struct write *write, krb5_context context,
    const struct lookup_name *name, struct write_view *view)
{
	struct buf filter = buf_bounded(WRITE_FILTER_MAX);
	LDAPMessage *answer = NULL;
	krb5_error_code code = HDB_ERR_NOENTRY;
	int result;

	if (write_filter(name, &filter) == 0) {
		result = directory_search(write->directory,
		    write->options->suffix, LDAP_SCOPE_SUBTREE,
		    buf_string(&filter), directory_attributes(write->directory),
		    WRITE_FOUND_MAX, &answer);
		if (result == LDAP_SUCCESS)
			code = write_choose(write, context, answer, name, view);
		else
			code = write_fail_ldap(write, context, result);
	}
	ldap_msgfree(answer);
	buf_free(&filter);
	return code;
}

/* As kadm5 sees it. */
static krb5_error_code
write_present(struct write *write, krb5_context context,
    const struct account *account, bool old_keys, hdb_entry *entry)
{
	struct principal_wish wish = { .old_keys = old_keys,
		.now_us = clock_realtime_us() };

	return principal_fill(context, write->options, account, &wish, entry);
}

krb5_error_code
write_fetch(struct write *write, krb5_context context,
    const struct lookup_name *name, bool old_keys, hdb_entry *entry)
{
	struct write_view again = { .found = lookup_empty() };
	struct write_view *view = &again;
	krb5_error_code code;

	/* The first reading counts: a second one, for the same store, may hold
	 * changes that the first did not see. */
	if (!slice_is(buf_slice(&write->base_name), name->text)) {
		write_forget(write);
		view = &write->base;
	}
	code = write_find(write, context, name, view);
	if (code == 0)
		code = write_present(
		    write, context, &view->found.account, old_keys, entry);
	if (code == 0 && view == &write->base)
		(void)buf_add_string(&write->base_name, name->text);
	lookup_free(&again.found);
	return code;
}

/* Attributes of one value, of Heimdal's own schema. */
enum write_attribute {
	WRITE_FLAGS,
	WRITE_VALID_START,
	WRITE_VALID_END,
	WRITE_PASSWORD_END,
	WRITE_MAX_LIFE,
	WRITE_MAX_RENEW,
	WRITE_ATTRIBUTES
};

static const char *const write_names[] = {
	[WRITE_FLAGS] = "krb5KDCFlags",
	[WRITE_VALID_START] = "krb5ValidStart",
	[WRITE_VALID_END] = "krb5ValidEnd",
	[WRITE_PASSWORD_END] = "krb5PasswordEnd",
	[WRITE_MAX_LIFE] = "krb5MaxLife",
	[WRITE_MAX_RENEW] = "krb5MaxRenew",
};

static void
write_time(struct buf *out, const KerberosTime *time)
{
	struct tm parts;
	char text[32];

	if (time && gmtime_r(time, &parts) &&
	    strftime(text, sizeof(text), "%Y%m%d%H%M%SZ", &parts) > 0)
		(void)buf_add_string(out, text);
}

static void
write_number(struct buf *out, const unsigned int *number)
{
	if (number)
		(void)buf_printf(out, "%u", *number);
}

/* The text of an attribute; nothing where the entry has none. */
static void
write_text(
    struct buf *out, const hdb_entry *entry, enum write_attribute attribute)
{
	HDBFlags flags = entry->flags;

	/* It stands in postcellLocked. */
	flags.locked_out = 0;
	switch (attribute) {
	case WRITE_FLAGS:
		(void)buf_printf(out, "%u", HDBFlags2int(flags));
		break;
	case WRITE_VALID_START:
		write_time(out, entry->valid_start);
		break;
	case WRITE_VALID_END:
		write_time(out, entry->valid_end);
		break;
	case WRITE_PASSWORD_END:
		write_time(out, entry->pw_end);
		break;
	case WRITE_MAX_LIFE:
		write_number(out, entry->max_life);
		break;
	case WRITE_MAX_RENEW:
		write_number(out, entry->max_renew);
		break;
	case WRITE_ATTRIBUTES:
		break;
	}
}

static bool
write_same_text(
    const hdb_entry *a, const hdb_entry *b, enum write_attribute attribute)
{
	struct buf first = buf_bounded(64), second = buf_bounded(64);
	bool same;

	write_text(&first, a, attribute);
	write_text(&second, b, attribute);
	same = slice_equal(buf_slice(&first), buf_slice(&second));
	buf_free(&first);
	buf_free(&second);
	return same;
}

/* Three states of one entry. */
struct write_states {
	const hdb_entry *base;    /* as it was read */
	const hdb_entry *wanted;  /* as it shall be */
	const hdb_entry *current; /* as it is now */
};

static krb5_error_code
write_diff_texts(krb5_context context, const struct write_states *states,
    struct changes *changes)
{
	for (unsigned i = 0; i < WRITE_ATTRIBUTES; i++) {
		enum write_attribute each = (enum write_attribute)i;
		struct buf text = buf_bounded(64);

		if (write_same_text(states->base, states->wanted, each) ||
		    write_same_text(states->current, states->wanted, each))
			continue;
		if (!write_same_text(states->base, states->current, each))
			return write_fail(context, EAGAIN,
			    "another change came between: try again");
		write_text(&text, states->wanted, each);
		changes_set(changes, write_names[i], buf_slice(&text));
		buf_free(&text);
	}
	return 0;
}

static bool
write_keeps_extension(const HDB_extension *extension)
{
	unsigned element = extension->data.element;

	/* The first two lie in postcellKeys, and passwords nowhere. */
	return element != choice_HDB_extension_data_hist_keys &&
	       element != choice_HDB_extension_data_last_pw_change &&
	       element != choice_HDB_extension_data_password;
}

/* The DER of each extension that is kept, one after the other. */
static void
write_extensions(
    const hdb_entry *entry, struct changes *changes, struct buf *all)
{
	for (unsigned i = 0; entry->extensions && i < entry->extensions->len;
	     i++) {
		const HDB_extension *each = &entry->extensions->val[i];
		unsigned char *der = NULL;
		size_t length = 0, size = 0;
		int code = 0;

		if (!write_keeps_extension(each))
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
write_diff_extensions(krb5_context context, const struct write_states *states,
    struct changes *changes)
{
	struct buf base = buf_bounded(WRITE_TEXT_MAX);
	struct buf wanted = buf_bounded(WRITE_TEXT_MAX);
	struct buf current = buf_bounded(WRITE_TEXT_MAX);
	krb5_error_code code = 0;

	write_extensions(states->base, NULL, &base);
	write_extensions(states->wanted, NULL, &wanted);
	write_extensions(states->current, NULL, &current);
	if (!slice_equal(buf_slice(&base), buf_slice(&wanted)) &&
	    !slice_equal(buf_slice(&current), buf_slice(&wanted))) {
		if (!slice_equal(buf_slice(&base), buf_slice(&current)))
			code = write_fail(context, EAGAIN,
			    "another change came between: try again");
		/* The attribute has no rule of equality: whole or not. */
		changes_set(changes, "krb5ExtendedAttributes", slice_from(""));
		buf_clear(&wanted);
		write_extensions(states->wanted, changes, &wanted);
	}
	buf_free(&base);
	buf_free(&wanted);
	buf_free(&current);
	return code;
}

static bool
write_same_salt(const Salt *a, const Salt *b)
{
	if (!a || !b)
		return a == b;
	return a->type == b->type &&
	       slice_equal(slice_of(a->salt.data, a->salt.length),
		   slice_of(b->salt.data, b->salt.length));
}

/* Whether two keys are one, however they were sealed. */
static bool
write_same_key(krb5_context context, HDB *db, const Key *a, const Key *b)
{
	Key first = { 0 }, second = { 0 };
	bool same = false;

	if (a->key.keytype != b->key.keytype ||
	    !write_same_salt(a->salt, b->salt))
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
write_same_keys(krb5_context context, HDB *db, const Keys *a, const Keys *b)
{
	if (a->len != b->len)
		return false;
	for (unsigned i = 0; i < a->len; i++)
		if (!write_same_key(context, db, &a->val[i], &b->val[i]))
			return false;
	return true;
}

/* The DER of a key, sealed: some of kadm5's ways leave that to the back end. */
static krb5_error_code
write_encode_key(krb5_context context, HDB *db, const Key *key, struct buf *out)
{
	unsigned char *der = NULL;
	size_t length = 0, size = 0;
	Key sealed = { 0 };
	int code = copy_Key(key, &sealed);

	if (code == 0 && !sealed.mkvno)
		code = db->hdb_master_key_set
			   ? hdb_seal_key(context, db, &sealed)
			   : write_fail(context, HDB_ERR_NO_MKEY,
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
write_encode_keys(krb5_context context, HDB *db, const Keys *keys,
    struct buf out[KEYSET_KEYS_MAX], size_t *count)
{
	krb5_error_code code = 0;

	*count = 0;
	for (unsigned i = 0;
	     i < keys->len && *count < KEYSET_KEYS_MAX && code == 0; i++) {
		out[*count] = buf_bounded(KEYSET_KEY_MAX);
		code =
		    write_encode_key(context, db, &keys->val[i], &out[*count]);
		(*count)++;
	}
	return code;
}

static krb5_error_code
write_diff_keys(struct write *write, krb5_context context, HDB *db,
    const struct write_states *states, const struct account *account,
    struct changes *changes)
{
	struct buf keys[KEYSET_KEYS_MAX] = { 0 };
	int64_t keep_s = write->options->renew_life;
	krb5_error_code code;
	const char *why;
	size_t count = 0;

	if (states->wanted->keys.len == 0 ||
	    write_same_keys(
		context, db, &states->base->keys, &states->wanted->keys) ||
	    write_same_keys(
		context, db, &states->current->keys, &states->wanted->keys))
		return 0;
	if (keep_s < write->options->ticket_life)
		keep_s = write->options->ticket_life;
	code =
	    write_encode_keys(context, db, &states->wanted->keys, keys, &count);
	if (code == 0 &&
	    changes_keys(changes, account, keys, count, clock_realtime_us(),
		keep_s * TIMESTAMP_SECOND, &why) != 0)
		code = write_fail(context, ERANGE, why);
	for (size_t i = 0; i < count; i++)
		buf_wipe(&keys[i]);
	return code;
}

static krb5_error_code
write_diff(struct write *write, krb5_context context, HDB *db,
    const struct write_states *states, const struct write_view *current,
    struct changes *changes)
{
	const struct account *account = &current->found.account;
	krb5_error_code code = write_diff_texts(context, states, changes);

	if (code == 0)
		code = write_diff_extensions(context, states, changes);
	if (code == 0)
		code = write_diff_keys(
		    write, context, db, states, account, changes);
	if (code == 0 && !changes_is_empty(changes) && !current->has_login)
		changes_add(
		    changes, "objectClass", slice_from("postcellLogin"));
	return code;
}

/* One try: EBUSY when the entry was changed since it was read. */
static krb5_error_code
write_modify(struct write *write, krb5_context context,
    const struct write_view *current, struct changes *changes)
{
	struct buf assertion = buf_bounded(256);
	struct buf dn = buf_bounded(WRITE_DN_MAX);
	LDAPMod **list = changes_list(changes);
	int result = LDAP_NO_MEMORY;

	(void)buf_add_string(&assertion, "(entryCSN=");
	(void)name_escape_filter(&assertion, current->found.account.csn);
	(void)buf_add_char(&assertion, ')');
	(void)buf_add_slice(&dn, current->found.account.dn);
	if (list && !dn.failed && !assertion.failed)
		result = directory_modify(write->directory, buf_string(&dn),
		    list, buf_string(&assertion));
	buf_free(&assertion);
	buf_free(&dn);
	if (result == LDAP_ASSERTION_FAILED)
		return EBUSY;
	return result == LDAP_SUCCESS ? 0
				      : write_fail_ldap(write, context, result);
}

static krb5_error_code
write_try(struct write *write, krb5_context context, HDB *db,
    const hdb_entry *base, const hdb_entry *wanted,
    const struct write_view *current)
{
	hdb_entry now = { 0 };
	struct write_states states = { base, wanted, &now };
	struct changes *changes = changes_new();
	krb5_error_code code = changes ? 0 : krb5_enomem(context);

	if (code == 0)
		code = write_present(
		    write, context, &current->found.account, false, &now);
	if (code == 0)
		code =
		    write_diff(write, context, db, &states, current, changes);
	if (code == 0 && !changes_is_empty(changes))
		code = write_modify(write, context, current, changes);
	changes_free(&changes);
	free_hdb_entry(&now);
	return code;
}

static krb5_error_code
write_replace(struct write *write, krb5_context context, HDB *db,
    const struct lookup_name *name, const hdb_entry *wanted)
{
	struct write_view current = { .found = lookup_empty() };
	hdb_entry base = { 0 };
	krb5_error_code code = write_present(
	    write, context, &write->base.found.account, false, &base);

	if (code == 0)
		code =
		    write_try(write, context, db, &base, wanted, &write->base);
	for (int i = 1; i < WRITE_TRIES && code == EBUSY; i++) {
		code = write_find(write, context, name, &current);
		if (code == 0)
			code = write_try(
			    write, context, db, &base, wanted, &current);
	}
	if (code == EBUSY)
		code = write_fail(context, EBUSY,
		    "the entry changes all the time: try again");
	lookup_free(&current.found);
	free_hdb_entry(&base);
	write_forget(write);
	return code;
}

/* The attributes of a new principal, as a difference from one without any. */
static krb5_error_code
write_describe(struct write *write, krb5_context context, HDB *db,
    const struct lookup_name *name, const hdb_entry *wanted,
    struct changes *changes)
{
	struct write_view blank = { .found = lookup_empty(),
		.has_login = true };
	hdb_entry base = { 0 };
	struct write_states states = { &base, wanted, &base };
	krb5_error_code code = EINVAL;
	const char *why = "";

	(void)record_add(
	    &blank.found.store, ACCOUNT_PRINCIPAL, slice_from(name->text));
	if (account_read(
		&blank.found.account, buf_slice(&blank.found.store), &why) == 0)
		code = write_present(
		    write, context, &blank.found.account, false, &base);
	changes_add(changes, "objectClass", slice_from("postcellPrincipal"));
	changes_add(changes, "objectClass", slice_from("postcellLogin"));
	changes_add(changes, "krb5PrincipalName", slice_from(name->text));
	if (code == 0)
		code = write_diff(write, context, db, &states, &blank, changes);
	free_hdb_entry(&base);
	lookup_free(&blank.found);
	return code;
}

static krb5_error_code
write_create(struct write *write, krb5_context context, HDB *db,
    const struct lookup_name *name, const hdb_entry *wanted)
{
	struct buf dn = buf_bounded(WRITE_DN_MAX);
	struct changes *changes = changes_new();
	krb5_error_code code = changes ? 0 : krb5_enomem(context);
	LDAPMod **list;
	int result = LDAP_NO_MEMORY;

	(void)buf_add_string(&dn, "krb5PrincipalName=");
	(void)name_escape_dn(&dn, slice_from(name->text));
	(void)buf_printf(&dn, ",%s", write->options->principals);
	if (code == 0)
		code =
		    write_describe(write, context, db, name, wanted, changes);
	if (code == 0) {
		list = changes_entry(changes);
		if (list && !dn.failed)
			result = directory_add(
			    write->directory, buf_string(&dn), list);
		if (result != LDAP_SUCCESS)
			code = write_fail_ldap(write, context, result);
	}
	changes_free(&changes);
	buf_free(&dn);
	return code;
}

static krb5_error_code
write_store_as(struct write *write, krb5_context context, HDB *db,
    const struct lookup_name *name, bool replace, bool precheck,
    const hdb_entry *wanted)
{
	krb5_error_code code = 0;

	if (!slice_is(buf_slice(&write->base_name), name->text)) {
		write_forget(write);
		code = write_find(write, context, name, &write->base);
		if (code == 0)
			(void)buf_add_string(&write->base_name, name->text);
	}
	if (code == 0 && !replace)
		return write_fail(
		    context, HDB_ERR_EXISTS, "there is an entry of that name");
	if (code == HDB_ERR_NOENTRY && !replace)
		return precheck
			   ? 0
			   : write_create(write, context, db, name, wanted);
	if (code != 0 || precheck)
		return code;
	return write_replace(write, context, db, name, wanted);
}

krb5_error_code
write_store(struct write *write, krb5_context context, HDB *db, bool replace,
    bool precheck, const hdb_entry *entry)
{
	struct lookup_name name;
	krb5_error_code code = lookup_name_make(
	    context, entry->principal, write->options->realm, &name);

	if (code == 0)
		code = write_store_as(
		    write, context, db, &name, replace, precheck, entry);
	lookup_name_free(&name);
	return code;
}

krb5_error_code
write_remove(struct write *write, krb5_context context,
    const struct lookup_name *name, bool precheck)
{
	struct write_view view = { .found = lookup_empty() };
	struct buf dn = buf_bounded(WRITE_DN_MAX);
	krb5_error_code code = write_find(write, context, name, &view);
	int result;

	if (code == 0 && principal_is_person(&view.found.account))
		code = write_fail(context, EPERM,
		    "it is an account: delete that in the directory");
	if (code == 0 && !precheck) {
		(void)buf_add_slice(&dn, view.found.account.dn);
		result =
		    directory_delete(write->directory, buf_string(&dn), NULL);
		if (result != LDAP_SUCCESS)
			code = write_fail_ldap(write, context, result);
		write_forget(write);
	}
	buf_free(&dn);
	lookup_free(&view.found);
	return code;
}

static void
write_free_keys(Key *keys, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		explicit_bzero(
		    keys[i].key.keyvalue.data, keys[i].key.keyvalue.length);
		free_Key(&keys[i]);
	}
	free(keys);
}

static void
write_replace_keys(hdb_entry *entry, Key *keys, size_t count)
{
	write_free_keys(entry->keys.val, entry->keys.len);
	entry->keys.val = keys;
	entry->keys.len = (unsigned)count;
}

/* The directory makes the keys; they are read again. */
static krb5_error_code
write_password_there(struct write *write, krb5_context context,
    const struct lookup_name *name, struct slice password, hdb_entry *entry)
{
	struct buf dn = buf_bounded(WRITE_DN_MAX);
	hdb_entry after = { 0 };
	krb5_error_code code = 0;
	int result;

	(void)buf_add_slice(&dn, write->base.found.account.dn);
	result =
	    directory_set_password(write->directory, buf_string(&dn), password);
	buf_free(&dn);
	if (result != LDAP_SUCCESS)
		return write_fail_ldap(write, context, result);
	write_forget(write);
	code = write_fetch(write, context, name, false, &after);
	if (code == 0) {
		write_replace_keys(entry, after.keys.val, after.keys.len);
		entry->kvno = after.kvno;
		after.keys = (Keys){ 0 };
	}
	free_hdb_entry(&after);
	return code;
}

static krb5_error_code
write_password_here(
    krb5_context context, struct slice password, hdb_entry *entry)
{
	Key *keys = NULL;
	size_t count = 0;
	krb5_error_code code = hdb_generate_key_set_password(
	    context, entry->principal, password.data, &keys, &count);

	if (code == 0)
		write_replace_keys(entry, keys, count);
	return code;
}

krb5_error_code
write_password(struct write *write, krb5_context context, HDB *db,
    struct slice password, hdb_entry *entry)
{
	const char *fault = password_fault(password, PASSWORD_SIZE_MAX);
	struct lookup_name name;
	krb5_error_code code;

	(void)db;
	if (fault)
		return write_fail(context, KADM5_PASS_Q_DICT, fault);
	code = lookup_name_make(
	    context, entry->principal, write->options->realm, &name);
	if (code == 0 && !slice_is(buf_slice(&write->base_name), name.text))
		code = HDB_ERR_NOENTRY;
	if (code == 0 && write->options->modify_passwords &&
	    principal_is_person(&write->base.found.account))
		code = write_password_there(
		    write, context, &name, password, entry);
	else if (code == 0)
		code = write_password_here(context, password, entry);
	lookup_name_free(&name);
	return code;
}

krb5_error_code
write_list(struct write *write, krb5_context context, LDAPMessage **answer)
{
	int result = directory_search(write->directory, write->options->suffix,
	    LDAP_SCOPE_SUBTREE,
	    "(|(objectClass=postcellPrincipal)(postcellKeys=*)(krb5Key=*))",
	    directory_attributes(write->directory), LDAP_NO_LIMIT, answer);

	return result == LDAP_SUCCESS ? 0
				      : write_fail_ldap(write, context, result);
}

krb5_error_code
write_read(struct write *write, krb5_context context, LDAPMessage *message,
    hdb_entry *entry)
{
	struct write_view view = { .found = lookup_empty() };
	krb5_error_code code = HDB_ERR_NOENTRY;
	const char *why;

	if (write_take(write, message, &view, &why) == 0)
		code = write_present(
		    write, context, &view.found.account, false, entry);
	lookup_free(&view.found);
	return code;
}
