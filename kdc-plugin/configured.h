/*
 * configured: the servers that [realms] of krb5.conf names by address, in the
 * form of nearest.h. Those that it names by name are libkrb5's to find.
 */
#ifndef KDC_PLUGIN_CONFIGURED_H
#define KDC_PLUGIN_CONFIGURED_H

#include <krb5.h>

#include "lib/buf.h"

/* Adds a line for each `kdc` and `kpasswd_server` of every realm. */
void configured_servers(krb5_context context, struct buf *out);

#endif
