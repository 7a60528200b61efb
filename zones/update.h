/*
 * update: messages to a primary, and what it answers. Pure.
 *
 * UPDATE (RFC 2136), SOA and AXFR (RFC 5936) questions, all signed (TSIG, RFC
 * 8945). An update replaces whole RRsets, so that its outcome does not depend
 * on what the server had.
 */
#ifndef ZONES_UPDATE_H
#define ZONES_UPDATE_H

#include <stdint.h>

#include <ldns/ldns.h>

#include "lib/slice.h"
#include "zones/config.h"
#include "zones/rrsets.h"

#define UPDATE_FUDGE 300 /* s */

/* A question on its way, and what its answers must match. */
struct update_question {
	const struct config_key *key; /* borrowed */
	uint16_t id;
	ldns_pkt_opcode opcode;
	uint8_t *wire; /* owned */
	size_t size;
	ldns_rdf *mac; /* owned: of the question, then of the last answer */
	bool answered; /* at least one signed answer came */
};

void update_question_free(struct update_question *question);

/* SOA or AXFR of the zone. 0; or -1 with *why (static text). */
int update_ask(struct update_question *question, const struct config_zone *zone,
    ldns_rr_type type, const char **why);

/*
 * What makes `target` of `current`. `epochs` are the epoch records that the
 * zone must still have, none of them when empty; `epoch` (borrowed) replaces
 * them. 0; or -1 with *why.
 */
int update_change(struct update_question *question,
    const struct config_zone *zone, const struct rrsets *current,
    const struct rrsets *target, const struct rrsets *epochs,
    const ldns_rr *epoch, const char **why);

enum update_result {
	UPDATE_GOOD,
	UPDATE_OVERTAKEN, /* the prerequisite does not hold */
	UPDATE_BAD        /* refused, malformed, not signed, ... */
};

/*
 * Checks one answer to the question. GOOD: *answer is the parsed message, the
 * caller's. Otherwise *why (static text).
 */
enum update_result update_answer(struct update_question *question,
    struct slice wire, time_t now, ldns_pkt **answer, const char **why);

#endif
