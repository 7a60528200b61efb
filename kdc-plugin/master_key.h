/*
 * master_key: says at start what would otherwise be found out by the first
 * client.
 *
 * libhdb takes a missing master key for none being wanted.
 */
#ifndef KDC_PLUGIN_MASTER_KEY_H
#define KDC_PLUGIN_MASTER_KEY_H

#include <stdbool.h>

#include "kdc-plugin/compat.h"
#include "kdc-plugin/options.h"

/*
 * Reads the master key that is configured for the database `postcell:`, where
 * there is one, and opens the realm's keys with it, as far as the replica has
 * them; *opens: it did. 0, or a Kerberos error with its text set. Leaves no
 * replica open: workers are forked afterwards, and each opens it for itself.
 */
krb5_error_code master_key_check(
    krb5_context context, const struct options *options, bool *opens);

#endif
