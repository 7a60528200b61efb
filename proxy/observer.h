/*
 * observer: probes every server, proxy and other host of the cell at intervals,
 * keeps what it holds of them (observe.h), and tells the auth process.
 *
 * Part of the health process. One service of each kind that a host has is
 * probed, the first of the kind: by its greeting, and now and then as deep as
 * an account or its certificate allow. A server is logged in to each time, by
 * one service, IMAP if it has it. Itself the proxy leaves to others.
 *
 * Where a proxy or other host has addresses of both families each service is
 * connected to by each of them as well, and when one family fails altogether
 * while the other works that is said, too. A service that has a URL for each
 * family is up while one of them is.
 */
#ifndef PROXY_OBSERVER_H
#define PROXY_OBSERVER_H

#include <event2/event.h>
#include <jansson.h>
#include <openssl/ssl.h>

#include "daemon/log.h"
#include "proxy/config.h"

struct observer;
struct replica;

/*
 * Opens replica, resolver and password; before the jail. NULL with *why. All
 * is borrowed.
 */
struct observer *observer_new(struct event_base *base,
    const struct config *config, SSL_CTX *context, const struct log *log,
    const char **why);
void observer_free(struct observer **observer);
/* Begins; after the jail. */
void observer_start(struct observer *observer);

/* The auth process's channel, owned by the observer from then on. */
void observer_set_auth(struct observer *observer, int fd);
/* A session failed at that server: look at once. */
void observer_hint(struct observer *observer, struct slice server);

/* What it reads; the one replica that a process may have open. Borrowed. */
struct replica *observer_replica(const struct observer *observer);

/* An array of hosts with their services; owned by the caller. */
json_t *observer_describe(const struct observer *observer);

#endif
