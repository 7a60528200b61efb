/*
 * failures: who guessed wrong how often, in memory that all relays share.
 *
 * An address (its prefix) and an account each have a counter, which begins
 * anew when its window has passed. The table has a fixed size and forgets the
 * oldest first: what somebody floods it with costs them more than it hides.
 * Keys are hashed with a seed that strangers do not know. No locks: a counter
 * is one word, changed by compare and exchange, and an update lost in a race
 * for an empty place is one failure less in the count.
 *
 * A struct of zeros that was seeded; it lives beside the counters (stats.h)
 * and is handed from generation to generation.
 */
#ifndef PROXY_FAILURES_H
#define PROXY_FAILURES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/slice.h"
#include "proxy/network.h"

#define FAILURES_SETS 16384
#define FAILURES_WAYS 4

struct failures_entry {
	_Atomic uint64_t key;   /* 0: free */
	_Atomic uint64_t state; /* since when (s), and how many */
};

struct failures {
	_Atomic uint64_t seed;
	struct failures_entry entries[FAILURES_SETS][FAILURES_WAYS];
};

/* Before the first process uses it; a seed that is there stays. */
void failures_seed(struct failures *failures);

/* Never 0. prefix: what network_prefix() leaves of the address. */
uint64_t failures_address_key(const struct failures *failures,
    const uint8_t prefix[NETWORK_ADDRESS_SIZE]);
/* name: whatever the account is told apart by. */
uint64_t failures_account_key(
    const struct failures *failures, struct slice name);

/* In the window that is open at now_s (monotonic, of this boot). */
unsigned failures_count(const struct failures *failures, uint64_t key,
    int64_t now_s, int64_t window_s);
/* One more; the count with it. since_s: when its window began. */
unsigned failures_add(struct failures *failures, uint64_t key, int64_t now_s,
    int64_t window_s, int64_t *since_s);
/*
 * It was none: whoever is to be held to a limit counts a guess before it is
 * tried, and takes it back when it was right, so that any number of guesses at
 * one moment cannot pass the limit.
 */
void failures_take_back(
    struct failures *failures, uint64_t key, int64_t since_s);

/*
 * ms after the credentials were complete until their failure is answered:
 * doubled with each failure before, from `delay` up to `delay_max`, and once
 * it took longer to find out, the next multiple of that. So the answer's time
 * tells the count, which whoever asks knows, and nothing else.
 */
int64_t failures_delay_ms(
    unsigned count, int64_t delay_ms, int64_t delay_max_ms, int64_t passed_ms);

#endif
