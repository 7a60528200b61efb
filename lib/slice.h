/*
 * slice: a borrowed run of octets, the form in which text comes in.
 *
 * A slice owns nothing and may hold any octet, NUL included. It lives as long
 * as what it points into; each function that hands one out says how long that
 * is. An empty slice may have a NULL data pointer.
 */
#ifndef LIB_SLICE_H
#define LIB_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

struct slice {
	const char *data; /* borrowed */
	size_t size;      /* octets */
};

/* For printf: "%.*s" with SLICE_ARGS(text). Only for text that is known clean.
 */
#define SLICE_ARGS(text) (int)(text).size, (text).data

/* Slice of a string that ends in NUL; borrows it. NULL gives the empty slice.
 */
struct slice slice_from(const char *string);
struct slice slice_of(const void *data, size_t size);

bool slice_equal(struct slice a, struct slice b);
/* Equal but for the case of A-Z, whatever the locale. */
bool slice_equal_nocase(struct slice a, struct slice b);
bool slice_is(struct slice text, const char *string);
bool slice_is_nocase(struct slice text, const char *string);
bool slice_starts_nocase(struct slice text, const char *prefix);
/* Octet order, the shorter first: <0, 0, >0. */
int slice_compare(struct slice a, struct slice b);

/* Position of the first, or last, octet c; SIZE_MAX when there is none. */
size_t slice_find(struct slice text, char c);
size_t slice_find_last(struct slice text, char c);

/* The part from octet `from` on, and the first `size` octets; both clip. */
struct slice slice_from_offset(struct slice text, size_t from);
struct slice slice_first(struct slice text, size_t size);
/* Without spaces and tabs at both ends. */
struct slice slice_trim(struct slice text);
/* Has it an octet below space, or DEL? */
bool slice_has_control(struct slice text);

/*
 * Takes the next word off *rest: what stands before the next run of `c`.
 * False when nothing but `c` is left.
 */
bool slice_next_word(struct slice *rest, char c, struct slice *word);

/*
 * Decimal digits and nothing else, at most `max`; 0, or -1 for anything else
 * (empty, sign, other octets, too large).
 */
int slice_to_uint(struct slice text, uint64_t max, uint64_t *number);

/* True when every octet is printable ASCII or space (0x20 to 0x7e). */
bool slice_is_printable(struct slice text);

/* In a time that depends on the sizes alone; for secrets. */
bool slice_equal_secret(struct slice a, struct slice b);

#endif
