/*
 * lockout: guesses of passwords, counted by all the programs of a host
 * together.
 *
 * The table is a piece of memory that the caller maps from one file,
 * LOCKOUT_SIZE octets, all zero at first: whoever maps it shares it, at every
 * door (binds, tickets, proxies), without locks. It counts per account, by a
 * hash of its entryUUID, over a window that begins with the first attempt.
 *
 * An attempt is reserved before the password is looked at and given back when
 * the password was right, so that however many guesses run at once, no more
 * than the limit are verified in a window. A right password gives back its own
 * attempt and forgives no other: the owner's own devices would otherwise wipe
 * out, every few minutes, what an attacker has used up. A process that dies
 * between the two leaves its attempt counted until the window ends.
 *
 * When all places near an account's are taken by windows that still run, the
 * one with the fewest failures gives way; only then, and where two programs
 * take up the same account at the instant at which an old window ends, may a
 * count be lost.
 *
 * Any number of threads and processes at once. Moments are microseconds as in
 * lib/timestamp.h; a clock that went back by more than a window starts a new
 * one.
 */
#ifndef LIB_LOCKOUT_H
#define LIB_LOCKOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/slice.h"

#define LOCKOUT_SIZE      ((size_t)1 << 20) /* octets: 65,535 accounts */
#define LOCKOUT_LIMIT_MAX 2000

/* Borrows the memory; each process has its own. */
struct lockout {
	void *slots;
	size_t slot_count;
};

struct lockout_policy {
	uint32_t limit;     /* attempts; 0: no limit, nothing is counted */
	uint64_t window_us; /* from the first attempt */
};

/* An attempt under way. All zero: none, and settling it does nothing. */
struct lockout_attempt {
	uint64_t key;
	uint64_t begin_ms; /* of the window that counted it */
	size_t slot;
	bool counted;
};

/*
 * memory: aligned as for uint64_t, `size` octets, of any content that a table
 * of this version had, or zero. 0; or -1 with *why when it is something else.
 */
int lockout_attach(
    struct lockout *table, void *memory, size_t size, const char **why);

/* What an account counts under; never 0. */
uint64_t lockout_key(struct slice id);

/*
 * Counts an attempt before its password is verified. False when the limit is
 * used up: then refuse without looking at the password. What was counted before
 * `forgiven_us` is forgotten: the moment at which the account was unlocked, or
 * at which its lock ended; 0 for never.
 */
bool lockout_reserve(const struct lockout *table, uint64_t key,
    const struct lockout_policy *policy, int64_t now_us, int64_t forgiven_us,
    struct lockout_attempt *attempt);

/* The password was right, or nobody came to look at it. */
void lockout_release(
    const struct lockout *table, struct lockout_attempt *attempt);

/*
 * The password was wrong. True for one caller in a window: the one whose
 * failure uses up the limit, who has to write the lock into the directory.
 */
bool lockout_fail(const struct lockout *table,
    const struct lockout_policy *policy, struct lockout_attempt *attempt);

/* Failures in the window that runs; for people to read. */
uint32_t lockout_failures(const struct lockout *table, uint64_t key,
    const struct lockout_policy *policy, int64_t now_us);

#endif
