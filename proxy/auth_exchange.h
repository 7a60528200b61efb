/*
 * auth_exchange: what an auth process is asked, until it is answered, for the
 * files that carry it along: auth.c (life, passwords), auth_initiate.c (GSSAPI
 * with clients and back ends).
 *
 * What a client gave to prove who it is may be kept under its exchange's id
 * (auth_protocol.h), for as long as a login may take.
 */
#ifndef PROXY_AUTH_EXCHANGE_H
#define PROXY_AUTH_EXCHANGE_H

#include <sys/queue.h>

#include <event2/event.h>

#include "proxy/auth.h"
#include "proxy/auth_bind.h"
#include "proxy/auth_gss.h"
#include "proxy/auth_protocol.h"
#include "proxy/auth_ticket.h"
#include "proxy/credential.h"
#include "proxy/kerberos.h"
#include "proxy/user_ticket.h"

struct auth {
	const struct auth_settings *settings;
	const struct config *config;
	struct log log;
	struct event_base *base;
	struct event *parent_event;
	struct bind_pool *pool;
	/* NULL where Kerberos is not set up */
	struct fetches *fetches;
	struct tickets *tickets;
	struct user_tickets *user_tickets;
	krb5_context kerberos;
	struct buf *passwords; /* owned: one for each of config.logins */
	LIST_HEAD(, auth_channel) channels;
	bool retired;
};

/* A relay, as long as it lives. */
struct auth_channel {
	LIST_ENTRY(auth_channel) link;
	struct auth *auth; /* borrowed */
	int fd;            /* owned */
	struct event *event;
	LIST_HEAD(, auth_exchange) exchanges;
};

/* A request that is not answered yet, or of which something is kept. */
struct auth_exchange {
	LIST_ENTRY(auth_exchange) link;
	struct auth_channel *channel; /* borrowed */
	uint32_t id;
	struct buf name, authorise;       /* owned */
	const struct config_login *login; /* NULL: with the password */
	struct bind_query *query;         /* owned */
	struct gss_exchange *gss;         /* owned */
	struct buf server;                /* owned: principal of the back end */
	struct ticket_waiter *ticket;     /* owned */
	struct user_ticket_waiter *user_ticket; /* owned */
	struct credential credential; /* owned, until the first step is done */

	/* What the client gave. */
	bool is_proof; /* KEPT is the answer, if it is a good one */
	bool verified; /* and the KDC need not say whether it is */
	struct kerberos_question proof; /* owned, without a way and a server */
	struct buf service;  /* owned: principal that the evidence is for */
	struct event *timer; /* owned, once it is KEPT */
};

struct auth_exchange *auth_exchange_new(
    struct auth_channel *channel, const struct auth_request *request);
void auth_exchange_free(struct auth_exchange *exchange);
/* NULL: there is none. */
struct auth_exchange *auth_exchange_find(
    const struct auth_channel *channel, uint32_t id);
/* Answered with KEPT: it stays until CANCEL, or until no login lasts longer. */
void auth_exchange_keep(struct auth_exchange *exchange);

void auth_answer(
    struct auth_channel *channel, const struct auth_answer *answer);
void auth_refuse(struct auth_channel *channel, uint32_t id,
    enum auth_verdict verdict, const char *why);

#endif
