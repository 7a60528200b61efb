/*
 * lookup: asks DNS for the addresses of hosts whose service URLs name them,
 * and asks again at intervals.
 *
 * By c-ares on the event loop; never blocks. A failure leaves what was known.
 */
#ifndef DAEMON_LOOKUP_H
#define DAEMON_LOOKUP_H

#include <event2/event.h>

#include "daemon/addresses.h"
#include "daemon/settings.h"

struct lookup;

/*
 * servers: ADDRESS or ADDRESS:PORT each; empty: the system's. `addresses` is
 * borrowed; `changed` is called from the loop when one of its names got its
 * first answer, or other addresses. NULL with *why (static text).
 */
struct lookup *lookup_new(struct event_base *base,
    const struct setting_list *servers, long interval,
    struct addresses *addresses, void (*changed)(void *context), void *context,
    const char **why);
void lookup_free(struct lookup **lookup);

/* From now on this name is looked up. */
void lookup_want(struct lookup *lookup, const char *name);

#endif
