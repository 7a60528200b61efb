/*
 * learn: asks the back ends what they can do, for offer.h.
 *
 * Each relay asks every server that the map of the cell has for a service that
 * must announce its back ends' capabilities: at start, when the map changes,
 * and every few minutes. It asks as a client that does not log in, by the same
 * back machines as sessions. A server that cannot be asked offers nothing and
 * takes nothing away until it answers.
 */
#ifndef PROXY_LEARN_H
#define PROXY_LEARN_H

#include <stdbool.h>

struct learner;
struct relay;

/* Borrows the relay, and keeps its `offers`. Never NULL. */
struct learner *learner_new(struct relay *relay);
void learner_free(struct learner **learner);
/* Servers are being asked; relay_learned() says when none is any more. */
bool learner_is_asking(const struct learner *learner);
/* Once a second: asks whom it is time to ask. */
void learner_tick(struct learner *learner);

#endif
