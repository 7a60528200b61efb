/*
 * difference: what an administrator changed of an entry, as a modify of the
 * directory.
 */
#ifndef KDC_PLUGIN_DIFFERENCE_H
#define KDC_PLUGIN_DIFFERENCE_H

#include "kdc-plugin/changes.h"
#include "kdc-plugin/compat.h"
#include "kdc-plugin/options.h"
#include "lib/account.h"

/* Three states of one entry. */
struct difference_states {
	const hdb_entry *base;    /* as it was read */
	const hdb_entry *wanted;  /* as it shall be */
	const hdb_entry *current; /* as it is now */
};

/*
 * Adds what leads from `current`, whose record is `account`, to what was
 * wanted, and touches nothing else. 0; EAGAIN when somebody else has changed
 * the same, or another Kerberos error, with its text set.
 */
krb5_error_code difference_make(krb5_context context, HDB *db,
    const struct options *options, const struct difference_states *states,
    const struct account *account, struct changes *changes);

#endif
