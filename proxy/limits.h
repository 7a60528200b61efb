/*
 * limits: how many sessions whoever has on this host, over all relays.
 *
 * Each relay has a table of its own in the memory that all share (stats.h), and
 * is its only writer; how many there are is the sum over the tables. So nothing
 * is locked, and of a relay that died the parent clears the table. A relay
 * counts itself first and looks at the others then: of two who come at one
 * moment at least one sees the other, and a limit is never passed.
 *
 * Whom an entry counts is a hash of 53 bits, with a seed of this host's own:
 * two that share an entry would be an accident in 10^8 years of full tables,
 * and nobody can look for them. A bucket that is full leaves whoever comes
 * uncounted: the memory is bounded, and a table of a relay tells tens of
 * thousands apart.
 */
#ifndef PROXY_LIMITS_H
#define PROXY_LIMITS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/slice.h"

#define LIMITS_RELAYS  1024
#define LIMITS_BUCKETS 4096
#define LIMITS_WAYS    16   /* entries of a bucket: two lines of the cache */
#define LIMITS_PAGE    4096 /* what the system gives memory back in */

/* 40 bits of whom, 24 bits of how many; 0: free. */
struct limits_table {
	_Atomic uint64_t entries[LIMITS_BUCKETS][LIMITS_WAYS];
};

struct limits {
	_Atomic uint64_t seed;
	_Atomic uint32_t used; /* tables that were ever used, the first ones */
	alignas(LIMITS_PAGE) struct limits_table tables[LIMITS_RELAYS];
};

enum limits_result {
	LIMITS_TAKEN,    /* give it back with limits_release() */
	LIMITS_REFUSED,  /* nothing is to be given back */
	LIMITS_UNCOUNTED /* neither */
};

/* Once, by whoever made the memory of zeros. */
void limits_init(struct limits *limits, uint64_t seed);

/* Whom to count: never 0. kind: keeps apart what is counted apart. */
uint64_t limits_key(
    const struct limits *limits, unsigned kind, struct slice whom);
/* One more, unless there would be more than max then. By the relay. */
enum limits_result limits_take(
    struct limits *limits, unsigned relay, uint64_t key, uint32_t max);
void limits_release(struct limits *limits, unsigned relay, uint64_t key);
/* Over all relays. */
uint32_t limits_count(const struct limits *limits, uint64_t key);

/* A relay begins, or has ended: nobody is counted there. By the parent. */
void limits_clear(struct limits *limits, unsigned relay);

#endif
