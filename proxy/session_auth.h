/*
 * session_auth: is it who it says?
 *
 * Where the listener says `relay`, the back end decides; where it says
 * `verify`, an auth process does (verdict.h), before anything is known of
 * where the account is. What comes of a no stands in session_failure.h.
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

/* Does an auth process speak GSSAPI with the back end, for this login? */
bool session_initiates(const struct session *session);
/* Routed: has it begin. */
void session_initiate(struct session *session);
/* The back end has said something (login->back.challenge). */
void session_go_on_initiating(struct session *session);

/* What a verdict gave, or is still to give; it is no failure of the user's. */
void session_forget_verdict(struct session *session);

#endif
