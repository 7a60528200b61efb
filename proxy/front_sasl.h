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

/* Adds prefix and name of each mechanism that is offered to this client. */
void front_sasl_list(
    const struct front *front, const char *prefix, struct buf *out);

/*
 * Begins an exchange. initial: NULL for no initial response, else its base64,
 * "=" for an empty one.
 */
enum front_action front_sasl_begin(struct front *front, struct slice name,
    const struct slice *initial, struct buf *out);
/* The same with what stands behind AUTH: a mechanism, or that, a space and an
 * initial response. */
enum front_action front_sasl_begin_line(
    struct front *front, struct slice argument, struct buf *out);
/* text: base64 of a response, or "*" to cancel. */
enum front_action front_sasl_respond(
    struct front *front, struct slice text, struct buf *out);

#endif
