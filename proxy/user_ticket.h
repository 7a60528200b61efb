/*
 * user_ticket: users' own tickets for back ends.
 *
 * Got by what the user gave (kerberos.h), kept in memory for a short time, so
 * many of them at most; logins that need the same one wait for it together. One
 * is found again only by who gave the same password, or who has proved as the
 * same principal, to this process, and while the account is as it was: each
 * question comes with a stamp of the account, and another stamp drops what was
 * kept. One thread.
 */
#ifndef PROXY_USER_TICKET_H
#define PROXY_USER_TICKET_H

#include "proxy/auth_ticket.h"
#include "proxy/kerberos.h"

struct event_base;
struct user_tickets;
struct user_ticket_waiter;

/* count: that are kept; seconds: for how long. NULL without memory. */
struct user_tickets *user_tickets_new(struct event_base *base,
    struct fetches *fetches, struct tickets *own, long count, long seconds);
/* Without a word to those who wait. */
void user_tickets_free(struct user_tickets **tickets);

/* GOOD: text is the ticket's octets, secret; else why. It lives for the call.
 */
typedef void user_ticket_done(
    void *context, enum kerberos_result result, struct slice text);

/*
 * The question is copied; for EVIDENCE its keytab has the key of `service`, the
 * principal that the client showed a ticket for, and its TGT is got here.
 * `done` is called once, perhaps at once; NULL when it was.
 */
struct user_ticket_waiter *user_ticket_get(struct user_tickets *tickets,
    const struct kerberos_question *question, const char *service,
    uint64_t stamp, user_ticket_done *done, void *context);
/* `done` will not be called. */
void user_ticket_cancel(struct user_ticket_waiter **waiter);

#endif
