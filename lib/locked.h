/*
 * locked: whether an account is locked out, a value of postcellLocked.
 *
 *   20260102030405.000000Z locked 20260102031905.000000Z
 *   20260102030405.000000Z locked -
 *   20260102030405.000000Z unlocked -
 *
 * TIME as in lib/transition.h, the word, and until when; `-` after `locked`
 * means until somebody unlocks. Values are ordered by (TIME, text), the newest
 * holds. As with keys (lib/keyset.h) a writer ADDs one value and DELETEs, by
 * value, those older than the one that was the newest, and nobody replaces.
 * Values that cannot be parsed count for nobody.
 */
#ifndef LIB_LOCKED_H
#define LIB_LOCKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/slice.h"

#define LOCKED_SIZE_MAX 64 /* octets of one value */

struct locked {
	int64_t time_us;
	bool is_locked;
	int64_t until_us; /* INT64_MAX: until somebody unlocks; else a moment */
	struct slice text; /* the value itself; borrowed */
};

/* 0; or -1 with *why (static text). Borrows from text. */
int locked_parse(struct slice text, struct locked *locked, const char **why);
/* Adds the value's text; 0, or -1 when it does not fit. */
int locked_format(struct buf *out, const struct locked *locked);
/* Order by (time, text): <0, 0, >0. */
int locked_compare(const struct locked *a, const struct locked *b);
/* Borrowed from values, in any order; NULL when there are none. */
const struct locked *locked_newest(const struct locked *values, size_t count);
/* Whether the value, the newest, NULL for none, locks at that moment. */
bool locked_holds(const struct locked *newest, int64_t now_us);
/* TIME of a value to add: the larger of now and the newest TIME + 1 µs. */
int64_t locked_next_time(const struct locked *newest, int64_t now_us);

#endif
