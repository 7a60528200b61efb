/*
 * auth_initiate: GSSAPI with clients, and with back ends as this proxy or as
 * its users.
 *
 * As its user where the login section says so (`as = ticket`): the first of its
 * sources that what the client gave is good for decides how the ticket is got.
 * What the client gave is what this process has seen and kept itself, so that
 * nobody else, a relay included, can name another user.
 */
#ifndef PROXY_AUTH_INITIATE_H
#define PROXY_AUTH_INITIATE_H

#include "proxy/auth_exchange.h"

void auth_take_accept(
    struct auth_channel *channel, const struct auth_request *request);
void auth_take_initiate(
    struct auth_channel *channel, const struct auth_request *request);
/* MORE: takes the exchange a message further; it may be gone afterwards. */
void auth_step(struct auth_exchange *exchange, struct slice message);

#endif
