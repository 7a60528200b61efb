/*
 * placement: which server serves an account at a moment.
 *
 * This header is the reference. The function is pure: every program that
 * holds the same directory data gets the same answer, and votes or probes are
 * no input to it.
 *
 * Choice. Among the servers of the account's pool that are up for the account,
 * weighted rendezvous hashing (Thaler and Ravishankar 1998; weights after
 * Schindelhauer and Schomaker 2005): for each server
 *
 *     h = XXH3-64(key, seed = XXH3-64(server name, seed 0)), at least 1
 *     score = -log2(h / 2^64) / weight
 *
 * and the smallest score wins, at equal scores the name that sorts first. The
 * logarithm is computed in integers, rounded up to 48 fractional bits, so that
 * no floating point unit or C library can make two programs disagree. Weight 0
 * never wins. The key is account_key(): postcellGroup, else entryUUID, else the
 * uid.
 *
 * Reach. A transition of a server takes hold of an account with key K at
 *
 *     e = TIME + phase(K) x RAMP,  phase(K) = XXH3-64(K, seed 1) / 2^64
 *
 * and only if e is before the TIME of the transition after it; the last value
 * that took hold is the server's state and weight for this account. Before
 * the first one took hold the server is absent. A server without transitions
 * has the state and weight of its wish.
 *
 * Pin. A pinned account (mailHost) is served by that server, whatever the
 * hash says, while it is up or draining. The pin names a server by its cn or by
 * the host of one of its services. A pin to a host that the pool does not know
 * is followed only when the pool has no servers at all, or there is no pool.
 *
 * Move. Before the moment of its postcellMoved an account was placed by its
 * old pin and pool; the change reaches it at that moment without a ramp.
 *
 * Guard. If just before any change in (now - guard, now] the winner was not
 * the one of now, the answer is to wait until the latest such change + guard.
 * Nobody counts as another winner: of two servers that come back to an empty
 * pool at one moment one proxy may know the first and one the second. The
 * guard is the pool's, and POOL_GUARD where there is no pool.
 *
 * A move less than a guard away, before or after, is always waited for, until
 * the move + guard (the longer one of both pools): what it says of the past may
 * be less than what happened, since a second move hides the first, its writer
 * may not have known the first, and it does not tell an old group. So a change
 * of postcellGroup is written with a postcellMoved as well.
 *
 * A pool without affinity spreads: the seeds are mixed with the moment, and
 * there is no guard but that of a move to another pool.
 *
 * Promise. One account is never with two servers at one moment, as long as
 *
 *     lag + skew + closing time < guard
 *
 * where lag is the time from a writer's reading of the clock to the last
 * proxy's learning of the change, skew the largest difference of two clocks,
 * and closing time what a proxy takes from a moment at which it must end a
 * session until the back end has seen the end. Whoever sends accounts to
 * servers owes for that:
 *
 *  - It asks right before each login at a back end, and from then on counts
 *    the account as with that server, finished login or not.
 *  - It asks again when the map or the account changes, and at
 *    placement_next(). On any answer but SERVER with that very server, NONE
 *    and WAIT included, it ends the session. WAIT for the server that the
 *    session is on is no exception: somebody may have learnt only the first of
 *    the two changes that led away and back, and be gone already. In a pool
 *    without affinity a session stays while its server is up.
 *  - It does not ask a map that is behind by more than the lag: after a start
 *    or restart the replica catches up first.
 *
 * Writers owe what lib/change.h says. Without a guard are: the wish of a server
 * that has no transition, a server's services and pool, deletion of a server
 * (change_is_settled() tells when these are harmless), and which pool is the
 * default one.
 *
 * Proof. Let s be the answer at one proxy at t1 and s' that at another at t2,
 * both sessions alive at one moment, so |t1 - t2| <= closing time. By the
 * guard the first one's view says s throughout [t1 - guard, t1] and the
 * second one's s' throughout [t2 - guard, t2]. Views differ only in what is
 * younger than the lag: a transition changes nothing before its TIME, and of
 * two accounts that differ one has a move that the other lacks, younger than
 * the lag, for which the guard still waits. The two intervals less the lag have
 * a moment in common; there both views are the same, and s is s'. Skew shifts
 * the intervals and no more.
 */
#ifndef LIB_PLACEMENT_H
#define LIB_PLACEMENT_H

#include <stdint.h>

#include "lib/account.h"
#include "lib/cell.h"

enum placement_kind {
	PLACEMENT_SERVER, /* this server */
	PLACEMENT_HOST,   /* a pinned host that is no server of the cell */
	PLACEMENT_WAIT,   /* ask again at until_us */
	PLACEMENT_NONE    /* nobody serves it now: a temporary error */
};

enum placement_reason {
	PLACEMENT_BY_HASH,
	PLACEMENT_BY_PIN,
	PLACEMENT_GUARDED,    /* with WAIT */
	PLACEMENT_NO_POOL,    /* the named pool is not there, or no default */
	PLACEMENT_NO_SERVER,  /* the pool has none that is up */
	PLACEMENT_PIN_DOWN,   /* the pinned server is down or failed */
	PLACEMENT_PIN_UNKNOWN /* the pool has servers, the pin is none of them
			       */
};

struct placement {
	enum placement_kind kind;
	enum placement_reason reason;
	const struct pool *pool; /* borrowed from the cell; NULL when unknown */
	const struct host
	    *server; /* SERVER: borrowed from the cell; WAIT: the one to come */
	struct slice host; /* HOST: borrowed from the account */
	int64_t until_us;  /* WAIT */
};

/* Any thread. Allocates only for an account with neither group nor entryUUID.
 */
struct placement placement(
    const struct account *account, const struct cell *cell, int64_t now_us);

/*
 * The first moment after now_us at which the answer may be another one without
 * any change of the directory, the end of a wait included; INT64_MAX for never.
 */
int64_t placement_next(
    const struct account *account, const struct cell *cell, int64_t now_us);

/* For people: "by hash", "pinned", ...; static. */
const char *placement_reason_text(enum placement_reason reason);

/*
 * What holds of a server for a key at a moment, the part of placement() that
 * status displays share. False while the server is absent.
 */
bool placement_reached(const struct host *server, uint64_t phase,
    int64_t now_us, enum host_state *state, uint32_t *weight);
/* A server's draw for a key, -log2(h / 2^64) x 2^48: 1 to 2^54. */
uint64_t placement_draw(struct slice key, uint64_t seed);
/* The phase of a key in [0,1) as a 64-bit fraction. */
uint64_t placement_phase(struct slice key);
/* The seed of a server's name; cell_finish() keeps it in struct host. */
uint64_t placement_seed(struct slice name);

#endif
