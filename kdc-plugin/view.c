#include "kdc-plugin/view.h"

#include <errno.h>

#include "kdc-plugin/compat.h"
#include "kdc-plugin/fault.h"
#include "lib/name.h"

#define VIEW_FILTER_MAX ((size_t)4096)
#define VIEW_FOUND_MAX  8

/* Who could have that principal; exactness is looked at afterwards. */
static int
view_filter(const struct lookup_name *name, struct buf *out)
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

int
view_take(struct view *view, struct directory *directory, LDAPMessage *message,
    const char **why)
{
	buf_clear(&view->found.store);
	if (directory_record(directory, message, &view->found.store,
		&view->has_login, why) != 0)
		return -1;
	return account_read(
	    &view->found.account, buf_slice(&view->found.store), why);
}

static bool
view_is_named(const struct view *view, const struct lookup_name *name)
{
	const struct account *account = &view->found.account;

	return account->principal.size > 0
		   ? slice_is(account->principal, name->text)
		   : name->uid.size > 0 && slice_equal(account->uid, name->uid);
}

/* The one entry of an answer that has the name. */
static krb5_error_code
view_choose(struct view *view, krb5_context context,
    struct directory *directory, LDAPMessage *answer,
    const struct lookup_name *name)
{
	LDAP *ldap = directory_ldap(directory);
	LDAPMessage *chosen = NULL;
	const char *why = "";

	for (LDAPMessage *message = ldap_first_entry(ldap, answer); message;
	     message = ldap_next_entry(ldap, message)) {
		if (view_take(view, directory, message, &why) != 0 ||
		    !view_is_named(view, name))
			continue;
		if (chosen)
			return fault_say(context, HDB_ERR_NO_WRITE_SUPPORT,
			    "several entries have that principal");
		chosen = message;
	}
	if (!chosen)
		return HDB_ERR_NOENTRY;
	if (view_take(view, directory, chosen, &why) != 0)
		return fault_say(context, EIO, why);
	return 0;
}

krb5_error_code
view_find(struct view *view, krb5_context context, struct directory *directory,
    const char *suffix, const struct lookup_name *name)
{
	struct buf filter = buf_bounded(VIEW_FILTER_MAX);
	LDAPMessage *answer = NULL;
	krb5_error_code code = HDB_ERR_NOENTRY;
	int result;

	if (view_filter(name, &filter) == 0) {
		result = directory_search(directory, suffix, LDAP_SCOPE_SUBTREE,
		    buf_string(&filter), directory_attributes(directory),
		    VIEW_FOUND_MAX, &answer);
		if (result == LDAP_SUCCESS)
			code =
			    view_choose(view, context, directory, answer, name);
		else
			code = fault_of_ldap(context, directory, result);
	}
	ldap_msgfree(answer);
	buf_free(&filter);
	return code;
}
