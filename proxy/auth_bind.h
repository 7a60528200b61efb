/*
 * auth_bind: is that the password? Asked of the directory by simple binds.
 *
 * A pool of connections to each of directory.uris, on the event loop. A
 * connection carries one bind at a time (RFC 4511 section 4.2.1); what finds
 * none waits in a queue. Servers are taken in the order in which they are
 * configured. One that fails, or leaves a bind unanswered for
 * directory.timeout, is left for a moment and its binds are made at the next
 * one; while one of its answers is late, or a connection to it, binds that no
 * connection carries yet go elsewhere. Once each has failed twice it is over.
 * Referrals are not followed. One thread.
 */
#ifndef PROXY_AUTH_BIND_H
#define PROXY_AUTH_BIND_H

#include "daemon/log.h"
#include "lib/buf.h"
#include "proxy/config.h"

struct event_base;
struct bind_pool;
struct bind_query;

enum bind_result {
	BIND_ACCEPTED,
	BIND_REFUSED,    /* wrong, or no such entry */
	BIND_UNAVAILABLE /* nobody can say */
};

/* why: for the log; valid for the call. Called from the loop alone. */
typedef void bind_done(void *context, enum bind_result result, const char *why);

/* password: of directory.bind_dn, where one is configured. NULL without
 * memory. All is borrowed. */
struct bind_pool *bind_pool_new(struct event_base *base,
    const struct config *config, const struct buf *password,
    const struct log *log);
/* Without a word to those who wait. */
void bind_pool_free(struct bind_pool **pool);

/* Copies both texts; NULL when too many wait. `done` is called once. */
struct bind_query *bind_ask(struct bind_pool *pool, struct slice dn,
    struct slice password, bind_done *done, void *context);
/* `done` will not be called. */
void bind_cancel(struct bind_query **query);

#endif
