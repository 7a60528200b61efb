/*
 * lookup: principals of the local replica.
 *
 * A process may open an LMDB environment once, and not carry it over a fork,
 * while Heimdal makes several handles of one database in a process (kpasswdd)
 * and forks its workers after the first was made. So the open replica belongs
 * to the process, and handles share it.
 *
 * One thread at a time, as libhdb has it.
 */
#ifndef KDC_PLUGIN_LOOKUP_H
#define KDC_PLUGIN_LOOKUP_H

#include <stdbool.h>

#include "lib/account.h"
#include "lib/buf.h"
#include "replica/reader.h"

/*
 * The process's replica at that path, opened when it is not; NULL with *why
 * when there is none to be had now. Borrowed, until the next call with another
 * path or after a fork.
 */
struct replica *lookup_replica(const char *path, const char **why);
/* Closes it, before a fork. */
void lookup_close(void);

/* What a name led to. */
struct lookup {
	struct buf store;       /* owned */
	struct account account; /* borrows from store */
};

struct lookup lookup_empty(void);
void lookup_free(struct lookup *lookup);

/*
 * Finds the account whose principal is `name`, NAME@REALM without escapes: by
 * krb5PrincipalName, or in `realm` by uid where the account has no
 * krb5PrincipalName. Letters must be as the account spells them, unless fold.
 * Two accounts that both have a claim are ambiguous. *why as replica_find().
 */
enum replica_result lookup_principal(struct replica *replica, struct slice name,
    struct slice realm, bool fold, struct lookup *lookup, const char **why);

/*
 * Adds the account's principal in its one spelling; 0, or -1 when it does not
 * fit.
 */
int lookup_spell(
    const struct account *account, struct slice realm, struct buf *out);

#endif
