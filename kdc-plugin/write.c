#include "kdc-plugin/write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kadm5/kadm5_err.h>

#include "kdc-plugin/changes.h"
#include "kdc-plugin/difference.h"
#include "kdc-plugin/fault.h"
#include "kdc-plugin/lookup.h"
#include "kdc-plugin/principal.h"
#include "kdc-plugin/reuse.h"
#include "kdc-plugin/view.h"
#include "lib/password.h"
#include "lib/record.h"
#include "lib/timestamp.h"
#include "replica/clock.h"
#include "replica/layout.h"

#define WRITE_TRIES  5
#define WRITE_DN_MAX ((size_t)4096)

struct write {
	const struct options *options; /* borrowed */
	struct directory *directory;   /* borrowed */
	struct view base;     /* what the next store is compared with */
	struct buf base_name; /* empty: nothing was read */
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
	struct view again = { .found = lookup_empty() };
	struct view *view = &again;
	krb5_error_code code;

	/* The first reading counts: a second one, for the same store, may hold
	 * changes that the first did not see. */
	if (!slice_is(buf_slice(&write->base_name), name->text)) {
		write_forget(write);
		view = &write->base;
	}
	code = view_find(
	    view, context, write->directory, write->options->suffix, name);
	if (code == 0)
		code = write_present(
		    write, context, &view->found.account, old_keys, entry);
	if (code == 0 && view == &write->base)
		(void)buf_add_string(&write->base_name, name->text);
	lookup_free(&again.found);
	return code;
}

/* One try: EBUSY when the entry was changed since it was read. */
static krb5_error_code
write_modify(struct write *write, krb5_context context,
    const struct view *current, struct changes *changes)
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
	return result == LDAP_SUCCESS
		   ? 0
		   : fault_of_ldap(context, write->directory, result);
}

static krb5_error_code
write_try(struct write *write, krb5_context context, HDB *db,
    const hdb_entry *base, const hdb_entry *wanted, const struct view *current)
{
	hdb_entry now = { 0 };
	struct difference_states states = { base, wanted, &now };
	struct changes *changes = changes_new();
	krb5_error_code code = changes ? 0 : krb5_enomem(context);

	if (code == 0)
		code = write_present(
		    write, context, &current->found.account, false, &now);
	if (code == 0)
		code = difference_make(context, db, write->options, &states,
		    &current->found.account, changes);
	if (code == 0 && !changes_is_empty(changes) && !current->has_login)
		changes_add(
		    changes, "objectClass", slice_from("postcellLogin"));
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
	struct view current = { .found = lookup_empty() };
	hdb_entry base = { 0 };
	krb5_error_code code = write_present(
	    write, context, &write->base.found.account, false, &base);

	if (code == 0)
		code =
		    write_try(write, context, db, &base, wanted, &write->base);
	for (int i = 1; i < WRITE_TRIES && code == EBUSY; i++) {
		code = view_find(&current, context, write->directory,
		    write->options->suffix, name);
		if (code == 0)
			code = write_try(
			    write, context, db, &base, wanted, &current);
	}
	if (code == EBUSY)
		code = fault_say(context, EBUSY,
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
	struct view blank = { .found = lookup_empty() };
	hdb_entry base = { 0 };
	struct difference_states states = { &base, wanted, &base };
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
		code = difference_make(context, db, write->options, &states,
		    &blank.found.account, changes);
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
			code = fault_of_ldap(context, write->directory, result);
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
		code = view_find(&write->base, context, write->directory,
		    write->options->suffix, name);
		if (code == 0)
			(void)buf_add_string(&write->base_name, name->text);
	}
	if (code == 0 && !replace)
		return fault_say(
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
	struct view view = { .found = lookup_empty() };
	struct buf dn = buf_bounded(WRITE_DN_MAX);
	krb5_error_code code = view_find(
	    &view, context, write->directory, write->options->suffix, name);
	int result;

	if (code == 0 && principal_is_person(&view.found.account))
		code = fault_say(context, EPERM,
		    "it is an account: delete that in the directory");
	if (code == 0 && !precheck) {
		(void)buf_add_slice(&dn, view.found.account.dn);
		result =
		    directory_delete(write->directory, buf_string(&dn), NULL);
		if (result != LDAP_SUCCESS)
			code = fault_of_ldap(context, write->directory, result);
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
		return fault_of_ldap(context, write->directory, result);
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

static krb5_error_code
write_password_as(struct write *write, krb5_context context,
    const struct lookup_name *name, struct slice password, hdb_entry *entry)
{
	return write->options->modify_passwords &&
		       principal_is_person(&write->base.found.account)
		   ? write_password_there(write, context, name, password, entry)
		   : write_password_here(context, password, entry);
}

krb5_error_code
write_password(struct write *write, krb5_context context, HDB *db,
    struct slice password, bool conditional, hdb_entry *entry)
{
	const char *fault = password_fault(password, PASSWORD_SIZE_MAX);
	const struct account *account = &write->base.found.account;
	enum reuse reuse = REUSE_NONE;
	struct lookup_name name;
	krb5_error_code code;

	if (fault)
		return fault_say(context, KADM5_PASS_Q_DICT, fault);
	code = lookup_name_make(
	    context, entry->principal, write->options->realm, &name);
	if (code == 0 && !slice_is(buf_slice(&write->base_name), name.text))
		code = HDB_ERR_NOENTRY;
	if (code == 0 && conditional)
		reuse = reuse_find(context, db, entry->principal, account,
		    password, clock_realtime_us());
	if (reuse == REUSE_AGAIN)
		code = fault_say(context, KADM5_PASS_REUSE,
		    "the account has or had that password");
	else if (code == 0 && reuse == REUSE_NONE)
		code =
		    write_password_as(write, context, &name, password, entry);
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

	return result == LDAP_SUCCESS
		   ? 0
		   : fault_of_ldap(context, write->directory, result);
}

krb5_error_code
write_read(struct write *write, krb5_context context, LDAPMessage *message,
    hdb_entry *entry)
{
	struct view view = { .found = lookup_empty() };
	krb5_error_code code = HDB_ERR_NOENTRY;
	const char *why;

	if (view_take(&view, write->directory, message, &why) == 0)
		code = write_present(
		    write, context, &view.found.account, false, entry);
	lookup_free(&view.found);
	return code;
}
