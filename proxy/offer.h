/*
 * offer: what all back ends of a service have in common, for fronts that must
 * say before login what holds after it.
 *
 * POP3 (CAPA), submission (EHLO) and ManageSieve announce to strangers what
 * only the user's server can do, and the user is not known yet. So a front
 * offers what every back end offers. Pure.
 *
 * Capabilities are lines "KEYWORD PARAMETERS", a LF after each, whatever the
 * protocol's own form is. Only those that offer.c has a row for are kept:
 * others are the proxy's own business, or nobody knows how to join them.
 */
#ifndef PROXY_OFFER_H
#define PROXY_OFFER_H

#include <stdbool.h>

#include "lib/buf.h"
#include "lib/service.h"

#define OFFER_SIZE_MAX 8192 /* octets of the lines of one service */

struct offers {
	/* owned; empty: nothing is known, offer what needs no back end */
	struct buf lines[SERVICE_KIND_COUNT];
	/* bits 1 << enum sasl_mechanism that every back end takes */
	unsigned mechanisms[SERVICE_KIND_COUNT];
};

void offers_init(struct offers *offers);
void offers_free(struct offers *offers);

/* Is there anything to know of this service's back ends? */
bool offer_is_used(enum service_kind kind);

/*
 * Keeps of `common` what `lines` offers as well. `first`: takes all of them
 * instead. 0; or -1 when it does not fit, with common as it was.
 */
int offer_join(
    enum service_kind kind, struct buf *common, struct slice lines, bool first);

/* The parameters of a keyword; false when it is not offered. */
bool offer_find(struct slice lines, const char *keyword, struct slice *words);

/* What a back end's own lines say of mechanisms ("AUTH PLAIN ...", "SASL PLAIN
 * ..."): a bit 1 << enum sasl_mechanism for each that is spoken here. */
unsigned offer_mechanisms(struct slice lines);

/* Takes the next line off *lines; false at the end. */
bool offer_next(
    struct slice *lines, struct slice *keyword, struct slice *words);

#endif
