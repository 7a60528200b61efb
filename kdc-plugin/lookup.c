#include "kdc-plugin/lookup.h"

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

int
lookup_spell(const struct account *account, struct slice realm, struct buf *out)
{
	if (account->principal.size > 0)
		return buf_add_slice(out, account->principal);
	(void)buf_add_slice(out, account->uid);
	(void)buf_add_char(out, '@');
	return buf_add_slice(out, realm);
}

/* The part before @REALM; empty when it can be no account's uid there. */
static struct slice
lookup_uid(struct slice name, struct slice realm)
{
	size_t at = slice_find_last(name, '@');

	if (at == SIZE_MAX ||
	    !slice_equal(slice_from_offset(name, at + 1), realm) ||
	    slice_find(slice_first(name, at), '/') != SIZE_MAX ||
	    slice_find(name, '\\') != SIZE_MAX)
		return slice_from("");
	return slice_first(name, at);
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
lookup_principal(struct replica *replica, struct slice name, struct slice realm,
    bool fold, struct lookup *lookup, const char **why)
{
	struct slice uid = lookup_uid(name, realm);
	struct lookup other = lookup_empty();
	const char *other_why = "";
	enum replica_result result, by_uid = REPLICA_UNKNOWN;

	result = replica_find(replica, NAME_PRINCIPAL, name, &lookup->store,
	    &lookup->account, why);
	if (uid.size == 0 ||
	    (result != REPLICA_FOUND && result != REPLICA_UNKNOWN))
		return result;
	if (result == REPLICA_UNKNOWN)
		return lookup_by_uid(replica, uid, fold, lookup, why);
	/* Somebody else's uid must not be taken over by a principal. */
	by_uid = lookup_by_uid(replica, uid, true, &other, &other_why);
	lookup_free(&other);
	if (by_uid == REPLICA_UNKNOWN)
		return REPLICA_FOUND;
	*why = by_uid == REPLICA_FOUND || by_uid == REPLICA_AMBIGUOUS
		   ? "it is the principal of one entry and the uid of another"
		   : other_why;
	return by_uid == REPLICA_FOUND ? REPLICA_AMBIGUOUS : by_uid;
}
