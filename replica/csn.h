/*
 * csn: change sequence numbers, their vectors, and sync cookies as slapd
 * writes them.
 *
 * A CSN is `TIME#COUNT#SID#MOD`, of fixed width, so that octet order is order
 * in time. A vector holds the newest CSN of each server id (SID); it covers
 * a CSN when it holds one of the same SID that is not older. A cookie (RFC
 * 4533) is opaque to us but for the vector in it: `rid=000,csn=CSN;CSN`.
 */
#ifndef REPLICA_CSN_H
#define REPLICA_CSN_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/slice.h"

#define CSN_SIZE        40  /* octets */
#define CSN_VECTOR_MAX  256 /* servers that write, ever, in one directory */
#define CSN_COOKIE_SIZE (CSN_VECTOR_MAX * (CSN_SIZE + 1) + 64)

struct csn_vector {
	size_t count;
	char csns[CSN_VECTOR_MAX][CSN_SIZE]; /* sorted by SID, one each */
};

bool csn_is_valid(struct slice csn);
/* The moment of a valid CSN, as lib/timestamp.h counts. */
int64_t csn_time_us(struct slice csn);

void csn_vector_clear(struct csn_vector *vector);
/*
 * Takes a CSN in where it is newer. 0; or -1 when it is none, or the vector
 * is full.
 */
int csn_vector_add(struct csn_vector *vector, struct slice csn);
/* The i-th CSN, borrowed from the vector. */
struct slice csn_vector_get(const struct csn_vector *vector, size_t i);
bool csn_vector_covers(const struct csn_vector *vector, struct slice csn);
/* Whether it covers each CSN of another one. */
bool csn_vector_covers_all(
    const struct csn_vector *vector, const struct csn_vector *other);
bool csn_vector_equal(
    const struct csn_vector *vector, const struct csn_vector *other);
/* Adds the CSNs, parted by `separator`. 0, or -1 when they do not fit. */
int csn_vector_format(
    struct buf *out, const struct csn_vector *vector, char separator);

/*
 * Adds the CSNs of a provider's cookie to the vector; a cookie without any
 * adds none. 0, or -1 for a malformed one, with a part of it added.
 */
int csn_cookie_parse(struct slice cookie, struct csn_vector *vector);
/* 0, or -1 when it does not fit. */
int csn_cookie_format(struct buf *out, const struct csn_vector *vector);

#endif
