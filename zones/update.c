#include "zones/update.h"

#include <stdlib.h>
#include <string.h>

/* RDATA fields of TSIG, RFC 8945 section 4.2. */
enum {
	TSIG_TIME = 1,
	TSIG_MAC = 3,
	TSIG_ERROR = 5,
	TSIG_FIELDS = 7
};

enum {
	TSIG_BADSIG = 16,
	TSIG_BADKEY = 17,
	TSIG_BADTIME = 18,
	TSIG_BADTRUNC = 22
};

void
update_question_free(struct update_question *question)
{
	LDNS_FREE(question->wire);
	ldns_rdf_deep_free(question->mac);
	*question = (struct update_question){ 0 };
}

/* Signs the packet and turns it into octets. */
static int
finish(struct update_question *question, const struct config_zone *zone,
    ldns_pkt *packet, const char **why)
{
	const struct config_key *key = zone->key;
	ldns_status status;

	*question = (struct update_question){ .key = key,
		.opcode = ldns_pkt_get_opcode(packet) };
	ldns_pkt_set_random_id(packet);
	question->id = ldns_pkt_id(packet);
	status = ldns_pkt_tsig_sign(packet, key->title, key->secret,
	    UPDATE_FUDGE, config_algorithm(key), NULL);
	if (status == LDNS_STATUS_OK)
		status =
		    ldns_pkt2wire(&question->wire, packet, &question->size);
	if (status == LDNS_STATUS_OK)
		question->mac = ldns_rdf_clone(
		    ldns_rr_rdf(ldns_pkt_tsig(packet), TSIG_MAC));
	if (status == LDNS_STATUS_OK && question->mac &&
	    question->size <= LDNS_MAX_PACKETLEN)
		return 0;
	*why = status != LDNS_STATUS_OK ? ldns_get_errorstr_by_id(status)
					: "the message is too large";
	update_question_free(question);
	return -1;
}

int
update_ask(struct update_question *question, const struct config_zone *zone,
    ldns_rr_type type, const char **why)
{
	ldns_rdf *name = ldns_rdf_clone(zone->apex);
	ldns_pkt *packet =
	    name ? ldns_pkt_query_new(name, type, LDNS_RR_CLASS_IN, 0) : NULL;
	int result;

	*question = (struct update_question){ 0 };
	if (!packet) {
		ldns_rdf_deep_free(name);
		*why = "out of memory";
		return -1;
	}
	result = finish(question, zone, packet, why);
	ldns_pkt_free(packet);
	return result;
}

/* A record without data: what sections 2.4 and 2.5 of RFC 2136 ask with. */
static bool
push_empty(ldns_rr_list *list, const ldns_rdf *owner, ldns_rr_type type,
    ldns_rr_class class)
{
	ldns_rr *rr = ldns_rr_new();
	ldns_rdf *copy = ldns_rdf_clone(owner);

	if (!rr || !copy) {
		ldns_rr_free(rr);
		ldns_rdf_deep_free(copy);
		return false;
	}
	ldns_rr_set_owner(rr, copy);
	ldns_rr_set_type(rr, type);
	ldns_rr_set_class(rr, class);
	ldns_rr_set_ttl(rr, 0);
	ldns_rr_set_rd_count(rr, 0);
	return ldns_rr_list_push_rr(list, rr);
}

static bool
push_copy(ldns_rr_list *list, const ldns_rr *rr)
{
	ldns_rr *copy = ldns_rr_clone(rr);

	return copy && ldns_rr_list_push_rr(list, copy);
}

/* All deletions, then all additions, for a CNAME may make room for others. */
static bool
push_changes(ldns_rr_list *list, const struct rrsets *current,
    const struct rrsets *target)
{
	struct rrsets_pair pair = rrsets_pair(current, target);
	bool good = true;

	while (good && rrsets_pair_next(&pair)) {
		const ldns_rr *rr;

		if (pair.a_begin == pair.a_end ||
		    rrsets_pair_changes(&pair) == 0)
			continue;
		rr = current->rrs[pair.a_begin];
		good = push_empty(list, ldns_rr_owner(rr), ldns_rr_get_type(rr),
		    LDNS_RR_CLASS_ANY);
	}
	pair = rrsets_pair(current, target);
	while (good && rrsets_pair_next(&pair)) {
		if (rrsets_pair_changes(&pair) == 0)
			continue;
		for (size_t i = pair.b_begin; good && i < pair.b_end; i++)
			good = push_copy(list, target->rrs[i]);
	}
	return good;
}

