/*
 * realm: the servers of a Kerberos realm, as the map of the cell has them, in
 * the form that postcell_locate(5) reads (kdc-plugin/nearest.h).
 *
 *   kdc EXAMPLE.ORG 192.0.2.7 88 kdc1 south up
 *
 * A line for each address of each service `kerberos` and `kpasswd`, whatever
 * the host is else. Who is not up by the last transition that has passed, else
 * by the wish, is `down`, drained ones too. Words that cannot stand in a line
 * are "-". Pure.
 */
#ifndef REPLICA_REALM_H
#define REPLICA_REALM_H

#include <stdint.h>

#include "daemon/addresses.h"
#include "lib/buf.h"
#include "lib/cell.h"

#define REALM_FILE_MAX ((size_t)64 << 10)

/* The hosts of such services that are names; `name` lives for the call. */
typedef void realm_name(void *context, const char *name);
void realm_names(const struct cell *cell, realm_name *each, void *context);

/*
 * Adds the lines; hosts whose names have no address yet are left out.
 * *next_us: the first moment after now_us at which a transition makes another
 * text of it, INT64_MAX for never. 0, or -1 when the buffer is too small.
 */
int realm_format(struct buf *out, struct slice realm, const struct cell *cell,
    const struct addresses *addresses, int64_t now_us, int64_t *next_us);

#endif
