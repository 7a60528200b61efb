/*
 * session_auth: is it who it says, and what comes of it when not?
 *
 * Where the listener says `relay`, the back end decides; where it says
 * `verify`, an auth process does (verdict.h), before anything is known of
 * where the account is. Either way a wrong guess is counted for the address
 * and the account (failures.h), logged at once and answered later: a user who
 * does not exist looks as one with another password.
 */
#ifndef PROXY_SESSION_AUTH_H
#define PROXY_SESSION_AUTH_H

#include "proxy/session_state.h"

/* The client has given its credentials. */
void session_authenticate(struct session *session);
/* It went on with an exchange. */
void session_take_response(struct session *session);

/* TLS is on: is there a certificate of the client's to log in by? */
void session_offer_external(struct session *session);

/* The back end said no: is it the user's fault? */
void session_take_back_refusal(struct session *session);
/* There is no such user, or it is as if there were none. */
void session_fail_unknown(struct session *session, const char *why);
/* Too many guesses at the account: fails the login, and says true. */
bool session_is_account_blocked(struct session *session);
/* The time has come to answer a failed login. */
void session_end_penalty(struct session *session);

/* Does an auth process speak GSSAPI with the back end, for this login? */
bool session_initiates(const struct session *session);
/* Routed: has it begin. */
void session_initiate(struct session *session);
/* The back end has said something (login->back.challenge). */
void session_go_on_initiating(struct session *session);

/* What a verdict gave, or is still to give; it is no failure of the user's. */
void session_forget_verdict(struct session *session);

#endif