/* RFC 2136 sections 2.4.2 and 2.4.3. */
static bool
push_prerequisites(ldns_rr_list *list, const struct config_zone *zone,
    const struct rrsets *epochs)
{
	bool good = true;

	if (epochs->count == 0)
		return push_empty(list, zone->epoch_owner, LDNS_RR_TYPE_TXT,
		    LDNS_RR_CLASS_NONE);
	for (size_t i = 0; good && i < epochs->count; i++) {
		good = push_copy(list, epochs->rrs[i]);
		if (good)
			ldns_rr_set_ttl(ldns_rr_list_rr(list, i), 0);
	}
	return good;
}

int
update_change(struct update_question *question, const struct config_zone *zone,
    const struct rrsets *current, const struct rrsets *target,
    const struct rrsets *epochs, const ldns_rr *epoch, const char **why)
{
	ldns_rr_list *required = ldns_rr_list_new();
	ldns_rr_list *changes = ldns_rr_list_new();
	ldns_rr_list *more = ldns_rr_list_new();
	ldns_rdf *name = ldns_rdf_clone(zone->apex);
	ldns_pkt *packet = NULL;
	int result = -1;

	*question = (struct update_question){ 0 };
	*why = "out of memory";
	if (!required || !changes || !more || !name)
		goto out;
	if (!push_prerequisites(required, zone, epochs) ||
	    !push_changes(changes, current, target) ||
	    !push_empty(changes, zone->epoch_owner, LDNS_RR_TYPE_TXT,
		LDNS_RR_CLASS_ANY) ||
	    !push_copy(changes, epoch))
		goto out;
	packet = ldns_update_pkt_new(
	    name, LDNS_RR_CLASS_IN, required, changes, more);
	if (!packet)
		goto out;
	name = NULL;
	result = finish(question, zone, packet, why);
out:
	ldns_pkt_free(packet);
	ldns_rdf_deep_free(name);
	ldns_rr_list_deep_free(required);
	ldns_rr_list_deep_free(changes);
	ldns_rr_list_deep_free(more);
	return result;
}

/* What the server says is wrong with our signature; NULL for nothing. */
static const char *
signature_fault(const ldns_pkt *packet)
{
	const ldns_rr *tsig = ldns_pkt_tsig(packet);

	if (!tsig || ldns_rr_rd_count(tsig) != TSIG_FIELDS)
		return NULL;
	switch (ldns_rdf2native_int16(ldns_rr_rdf(tsig, TSIG_ERROR))) {
	case TSIG_BADSIG:
		return "the server has another secret for our key (BADSIG)";
	case TSIG_BADKEY:
		return "the server does not know our key (BADKEY)";
	case TSIG_BADTIME:
		return "the server's clock differs too much from ours (BADTIME)";
	case TSIG_BADTRUNC:
		return "the server wants a longer signature (BADTRUNC)";
	default:
		return NULL;
	}
}

static const char *
rcode_fault(const ldns_pkt *packet)
{
	switch ((int)ldns_pkt_get_rcode(packet)) {
	case LDNS_RCODE_FORMERR:
		return "the server finds the message malformed (FORMERR)";
	case LDNS_RCODE_SERVFAIL:
		return "the server has failed (SERVFAIL)";
	case LDNS_RCODE_NXDOMAIN:
		return "the server does not know the zone (NXDOMAIN)";
	case LDNS_RCODE_NOTIMPL:
		return "the server does not do that (NOTIMP)";
	case LDNS_RCODE_REFUSED:
		return "the server refuses it: its rules forbid it to our key (REFUSED)";
	case LDNS_RCODE_NOTAUTH:
		return "the server is not authoritative for the zone (NOTAUTH)";
	case LDNS_RCODE_NOTZONE:
		return "the server says a name lies outside the zone (NOTZONE)";
	default:
		return "the server answers with an unexpected code";
	}
}

