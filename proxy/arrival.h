/*
 * arrival: a connection until it is known whose it is.
 *
 * Where a listener is behind load balancers, each connection begins with a
 * header that names the client (proxy_header.h), and only addresses in
 * proxy_networks may connect at all. Everywhere else the client is who
 * connected. Whoever may stay becomes a session or a delivery.
 */
#ifndef PROXY_ARRIVAL_H
#define PROXY_ARRIVAL_H

#include "proxy/relay.h"

struct arrival;

/* A new connection; takes the descriptor, whatever happens. */
void arrival_accept(struct relay *relay, const struct listener *listener,
    int fd, const union address *peer);
/* Closes all that still have to say who they are. */
void arrival_stop_all(struct relay *relay);

#endif
