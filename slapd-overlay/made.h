/*
 * made: what a password becomes in its entry: a value of postcellKeys, and the
 * text of userPassword that can be checked by itself, for ppolicy's history.
 */
#ifndef SLAPD_OVERLAY_MADE_H
#define SLAPD_OVERLAY_MADE_H

#include "slapd-overlay/overlay.h"

#include "lib/buf.h"
#include "lib/keyset.h"

/* Owned; made_free() takes one that is all zero as well. */
struct made {
	struct buf keys;     /* the value of postcellKeys */
	struct buf password; /* the value of userPassword */
};

/*
 * Makes both for the entry, which has these sets, sorted. `change` says what
 * else is to be done. 0; or -1 with *why (static text). The derivation takes
 * its time: no lock of others' should be held.
 */
int made_make(struct made *made, Operation *op, Entry *entry,
    const struct keyset *sets, size_t count, struct slice password,
    struct keyset_change *change, const char **why);
/* The text alone, of keys that somebody brings. 0 or -1. */
int made_text(struct made *made, const struct keyset *set);
void made_free(struct made *made);

/* Modifications that bring the keys and delete so many of the first sets. */
void made_append_keys(Modifications **mods, Entry *entry,
    const struct made *made, const struct keyset *sets, size_t superseded);
/* The text takes the place of all that stands in userPassword, by value. */
void made_append_text(
    Modifications **mods, Entry *entry, const struct made *made);
/*
 * Where passwords end, by krb5PasswordEnd, a new one lives anew. To the day, so
 * that two providers that change it at one moment say the same.
 */
void made_append_end(Modifications **mods, Operation *op, Entry *entry);
/* Only the deletions of that. */
void made_append_deletions(Modifications **mods, Entry *entry);

#endif
