#include "proxy/principal_owner.h"

/* Of what is written as `\n` and the like; else the letter itself. */
static char
meaning(char c)
{
	static const char letters[] = "ntb0", meanings[] = "\n\t\b\0";

	for (size_t i = 0; i < sizeof(letters) - 1; i++)
		if (letters[i] == c)
			return meanings[i];
	return c;
}

int
principal_owner_uid(struct slice principal, const char *realm, struct buf *uid)
{
	size_t i = 0;

	buf_clear(uid);
	while (i < principal.size && principal.data[i] != '@') {
		char c = principal.data[i++];

		if (c == '/' || (c == '\\' && i == principal.size))
			return -1;
		if (c == '\\')
			c = meaning(principal.data[i++]);
		if (c == '\0' || buf_add_char(uid, c) < 0)
			return -1;
	}
	if (uid->size == 0 || i == principal.size)
		return -1;
	return slice_is(slice_from_offset(principal, i + 1), realm) ? 0 : -1;
}

/* An account that has no principal of its own. */
static enum replica_result
find_by_uid(struct replica *replica, struct slice uid, bool fold,
    struct buf *store, struct account *account, const char **why)
{
	enum replica_result result =
	    replica_find(replica, NAME_UID, uid, store, account, why);

	if (result != REPLICA_FOUND)
		return result;
	if (account->principal.size == 0 &&
	    (fold || slice_equal(account->uid, uid)))
		return REPLICA_FOUND;
	*why = "no account has that principal, letter by letter";
	return REPLICA_UNKNOWN;
}

/* Somebody else's uid must not be taken over by a principal. */
static enum replica_result
refuse_another(struct replica *replica, struct slice uid, size_t store_size,
    const char **why)
{
	struct buf store = buf_bounded(store_size);
	struct account account;
	const char *other_why = "";
	enum replica_result result =
	    find_by_uid(replica, uid, true, &store, &account, &other_why);

	buf_free(&store);
	if (result == REPLICA_UNKNOWN)
		return REPLICA_FOUND;
	*why = result == REPLICA_FOUND
		   ? "it is the principal of one account and the uid of another"
		   : other_why;
	return result == REPLICA_FOUND ? REPLICA_AMBIGUOUS : result;
}

enum replica_result
principal_owner_find(struct replica *replica, struct slice principal,
    const char *realm, struct buf *store, struct account *account,
    const char **why)
{
	struct buf uid = buf_bounded(NAME_SIZE_MAX);
	enum replica_result result = replica_find(
	    replica, NAME_PRINCIPAL, principal, store, account, why);
	bool is_uid = realm && principal_owner_uid(principal, realm, &uid) == 0;

	if (is_uid && result == REPLICA_UNKNOWN)
		result = find_by_uid(
		    replica, buf_slice(&uid), false, store, account, why);
	else if (is_uid && result == REPLICA_FOUND)
		result = refuse_another(
		    replica, buf_slice(&uid), store->size_max, why);
	buf_free(&uid);
	return result;
}
