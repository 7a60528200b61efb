/*
 * watch: a second connection to the provider, which reads its contextCSN at
 * intervals. A provider whose answer stays out is silent, which a connection
 * that only waits for changes would never notice.
 */
#ifndef REPLICA_WATCH_H
#define REPLICA_WATCH_H

#include <stdbool.h>

#include "replica/connection.h"
#include "replica/csn.h"

#define WATCH_INTERVAL_MS 500
#define WATCH_SILENCE_MS  1000

struct watch_events {
	/* What the provider holds now. */
	void (*vector)(void *context, const struct csn_vector *vector);
	/* An answer is late. True when the provider was heard elsewhere. */
	bool (*is_heard)(void *context);
	/* It is over; the watch may be freed here. */
	void (*ended)(void *context, const char *why);
};

struct watch;

/* NULL without memory. suffix and options are borrowed. */
struct watch *watch_new(struct event_base *base, struct evdns_base *dns,
    const struct connection_options *options, const char *suffix,
    const struct watch_events *events, void *context);
void watch_free(struct watch **watch);

#endif
