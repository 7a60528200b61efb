/*
 * timestamp: moments as the cell counts them, and as the directory writes them.
 *
 * A moment is an int64_t of microseconds since 1970-01-01 00:00:00 UTC without
 * leap seconds. Text is LDAP's generalized time in UTC (RFC 4517 section
 * 3.3.13): 20260102030405Z or with a fraction, 20260102030405.123456Z.
 */
#ifndef LIB_TIMESTAMP_H
#define LIB_TIMESTAMP_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/slice.h"

#define TIMESTAMP_SECOND INT64_C(1000000)

/*
 * 0, or -1 for anything but a valid moment of the years 1970 to 9999. Digits
 * of the fraction beyond microseconds are cut off.
 */
int timestamp_parse(struct slice text, int64_t *moment_us);
/* Adds it with exactly six digits of fraction; 0, or -1 when it does not fit.
 */
int timestamp_format(struct buf *out, int64_t moment_us);

#endif
