/*
 * auth_ticket: this proxy's own Kerberos tickets, for its back ends and, where
 * it goes there as its users, for KDCs.
 *
 * A ticket that is there is used at once, and replaced in the background before
 * it ends (auth_fetch.h). There is one for each client, server and service,
 * straight from the KDC by the key in the keytab; nothing is kept in files. One
 * thread.
 */
#ifndef PROXY_AUTH_TICKET_H
#define PROXY_AUTH_TICKET_H

#include <gssapi/gssapi.h>

#include "daemon/log.h"
#include "lib/slice.h"

struct fetches;
struct tickets;
struct ticket_waiter;

/* NULL without memory, or when Kerberos is not set up on this host. */
struct tickets *tickets_new(struct fetches *fetches, const struct log *log);
void tickets_free(struct tickets **tickets);

/* Both live for the call. */
struct ticket_held {
	gss_cred_id_t credential;
	struct slice octets; /* secret (credential.h) */
};

/*
 * Calls `done`, perhaps at once, with what initiates as `client` towards
 * `server` (principals), or with NULL and why. NULL when it was called already.
 */
typedef void ticket_done(
    void *context, const struct ticket_held *held, const char *why);
struct ticket_waiter *ticket_get(struct tickets *tickets, const char *keytab,
    const char *client, const char *server, ticket_done *done, void *context);
/* `done` will not be called. */
void ticket_cancel(struct ticket_waiter **waiter);

#endif
