/*
 * session: one client, from accept to the last octet.
 *
 * The path: TLS (if implicit) -> the client speaks (front.h) -> its account is
 * routed (route.h) -> the back end's name is resolved (resolve.h) -> connect,
 * TLS, the back end speaks (back.h) -> octets are passed on (pump.h) -> one
 * line in the log. Each stop on it is a state, and session.c has the table of
 * them.
 */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include <jansson.h>

#include "proxy/relay.h"

/* A new client; takes the descriptor, whatever happens. local: where it
 * connected to, NULL for where the socket says. */
void session_accept(struct relay *relay, const struct listener *listener,
    int fd, const union address *client, const union address *local);

/* Its time is up: says so where the protocol can, then ends it. */
void session_time_out(struct session *session);
/* The proxy stops: ends it at once. */
void session_stop(struct session *session);
/* Frees what session_end() left; from the loop alone. */
void session_reap(struct session *session);

/* When it entered its queue, monotonic seconds. */
int64_t session_queued_s(const struct session *session);
struct session *session_next(struct session *session);

/* Shows what it passes on to a trace that wants it, from now on. */
void session_trace(struct session *session);

/* For `who`: a new object, owned by the caller. */
json_t *session_describe(const struct session *session);

#endif
