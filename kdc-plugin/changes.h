/*
 * changes: one modify of an entry of the directory, put together piece by
 * piece.
 *
 * Errors stick; changes_list() is NULL then.
 */
#ifndef KDC_PLUGIN_CHANGES_H
#define KDC_PLUGIN_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

#include <ldap.h>

#include "lib/account.h"
#include "lib/slice.h"

struct changes;

/* NULL without memory. */
struct changes *changes_new(void);
void changes_free(struct changes **changes);

/* Attributes are static text; values are copied. */
void changes_add(
    struct changes *changes, const char *attribute, struct slice value);
void changes_drop(
    struct changes *changes, const char *attribute, struct slice value);
/* The attribute's only value; empty: it has none. */
void changes_set(
    struct changes *changes, const char *attribute, struct slice value);

/*
 * A new value of postcellLocked, by the rules of lib/locked.h. until_us:
 * INT64_MAX for ever.
 */
void changes_lock(struct changes *changes, const struct account *account,
    bool locked, int64_t now_us, int64_t until_us);

/*
 * A new value of postcellKeys, by the rules of lib/keyset.h, of keys as DER.
 * 0, or -1 with *why.
 */
int changes_keys(struct changes *changes, const struct account *account,
    const struct buf *keys, size_t key_count, int64_t now_us, int64_t keep_us,
    const char **why);

bool changes_is_empty(const struct changes *changes);
/* For libldap; borrowed. NULL when something did not fit. */
LDAPMod **changes_list(struct changes *changes);
/* The same for a new entry. */
LDAPMod **changes_entry(struct changes *changes);

#endif
