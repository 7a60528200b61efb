/*
 * buf: a buffer that grows up to a set bound, the form in which text goes out.
 *
 * Errors stick: once an addition did not fit (bound reached, or no memory) the
 * buffer keeps what it had, `failed` is set and further additions do nothing,
 * so that a caller may add many pieces and look once. The buffer owns its
 * memory; buf_free() gives it back and leaves an empty buffer of the same
 * bound. Content is always followed by a NUL that does not count.
 */
#ifndef LIB_BUF_H
#define LIB_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/slice.h"

struct buf {
	char *data;      /* owned; NULL until something was added */
	size_t size;     /* octets in use */
	size_t capacity; /* octets allocated */
	size_t size_max; /* bound on size */
	bool failed;     /* something did not fit */
};

/* An empty buffer; size_max in octets. Allocates nothing. */
struct buf buf_bounded(size_t size_max);
void buf_free(struct buf *buf);
/* As buf_free, but overwrites what it held first; for secrets. */
void buf_wipe(struct buf *buf);
/* Empties it and forgets a failure; keeps the memory. */
void buf_clear(struct buf *buf);

/* All return 0, or -1 once the buffer has failed. */
int buf_add(struct buf *buf, const void *data, size_t size);
int buf_add_slice(struct buf *buf, struct slice text);
int buf_add_string(struct buf *buf, const char *string);
int buf_add_char(struct buf *buf, char c);
/* In decimal. */
int buf_add_number(struct buf *buf, int64_t number);
int buf_printf(struct buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/*
 * Adds text in double quotes with everything but printable ASCII written as
 * \xHH and `"` and `\` escaped: for one log line of untrusted octets.
 */
int buf_add_quoted(struct buf *buf, struct slice text);

/*
 * Room for `size` more octets at the end, for reading into; NULL when the
 * bound forbids it. buf_grow() counts what was put there.
 */
char *buf_reserve(struct buf *buf, size_t size);
void buf_grow(struct buf *buf, size_t size);
/* Drops the first `size` octets. */
void buf_consume(struct buf *buf, size_t size);

/* What it holds; borrowed until the next change of the buffer. */
struct slice buf_slice(const struct buf *buf);
/* The same as a string that ends in NUL; "" when empty, never NULL. */
const char *buf_string(const struct buf *buf);

#endif
