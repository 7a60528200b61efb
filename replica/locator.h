/*
 * locator: keeps the file of the realm's servers for Kerberos clients of this
 * host, postcell_locate(5), on replicad's event loop.
 *
 * It is written anew, in one step, when the map has changed, when a transition
 * comes to pass, and when a name got other addresses; as long as the replica
 * was never filled what lies there stays.
 */
#ifndef REPLICA_LOCATOR_H
#define REPLICA_LOCATOR_H

#include "daemon/settings.h"
#include "replica/status.h"
#include "replica/store.h"

struct event_base;
struct locator;

/* All borrowed. */
struct locator_options {
	const char *file, *realm;
	const struct setting_list *dns_servers; /* empty: the system's */
};

/* NULL with *why (static text). The store tells it of changes from then on. */
struct locator *locator_new(struct event_base *base,
    const struct locator_options *options, struct store *store,
    const struct status *status, const char **why);
void locator_free(struct locator **locator);

#endif
