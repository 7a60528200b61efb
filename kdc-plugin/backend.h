/*
 * backend: the database of a KDC, made of the replica and the directory.
 *
 * What the KDC asks for comes from the local replica, which answers while the
 * directory does not. Where the replica has nothing to say, the KDC stays
 * silent, and its clients ask the next one: it never says "unknown" for want of
 * data. What an administrator reads and writes (kadmin, kpasswdd) is the
 * directory's.
 */
#ifndef KDC_PLUGIN_BACKEND_H
#define KDC_PLUGIN_BACKEND_H

#include "kdc-plugin/compat.h"

/* The `create` of an HDB method. */
krb5_error_code backend_create(
    krb5_context context, HDB **db, const char *residual);

#endif
