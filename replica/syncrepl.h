/*
 * syncrepl: one session of RFC 4533 refreshAndPersist with one provider.
 *
 * A session looks before it asks: it reads the provider's contextCSN, and one
 * entry to see whether entryCSN is shown. A provider that is behind of what
 * we have seen gets some time to catch up, unless we come without a cookie.
 * Then it searches, hands what comes to intake, and follows until it ends.
 *
 * It ends in `ended`, which comes from the loop and in which it may be freed.
 */
#ifndef REPLICA_SYNCREPL_H
#define REPLICA_SYNCREPL_H

#include <stdbool.h>

#include "replica/connection.h"
#include "replica/intake.h"

enum syncrepl_end {
	SYNCREPL_LOST,    /* the connection, or the server */
	SYNCREPL_REFUSED, /* it cannot go on from our cookie, or is behind */
	SYNCREPL_STOPPED, /* it does not show us what it must */
	SYNCREPL_STORE,   /* our database failed */
	SYNCREPL_RELOAD,  /* once more, without a cookie */
	SYNCREPL_END_COUNT
};

struct syncrepl_events {
	/* The search begins. */
	void (*refreshing)(void *context, bool whole);
	/* The refresh is over and changes follow; why: with STOPPED. */
	void (*following)(
	    void *context, enum intake_outcome outcome, const char *why);
	void (*ended)(void *context, enum syncrepl_end end, const char *why);
};

struct syncrepl_options {
	struct connection_options connection;
	const char *suffix; /* borrowed */
	const char *filter; /* borrowed: syncrepl_filter() */
	bool keys;          /* ask for what KDCs need */
	bool trust;         /* as in struct intake_refresh */
};

struct syncrepl;

/* NULL without memory. All pointers are borrowed. */
struct syncrepl *syncrepl_new(struct event_base *base, struct evdns_base *dns,
    const struct syncrepl_options *options, struct intake *intake,
    const struct syncrepl_events *events, void *context);
void syncrepl_free(struct syncrepl **syncrepl);

/* Ends it as if the provider had done so. */
void syncrepl_stop(
    struct syncrepl *syncrepl, enum syncrepl_end end, const char *why);
/* When the provider was last heard of, clock_monotonic_ms(). */
long long syncrepl_heard_ms(const struct syncrepl *syncrepl);

/* Adds the filter for accounts and all else that we follow. */
int syncrepl_filter(struct buf *out, const char *account_filter, bool keys);

#endif