/* ldns takes name, class and algorithm for granted. */
static bool
is_key(const ldns_rr *tsig, const struct config_key *key)
{
	ldns_rdf *name = ldns_dname_new_frm_str(key->title);
	ldns_rdf *algorithm = ldns_dname_new_frm_str(config_algorithm(key));
	bool same =
	    name && algorithm && ldns_rr_get_class(tsig) == LDNS_RR_CLASS_ANY &&
	    ldns_rr_ttl(tsig) == 0 &&
	    ldns_dname_compare(name, ldns_rr_owner(tsig)) == 0 &&
	    ldns_rdf_get_type(ldns_rr_rdf(tsig, 0)) == LDNS_RDF_TYPE_DNAME &&
	    ldns_dname_compare(algorithm, ldns_rr_rdf(tsig, 0)) == 0;

	ldns_rdf_deep_free(name);
	ldns_rdf_deep_free(algorithm);
	return same;
}

/* RFC 8945 section 5.3. The MAC becomes the one the next answer builds on. */
static const char *
verify(struct update_question *question, ldns_pkt *packet, struct slice wire,
    time_t now)
{
	const struct config_key *key = question->key;
	const uint8_t *octets = (const uint8_t *)wire.data;
	ldns_rr *tsig = ldns_pkt_tsig(packet);
	const uint8_t *moment;
	uint64_t seconds = 0;
	ldns_rdf *mac;
	bool good;

	if (!tsig || ldns_rr_rd_count(tsig) != TSIG_FIELDS ||
	    ldns_rdf_size(ldns_rr_rdf(tsig, TSIG_TIME)) != 6)
		return "the server's answer is not signed";
	if (!is_key(tsig, key))
		return "the server's answer is signed by another key";
	mac = ldns_rdf_clone(ldns_rr_rdf(tsig, TSIG_MAC));
	moment = ldns_rdf_data(ldns_rr_rdf(tsig, TSIG_TIME));
	for (int i = 0; i < 6; i++)
		seconds = seconds << 8 | moment[i];
	good = mac &&
	       (question->answered
		       ? ldns_pkt_tsig_verify_next(packet, octets, wire.size,
			     key->title, key->secret, question->mac, 1)
		       : ldns_pkt_tsig_verify(packet, octets, wire.size,
			     key->title, key->secret, question->mac));
	if (!good || seconds + UPDATE_FUDGE < (uint64_t)now ||
	    seconds > (uint64_t)now + UPDATE_FUDGE) {
		ldns_rdf_deep_free(mac);
		return good ? "the server's answer is signed at another time"
			    : "the signature of the server's answer is wrong";
	}
	ldns_rdf_deep_free(question->mac);
	question->mac = mac;
	question->answered = true;
	return NULL;
}

enum update_result
update_answer(struct update_question *question, struct slice wire, time_t now,
    ldns_pkt **answer, const char **why)
{
	enum update_result result = UPDATE_BAD;
	ldns_pkt *packet = NULL;
	ldns_pkt_rcode code;

	*answer = NULL;
	if (ldns_wire2pkt(&packet, (const uint8_t *)wire.data, wire.size) !=
	    LDNS_STATUS_OK) {
		*why = "the server's answer is malformed";
		return UPDATE_BAD;
	}
	code = ldns_pkt_get_rcode(packet);
	if (!ldns_pkt_qr(packet) || ldns_pkt_id(packet) != question->id ||
	    ldns_pkt_get_opcode(packet) != question->opcode) {
		*why = "the server answers another question";
		goto out;
	}
	*why = signature_fault(packet);
	if (*why)
		goto out;
	/* An error need not be signed: it only makes us try again. */
	if (code != LDNS_RCODE_NOERROR && code != LDNS_RCODE_NXRRSET &&
	    code != LDNS_RCODE_YXRRSET) {
		*why = rcode_fault(packet);
		goto out;
	}
	*why = verify(question, packet, wire, now);
	if (*why)
		goto out;
	if (code != LDNS_RCODE_NOERROR) {
		*why = "another publisher was faster";
		result = UPDATE_OVERTAKEN;
		goto out;
	}
	*answer = packet;
	return UPDATE_GOOD;
out:
	ldns_pkt_free(packet);
	return result;
}
