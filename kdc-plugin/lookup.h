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

#include <krb5.h>

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

/* A principal as directories have it. */
struct lookup_name {
	char *text;       /* owned: unparsed, as in krb5PrincipalName */
	struct slice uid; /* of an account that has no krb5PrincipalName; empty:
			     it can be none's. Borrowed from the principal */
};

/* 0, or a Kerberos error. lookup_name_free() in both cases. */
krb5_error_code lookup_name_make(krb5_context context,
    krb5_const_principal principal, const char *realm,
    struct lookup_name *name);
void lookup_name_free(struct lookup_name *name);

/*
 * Finds the account whose principal that is: by krb5PrincipalName, or by uid
 * where the account has no krb5PrincipalName. Letters must be as the account
 * spells them, unless fold. Two accounts that both have a claim are ambiguous.
 * *why as replica_find().
 */
enum replica_result lookup_principal(struct replica *replica,
    const struct lookup_name *name, bool fold, struct lookup *lookup,
    const char **why);

/* The account's principal in its one spelling; krb5_free_principal(). */
krb5_error_code lookup_spell(krb5_context context,
    const struct account *account, const char *realm,
    krb5_principal *principal);

#endif
