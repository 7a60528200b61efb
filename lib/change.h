/*
 * change: how a host's state and weight are changed, for all who write
 * postcellTransition: the operator's command, deciders, the overlay.
 *
 * Placement (lib/placement.h) keeps its word only if writers keep theirs:
 *
 * - TIME is the larger of now and the newest TIME + 1 µs. Each value is added;
 *   others are never replaced.
 * - A host without values first gets its wish as a value of the year 1970, its
 *   base, alone; the change follows a guard later, when everybody knows the
 *   base. Without it the new value would say that the host was absent before,
 *   which is right only in an entry that is new itself: there the first value
 *   is written with the entry. Deciders give a base to any host without values.
 * - Values are deleted, in the same modify, once nobody can need them: those
 *   older than the newest that has reached every account, when that is
 *   CHANGE_KEEP ago. Sooner is too soon, for the guard asks where an account
 *   was before, and "reached" means that no newer value cut its ramp.
 * - Values that lie more than CHANGE_AHEAD in the future are mistakes that
 *   would hold up every later change. They have reached nobody yet, so they
 *   are deleted as well and do not count for the newest TIME.
 */
#ifndef LIB_CHANGE_H
#define LIB_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cell.h"
#include "lib/transition.h"

/* Twice the longest guard, and the longest: µs. */
#define CHANGE_KEEP  (INT64_C(2000) * POOL_GUARD_MAX)
#define CHANGE_AHEAD (INT64_C(1000) * POOL_GUARD_MAX)

enum change_step {
	CHANGE_WRITE, /* this is the change: add, delete */
	CHANGE_BASE,  /* add the base; make the change again a guard later */
	CHANGE_WAIT /* nothing yet, the base is too young; again at again_us */
};

/* One modify of postcellTransition. */
struct change {
	enum change_step step;
	struct transition value; /* to add; its text is empty */
	size_t passed;           /* delete so many of the host's first values */
	size_t ahead;            /* and so many of its last */
	int64_t again_us;        /* BASE and WAIT: when to make it again */
};

/*
 * Makes the change of a host to this state, weight and ramp (s). `host` is as
 * it was before, its wish included; guard_ms is its pool's.
 */
void change_make(struct change *change, const struct host *host,
    uint32_t guard_ms, int64_t now_us, enum host_state state, uint32_t weight,
    uint32_t ramp);

/*
 * The TIME of an account's postcellMoved, by the same rule: written, replacing
 * the old value, in every modify that changes pin, pool or group.
 */
int64_t change_move_time(const struct account *account, int64_t now_us);

/*
 * True when a host is down and has been so for all accounts for CHANGE_KEEP:
 * only then may its entry be deleted, renamed, given to another pool or given
 * other services, none of which has a guard; and only while no other hand
 * brings it up, for whoever has learnt of its end forgets what it was.
 */
bool change_is_settled(const struct host *host, int64_t now_us);

#endif
