/*
 * auth_fetch: a process for each question to a KDC.
 *
 * Forked for one question (kerberos.h), it sends the answer back and ends; one
 * that finds the KDC silent is ended after a set time. There are so many of
 * them at once, and what exceeds them waits in line. One thread.
 */
#ifndef PROXY_AUTH_FETCH_H
#define PROXY_AUTH_FETCH_H

#include "proxy/kerberos.h"

struct event_base;
struct fetches;
struct fetch;

/* seconds: that a process has; processes: that there are at once. NULL
 * without memory. */
struct fetches *fetches_new(
    struct event_base *base, long seconds, long processes);
/* Without a word to those who wait. */
void fetches_free(struct fetches **fetches);

/* GOOD: text is the ticket's octets, secret; else why. It lives for the call.
 */
typedef void fetch_done(
    void *context, enum kerberos_result result, struct slice text);

/*
 * `done` is called once, from the loop. The question is borrowed until then.
 * urgent: does not wait in line.
 */
struct fetch *fetch_begin(struct fetches *fetches, bool urgent,
    const struct kerberos_question *question, fetch_done *done, void *context);
/* `done` will not be called. */
void fetch_cancel(struct fetch **fetch);

#endif
