/*
 * delivery: mail from a hub to the users' servers, by LMTP (RFC 2033) or SMTP.
 *
 * Each recipient is placed by itself and asked for at its own server; the
 * message is read once and goes to all servers concerned at the slowest's
 * pace; each recipient gets its own server's answer, in the order of the
 * recipients, and 250 only after the server said so. Nothing is kept here: a
 * message that is not delivered stays with the hub.
 *
 * Deliveries follow their accounts: a recipient that is moved before DATA
 * gets a temporary error; a message that is already on its way may finish
 * within DELIVERY_GRACE of the move.
 */
#ifndef PROXY_DELIVERY_H
#define PROXY_DELIVERY_H

#include <jansson.h>

#include "proxy/relay.h"

#define DELIVERY_GRACE 400 /* ms; well below the guard */

struct delivery;

/* A new client; takes the descriptor, whatever happens. local: where to it
 * connected, as a balancer says it; NULL: here. */
void delivery_accept(struct relay *relay, const struct listener *listener,
    int fd, const union address *client, const union address *local);

/* The relay retires: ends it between two messages. */
void delivery_retire(struct delivery *delivery);
/*
 * The proxy stops: ends it at once; but not a message that the servers may have
 * stored already, whose hub would send it again for want of an answer. That is
 * ended as soon as it is answered.
 */
void delivery_stop(struct delivery *delivery);
struct delivery *delivery_next(struct delivery *delivery);

/* For `who`: a new object, owned by the caller. */
json_t *delivery_describe(const struct delivery *delivery);

#endif
