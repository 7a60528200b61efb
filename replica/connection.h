/*
 * connection: one connection to a directory server, on the event loop.
 *
 * Resolving, connecting, TLS and binding are asynchronous and bounded by
 * timeout_ms together. Afterwards the owner sends what it likes with
 * connection_ldap() and gets every answer as a message.
 *
 * Callbacks come from the loop, never from within a call of ours. Only in
 * `failed` and outside of callbacks may the owner free the connection. One
 * thread.
 */
#ifndef REPLICA_CONNECTION_H
#define REPLICA_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>

#include <ldap.h>

#include "lib/slice.h"
#include "replica/connection_tls.h"

struct event_base;
struct evdns_base;

enum connection_bind {
	CONNECTION_SIMPLE,
	CONNECTION_EXTERNAL /* SASL EXTERNAL: peer credentials, certificate */
};

/* All borrowed; outlives the connection. */
struct connection_options {
	const char *url; /* ldap, ldaps, ldapi */
	enum connection_bind bind;
	const char *bind_dn; /* empty: anonymous */
	struct slice password;
	bool starttls;
	struct connection_tls_files tls_files;
	int timeout_ms;
};

struct connection_events {
	void (*ready)(void *context);
	/* The message is the connection's. */
	void (*message)(void *context, LDAPMessage *message);
	/* All that had arrived was handed out. */
	void (*turn)(void *context);
	/* It is over; nothing else is called afterwards. why: valid until it
	 * is freed */
	void (*failed)(void *context, const char *why);
};

struct connection;

/* NULL without memory; all other failures are told by `failed`. */
struct connection *connection_new(struct event_base *base,
    struct evdns_base *dns, const struct connection_options *options,
    const struct connection_events *events, void *context);
void connection_free(struct connection **connection);

/* For sending, once ready. */
LDAP *connection_ldap(struct connection *connection);
/* Ends it as if it had failed so; the first reason counts. */
void connection_fail(struct connection *connection, const char *why);
/* Hands out what has arrived, without waiting for the loop. */
void connection_poll(struct connection *connection);
/* When something last arrived, clock_monotonic_ms(); 0 for never. */
long long connection_heard_ms(const struct connection *connection);

/* NULL when the URL is one for us, else what is wrong with it (static). */
const char *connection_check_url(const char *url);

#endif
