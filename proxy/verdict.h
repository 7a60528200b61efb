/*
 * verdict: a relay asks auth processes about a login.
 *
 * Never waits: a question is one datagram to one of the auth processes, taken
 * in turn; answers come from the loop. A process that dies leaves its
 * questions to the others, or to the one that takes its place; an exchange
 * that went on for longer than one message ends with it. What is not answered
 * within auth.deadline is answered with UNAVAILABLE here, and so is what goes
 * beyond auth.requests.
 *
 * A query that was answered with KEPT stays, idle, and stands for what its auth
 * process keeps; it counts as under way until it is cancelled.
 */
#ifndef PROXY_VERDICT_H
#define PROXY_VERDICT_H

#include <event2/event.h>

#include "proxy/auth_protocol.h"
#include "proxy/config.h"

struct verdicts;
struct verdict_query;

struct verdicts *verdicts_new(
    struct event_base *base, const struct config_auth *config);
/* Without a word to those who wait. */
void verdicts_free(struct verdicts **verdicts);

/* Takes a channel to an auth process, which the parent sent. */
void verdicts_add(struct verdicts *verdicts, int fd);

/*
 * The answer and its text live for the call. Unless it is CHALLENGE or KEPT the
 * query is gone.
 */
typedef void verdict_done(void *context, const struct auth_answer *answer);

/*
 * Asks; request->id is set here, and its text copied. `done` is called from
 * the loop. kept: what the request refers to; NULL: nothing. Its process alone
 * is asked.
 */
struct verdict_query *verdict_ask(struct verdicts *verdicts,
    const struct verdict_query *kept, const struct auth_request *request,
    verdict_done *done, void *context);
/* Goes on after a CHALLENGE. */
void verdict_respond(struct verdict_query *query, struct slice message);
/* `done` will not be called. */
void verdict_cancel(struct verdict_query **query);

#endif
