#include "kdc-plugin/lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replica/layout.h"

/*
 * The process's own: Heimdal hands the functions of windc plugins nothing that
 * could hold it, and see the header.
 */
static struct {
	struct replica *replica;
	char *path;
	pid_t pid;
} open_replica;

void
lookup_close(void)
{
	/* What a parent opened is the parent's, mapping, locks and all. */
	if (open_replica.pid == getpid())
		replica_free(&open_replica.replica);
	free(open_replica.path);
	open_replica.replica = NULL;
	open_replica.path = NULL;
}

struct replica *
lookup_replica(const char *path, const char **why)
{
	if (open_replica.replica && open_replica.pid == getpid() &&
	    strcmp(open_replica.path, path) == 0)
		return open_replica.replica;
	lookup_close();
	open_replica.path = strdup(path);
	open_replica.pid = getpid();
	*why = "out of memory";
	if (open_replica.path)
		(void)replica_open(&open_replica.replica, path, why);
	return open_replica.replica;
}

struct lookup
lookup_empty(void)
{
	return (struct lookup){ .store = buf_bounded(LAYOUT_RECORD_MAX) };
}

void
lookup_free(struct lookup *lookup)
{
	buf_wipe(&lookup->store);
}

krb5_error_code
lookup_spell(krb5_context context, const struct account *account,
    const char *realm, krb5_principal *principal)
{
	bool own = account->principal.size > 0;
	struct slice name = own ? account->principal : account->uid;
	struct buf text = buf_bounded(NAME_SIZE_MAX);
	krb5_error_code code = ENOMEM;

	/* A uid is one component, whatever it holds. */
	if (buf_add_slice(&text, name) == 0)
		code =
		    own ? krb5_parse_name(context, buf_string(&text), principal)
			: krb5_make_principal(context, principal, realm,
			      buf_string(&text), NULL);
	buf_free(&text);
	return code;
}

krb5_error_code
lookup_name_make(krb5_context context, krb5_const_principal principal,
    const char *realm, struct lookup_name *name)
{
	*name = (struct lookup_name){ NULL, slice_from("") };
	if (krb5_principal_get_num_comp(context, principal) == 1 &&
	    strcmp(krb5_principal_get_realm(context, principal), realm) == 0)
		name->uid = slice_from(
		    krb5_principal_get_comp_string(context, principal, 0));
	return krb5_unparse_name(context, principal, &name->text);
}

void
lookup_name_free(struct lookup_name *name)
{
	krb5_xfree(name->text);
	name->text = NULL;
}

/* By uid, an account that has no principal of its own. */
static enum replica_result
lookup_by_uid(struct replica *replica, struct slice uid, bool fold,
    struct lookup *lookup, const char **why)
{
	enum replica_result result = replica_find(
	    replica, NAME_UID, uid, &lookup->store, &lookup->account, why);

	if (result != REPLICA_FOUND)
		return result;
	if (lookup->account.principal.size == 0 &&
	    (fold || slice_equal(lookup->account.uid, uid)))
		return REPLICA_FOUND;
	*why = "no entry has that principal, letter by letter";
	return REPLICA_UNKNOWN;
}

enum replica_result
lookup_principal(struct replica *replica, const struct lookup_name *name,
    bool fold, struct lookup *lookup, const char **why)
{
	struct lookup other = lookup_empty();
	const char *other_why = "";
	enum replica_result result, by_uid = REPLICA_UNKNOWN;

	result = replica_find(replica, NAME_PRINCIPAL, slice_from(name->text),
	    &lookup->store, &lookup->account, why);
	if (name->uid.size == 0 ||
	    (result != REPLICA_FOUND && result != REPLICA_UNKNOWN))
		return result;
	if (result == REPLICA_UNKNOWN)
		return lookup_by_uid(replica, name->uid, fold, lookup, why);
	/* Somebody else's uid must not be taken over by a principal. */
	by_uid = lookup_by_uid(replica, name->uid, true, &other, &other_why);
	lookup_free(&other);
	if (by_uid == REPLICA_UNKNOWN)
		return REPLICA_FOUND;
	*why = by_uid == REPLICA_FOUND || by_uid == REPLICA_AMBIGUOUS
		   ? "it is the principal of one entry and the uid of another"
		   : other_why;
	return by_uid == REPLICA_FOUND ? REPLICA_AMBIGUOUS : by_uid;
}
