/*
 * decider: carries out what decide.h says, on replicad's event loop.
 *
 * It looks at the map right after each change of it and at intervals, and
 * writes postcellTransition over a connection of its own, with an identity
 * that may write nothing else. It acts only while the replica is in step with
 * a provider: an old map decides nothing.
 *
 * All deciders of a cell write to the first provider in the configured order
 * that answers, and all but the first of them leave it some time to write. So
 * it is rare that two of them write at once, and does no harm: values are only
 * added, and deleted by name, which multi-provider replication settles the
 * same way everywhere, while replaced values stay apart for good.
 */
#ifndef REPLICA_DECIDER_H
#define REPLICA_DECIDER_H

#include "replica/connection.h"
#include "replica/decide.h"
#include "replica/status.h"
#include "replica/store.h"

struct event_base;
struct decider;

/* All borrowed. */
struct decider_options {
	struct connection_options connection; /* its url is not used */
	const char *const *urls;              /* providers in order */
	size_t url_count;
	struct decide_settings settings;
	const char *on_move; /* program to run after a decision; empty: none */
};

/*
 * NULL without memory. The store tells it of changes from then on; status is
 * read for whether the replica is in step.
 */
struct decider *decider_new(struct event_base *base,
    const struct decider_options *options, struct store *store,
    const struct status *status);
void decider_free(struct decider **decider);

#endif
