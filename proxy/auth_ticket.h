/*
 * auth_ticket: this proxy's own Kerberos tickets for its back ends.
 *
 * Getting one may take as long as a silent KDC makes it, and libkrb5 knows no
 * other way than to wait; so a process of its own is forked for each, which
 * sends the ticket back and ends. A ticket that is there is used at once, and
 * replaced in the background before it ends. There is one for each server and
 * service, straight from the KDC by the key in the keytab; nothing is kept in
 * files. One thread.
 */
#ifndef PROXY_AUTH_TICKET_H
#define PROXY_AUTH_TICKET_H

#include <gssapi/gssapi.h>

#include "daemon/log.h"
#include "lib/slice.h"

struct event_base;
struct tickets;
struct ticket_waiter;

/* seconds: how long a ticket may take. NULL without memory, or when Kerberos
 * is not set up on this host. */
struct tickets *tickets_new(
    struct event_base *base, long seconds, const struct log *log);
void tickets_free(struct tickets **tickets);

/*
 * Calls `done`, perhaps at once, with credentials that initiate as `client`
 * towards `server` (principals), or with GSS_C_NO_CREDENTIAL and why. They live
 * for the call. NULL when it was called already.
 */
typedef void ticket_done(
    void *context, gss_cred_id_t credential, const char *why);
struct ticket_waiter *ticket_get(struct tickets *tickets, const char *keytab,
    const char *client, const char *server, ticket_done *done, void *context);
/* `done` will not be called. */
void ticket_cancel(struct ticket_waiter **waiter);

#endif
