/*
 * transition: a change of a host's state and weight, and when it takes hold.
 *
 * A host's history is a list of values `TIME RAMP STATE WEIGHT` in
 * postcellTransition: generalized time in UTC with microseconds; the seconds
 * over which the change spreads; up, drain, down or failed; the weight.
 *
 *   20260102030405.000000Z 60 drain 100
 *
 * Values are ordered by (TIME, text). Who is reached by which value at a
 * moment is placement's business (lib/placement.h).
 */
#ifndef LIB_TRANSITION_H
#define LIB_TRANSITION_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/slice.h"

#define TRANSITION_WEIGHT_MAX     10000
#define TRANSITION_WEIGHT_DEFAULT 100
#define TRANSITION_RAMP_MAX       86400 /* s */

enum host_state {
	HOST_UP,
	HOST_DRAIN,
	HOST_DOWN,
	HOST_FAILED /* written by deciders alone, never a wish */
};

struct transition {
	int64_t time_us;
	uint32_t ramp; /* s */
	enum host_state state;
	uint32_t weight;
	struct slice text; /* the value itself; borrowed */
};

/* 0; or -1 with *why (static text). Fields are parted by one space. */
int transition_parse(
    struct slice text, struct transition *transition, const char **why);
/* Adds the value's text; 0, or -1 when it does not fit. */
int transition_format(struct buf *out, const struct transition *transition);
/* Order by (time, text): <0, 0, >0. */
int transition_compare(const struct transition *a, const struct transition *b);

/* "up", "drain", "down", "failed"; static. */
const char *host_state_text(enum host_state state);
/* 0, or -1 for a word that is none of them, compared without case. */
int host_state_parse(struct slice text, enum host_state *state);

#endif
