/*
 * session_failure: what comes of a login that is refused.
 *
 * A wrong guess is counted for the address and the account (failures.h), logged
 * at once and answered later: a user who does not exist looks as one with
 * another password.
 */
#ifndef PROXY_SESSION_FAILURE_H
#define PROXY_SESSION_FAILURE_H

#include "proxy/session_state.h"

/*
 * Wrong: counted and logged now, answered when its time has come. Until then
 * nothing is held but the session itself. text: for the client, "" for the
 * usual one. passed_ms: that it took to find out, or would have taken.
 */
void session_fail(struct session *session, enum refusal_kind kind,
    struct slice text, const char *why, int64_t passed_ms);
/* There is no such user, or it is as if there were none. */
void session_fail_unknown(struct session *session, const char *why);
/* Too many guesses: it is not looked at. */
void session_fail_blocked(struct session *session, const char *why);
bool session_is_address_blocked(const struct session *session);
/* Too many guesses at the account: fails the login, and says true. */
bool session_is_account_blocked(struct session *session);
/* The back end said no: is it the user's fault? */
void session_take_back_refusal(struct session *session);
/* The time has come to answer a failed login. */
void session_end_penalty(struct session *session);

#endif
