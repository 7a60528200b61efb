/*
 * vote: what an observer says of a host, a value of its postcellVote.
 *
 *   mbox2 down      it is down, and has my vote to be declared failed
 *   mbox2 silent    it did not answer in time, or not as it should
 *   mbox2/ipv6 down it answers by IPv4 alone
 *
 * A host that refuses connections is `down` at once and not `silent`. One that
 * is silent is `silent` at once and `down` as well when it still is one probe
 * interval later: so deciders know of all that a fault has struck before they
 * decide anything. Other words are left alone.
 *
 * Of an address family is spoken where the other one works. Nobody is declared
 * failed for it: names lose the addresses (zones/plan.h).
 *
 * NAME is the host's cn. Where hosts of two kinds have one name it would leave
 * open which of them is meant: there it is `proxy/mbox2`, and the bare name is
 * nobody's.
 */
#ifndef LIB_VOTE_H
#define LIB_VOTE_H

#include <stdbool.h>

#include "lib/buf.h"
#include "lib/cell.h"

enum vote_word {
	VOTE_DOWN,
	VOTE_SILENT
};

enum vote_family {
	VOTE_IPV4,
	VOTE_IPV6
};

#define VOTE_FAMILY_COUNT 2

/* Adds the value; 0, or -1 when it does not fit. */
int vote_format(struct buf *out, const struct cell *cell,
    const struct host *host, enum vote_word word);
/* Whether the observer says so of the host. */
bool vote_says(const struct cell *cell, const struct host *observer,
    const struct host *host, enum vote_word word);

/* The same for an address family of the host. */
int vote_format_family(struct buf *out, const struct cell *cell,
    const struct host *host, enum vote_family family);
bool vote_says_family(const struct cell *cell, const struct host *observer,
    const struct host *host, enum vote_family family);
/* "ipv4", "ipv6"; static. */
const char *vote_family_text(enum vote_family family);

#endif
