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
 * logarithm is computed in integers to 48 fractional bits, so that no floating
 * point unit or C library can make two programs disagree. Weight 0 never wins.
 * The key is account_key(): postcellGroup, else entryUUID, else the uid.
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
 * Move. An account with postcellMoved was, before that moment, placed by its
 * old pin and pool; the change reaches it at that moment without a ramp.
 *
 * Guard. If just before any e in (now - guard, now] the winner was another
 * server than now, the answer is to wait until the latest such e + guard. A
 * moment at which nobody served the account ends nothing and needs no wait.
 *
 * A pool without affinity spreads: the seeds are mixed with the moment, and
 * there is no guard.
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

/* For people: "by hash", "pinned", ...; static. */
const char *placement_reason_text(enum placement_reason reason);

/*
 * What holds of a server for a key at a moment, the part of placement() that
 * status displays share. False while the server is absent.
 */
bool placement_reached(const struct host *server, uint64_t phase,
    int64_t now_us, enum host_state *state, uint32_t *weight);
/* The phase of a key in [0,1) as a 64-bit fraction. */
uint64_t placement_phase(struct slice key);
/* The seed of a server's name; cell_finish() keeps it in struct host. */
uint64_t placement_seed(struct slice name);

#endif
