/*
 * output: how answers look, for people and as JSON.
 */
#ifndef CTL_OUTPUT_H
#define CTL_OUTPUT_H

#include <stdint.h>

#include <jansson.h>

#include "lib/slice.h"

/* Prints an object to stdout, indented; takes it. EX_OK or EX_IOERR. */
int output_json(json_t *value);

/* New values, owned by the caller; text that is no UTF-8 is escaped. */
json_t *output_text(struct slice text);
json_t *output_moment(int64_t moment_us); /* null for 0 and INT64_MAX */

/* A member of an object, "-" and 0 where it has none; borrowed from it. */
const char *output_member(const json_t *object, const char *name);
long long output_number(const json_t *object, const char *name);

#endif
