/*
 * template: text with names in it, as Python's string.Template reads it, for
 * the demo cell fills in the same files.
 */
#ifndef CTL_TEMPLATE_H
#define CTL_TEMPLATE_H

#include <jansson.h>

#include "lib/buf.h"
#include "lib/slice.h"

/*
 * Adds `text` with `$name` and `${name}` replaced by that member of values, a
 * string, and `$$` by `$`. 0; or -1 with what is wrong added to `why`.
 */
int template_fill(
    struct buf *out, struct slice text, const json_t *values, struct buf *why);

/* Adds `text` with each `from` replaced by `to`. */
void template_replace(
    struct buf *out, struct slice text, struct slice from, struct slice to);

/* The same for all that a buffer holds; where the two are one, nothing. */
void template_move(struct buf *text, const char *from, const char *to);

#endif
