/*
 * front_sasl: an exchange of SASL with a client, as far as it is the same in
 * every protocol: which mechanisms are offered, base64, cancelling. How a
 * challenge is framed is the protocol's business. Pure.
 */
#ifndef PROXY_FRONT_SASL_H
#define PROXY_FRONT_SASL_H

#include "proxy/front.h"

/* Octets of a challenge in base64, with something to spare. */
#define FRONT_SASL_CHALLENGE_SIZE_MAX 16384

enum front_sasl {
	FRONT_SASL_CHALLENGE, /* the challenge is to be sent, a response comes
			       */
	FRONT_SASL_LOGIN,     /* credentials are complete: FRONT_LOGIN */
	FRONT_SASL_RESPONSE,  /* FRONT_RESPONSE */
	FRONT_SASL_CANCELLED,
	FRONT_SASL_NOT_BASE64,
	FRONT_SASL_FAILED /* see why */
};

/* 0, or -1 for a mechanism that is not offered to this client. */
int front_sasl_find(const struct front *front, struct slice name,
    enum sasl_mechanism *mechanism);
/* Adds prefix and name of each that is offered. */
void front_sasl_list(
    const struct front *front, const char *prefix, struct buf *out);

/*
 * All set front->in_sasl.
 *
 * Begins an exchange. initial: NULL for no initial response, else its base64,
 * "=" for an empty one. On CHALLENGE its base64 is added to challenge; on
 * FAILED *why is static text.
 */
enum front_sasl front_sasl_begin(struct front *front,
    enum sasl_mechanism mechanism, const struct slice *initial,
    struct buf *challenge, const char **why);
/* text: base64 of a response, or "*" to cancel. */
enum front_sasl front_sasl_respond(struct front *front, struct slice text,
    struct buf *challenge, const char **why);

/* A challenge of the back end's, in base64. */
void front_sasl_challenge(
    struct front *front, struct slice challenge, struct buf *out);

#endif
