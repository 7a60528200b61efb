/*
 * courier: takes what logins have to tell to the directory, so that none waits
 * for it.
 *
 * A process of its own, made when there is first something to tell, which ends
 * when the process that made it does. Messages go out without waiting, and are
 * told again until a server has answered: when the directory is silent for so
 * long that the socket is full, further ones are dropped. A lock still holds on
 * this host then, for the shared table counts on.
 */
#ifndef KDC_PLUGIN_COURIER_H
#define KDC_PLUGIN_COURIER_H

#include <stdint.h>

#include "kdc-plugin/options.h"
#include "kdc-plugin/report.h"
#include "lib/slice.h"

struct courier;

/* NULL without memory. Borrows both. */
struct courier *courier_new(
    const struct options *options, const struct report *report);
void courier_free(struct courier **courier);

/*
 * The account used up its failures: adds `TIME locked UNTIL`, UNTIL lock_s from
 * now, 0 for ever, unless it is locked already. 0; or -1 with *why when it
 * could not be told.
 */
int courier_lock(struct courier *courier, struct slice dn, int64_t now_us,
    int lock_s, const char **why);
/* A good login: sets postcellLastLogin to the day. */
int courier_login(
    struct courier *courier, struct slice dn, int64_t now_us, const char **why);

#endif
