/*
 * history: the proxies of a world at work, and the overlap that comes of it.
 *
 * Every account logs in at every proxy all the time, so each proxy has it with
 * a server from the first moment at which placement() allows it to the moment
 * at which it must end, and the closing time after that. No pattern of real
 * logins can overlap where these stays do not.
 */
#ifndef SIMULATOR_HISTORY_H
#define SIMULATOR_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "tests/simulator/world.h"

/* Sums over histories. */
struct outcome {
	uint64_t histories, accounts, writes;
	uint64_t stays;    /* an account with a server at a proxy, unbroken */
	uint64_t moves;    /* a stay that follows one on another server */
	uint64_t overlaps; /* pairs of stays */
	uint64_t broken;   /* histories with an overlap */
	uint64_t
	    unforeseen;     /* answers that placement_next() did not announce */
	int64_t overlap_us; /* the longest */
	int64_t margin_us;  /* shortest time between two servers; INT64_MAX */
	uint64_t seed;      /* of the first broken history */
};

void outcome_start(struct outcome *outcome);

/* One statement of the outcome, for people, on stdout; lines begin with "# ".
 */
void outcome_print(const struct outcome *outcome);

/* Plays one history and adds it to the outcome; with `aloud` it prints it. */
void history_play(struct outcome *outcome, const struct world *world,
    uint64_t seed, bool aloud);

#endif
