/*
 * decide: what deciders write, from what observers say. Pure but for its
 * memory: no I/O, no clock, no log.
 *
 * Each run looks at the whole map of the cell and tells which values of
 * postcellTransition are to be written now, by the rules of lib/change.h:
 *
 * - BASE: a host without values gets its wish as a value of the year 1970.
 * - FAILED: its newest value is `up`, or a drain that has not passed for
 *   everybody, and more than half of all observers say down (lib/vote.h).
 *   When more than half find it refused, that is so at once, unless no peer of
 *   it is left. Otherwise not while more than max_down of its peers are struck
 *   at the same time: that is a fault of storage or network, and moves nobody.
 *   What held a failure back does so for hold_after longer, unless it was up in
 *   between: hosts that were struck together do not come back at one moment.
 *   And not for a grace after the newest value was written in spite of the
 *   votes: observers need a while to see a host up that was just started.
 * - RETURN: its newest value is `failed`, return_after ago or longer, more than
 *   half of all observers see it up, and its pool's failback is auto: the wish
 *   is written with the pool's ramp.
 * - WISH: a wish that differs from the newest value since wish_after: somebody
 *   edited it without a transition. With the pool's ramp, `down` without.
 *
 * Observers are the proxies' entries that have a postcellAlive. One whose
 * postcellAlive did not change for silent_after has no vote, but counts among
 * all of them. What counts is when the value was seen to change, so that no
 * clock but the decider's own matters; only a value that was there when the
 * decider came is compared with the time. One of another site than the host's
 * has a vote only while it sees another host of that site up; a host without a
 * site is everybody's. Nobody has a vote on itself.
 *
 * Peers are the servers of the pool, the proxies, or the other hosts of the
 * same first service. Struck is a peer that more than half of all observers
 * find down or silent and that no administrator took down.
 *
 * One thread.
 */
#ifndef REPLICA_DECIDE_H
#define REPLICA_DECIDE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/cell.h"
#include "lib/change.h"

enum decision_kind {
	DECISION_BASE,
	DECISION_FAILED,
	DECISION_RETURN,
	DECISION_WISH,
	DECISION_HELD, /* nothing to write: a failure is not decided, why */
	DECISION_KIND_COUNT
};

struct decision {
	enum decision_kind kind;
	const struct host *host; /* borrowed from the map */
	struct change change;    /* to write; not with HELD */
	unsigned votes;          /* observers that say down, or up */
	unsigned observers;      /* all of them */
	const char *why;         /* static text */
};

struct decide_settings {
	int64_t return_after_ms;
	int64_t wish_after_ms;
	int64_t silent_after_ms;
	int64_t hold_after_ms;
	int64_t grace_ms;
	/* How long others are left to write first; 0 for the first decider. */
	int64_t delay_ms;
};

#define DECIDE_RETURN_AFTER 300000
#define DECIDE_WISH_AFTER   1000
#define DECIDE_SILENT_AFTER 15000
#define DECIDE_HOLD_AFTER   10000
#define DECIDE_GRACE        6000

struct decide;

/* NULL without memory. */
struct decide *decide_new(const struct decide_settings *settings);
void decide_free(struct decide **decide);

/*
 * What to write now; the array is valid until the next run, and as long as the
 * map. now_us: microseconds since 1970; mono_ms: monotonic. A decision comes
 * again at each run until the map shows that it was carried out; HELD comes
 * once. NULL without memory.
 */
const struct decision *decide_run(struct decide *decide,
    const struct cell *cell, int64_t now_us, int64_t mono_ms, size_t *count);

/* "base", "failed", "return", "wish", "held"; static. */
const char *decision_kind_text(enum decision_kind kind);

#endif
