/*
 * epoch: the TXT record that says from which state of the directory a zone's
 * records were made.
 *
 *   _postcell-epoch.ZONE 0 IN TXT "v=1" "time=20260102030405.000000Z"
 *       "by=HOST" "csn=CSN" ...
 *
 * with a CSN for each server of the directory that writes (contextCSN). It is
 * the prerequisite of every update (RFC 2136 section 2.4.2) and changes with
 * every update, so of several publishers that change a zone at once one comes
 * through and the others look again. Pure.
 */
#ifndef ZONES_EPOCH_H
#define ZONES_EPOCH_H

#include <stdint.h>

#include <ldns/ldns.h>

#include "replica/csn.h"

#define EPOCH_TTL     0
#define EPOCH_BY_SIZE 256
/* A clock that is further ahead than this is wrong, and does not bind. */
#define EPOCH_AHEAD_MAX_US INT64_C(300000000)

struct epoch {
	struct csn_vector csns;
	int64_t time_us;        /* of the plan */
	char by[EPOCH_BY_SIZE]; /* publisher, when it was parsed */
};

/* From contextCSN values parted by spaces; what is none is left out. */
void epoch_set(struct epoch *epoch, struct slice csns, int64_t time_us);

/* The record; the caller owns it. NULL when it cannot be made. */
ldns_rr *epoch_record(
    const struct epoch *epoch, const ldns_rdf *owner, const char *publisher);
/* 0; or -1 for a TXT record that is no epoch. */
int epoch_parse(struct epoch *epoch, const ldns_rr *rr);

enum epoch_order {
	EPOCH_NEWER, /* mine may replace theirs */
	EPOCH_OLDER, /* it may not */
	EPOCH_AHEAD  /* mine may, for theirs has a clock that is wrong */
};

/*
 * The vector that covers the other is newer; of two that do not, the one with
 * the newest CSN; of equal ones the later in time.
 */
enum epoch_order epoch_order(
    const struct epoch *mine, const struct epoch *theirs);

#endif
