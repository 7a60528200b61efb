/*
 * opened: keys that the master key opened a while ago.
 *
 * Opening a key costs as much as the rest of a look-up together, and the same
 * few are asked for again and again. A key is known by all of its sealed
 * octets, so one that was changed is another one. Whoever could read this
 * memory could read the master key beside it. One thread.
 */
#ifndef KDC_PLUGIN_OPENED_H
#define KDC_PLUGIN_OPENED_H

#include "kdc-plugin/compat.h"

struct opened;

/* NULL without memory. */
struct opened *opened_new(void);
/* Overwrites what it held. */
void opened_free(struct opened **opened);

/*
 * As hdb_unseal_key(), with the master key that this memory always had before.
 * opened: NULL where nothing is to be remembered.
 */
krb5_error_code opened_unseal(
    struct opened *opened, krb5_context context, HDB *db, Key *key);

#endif
