/*
 * session_relay: a session that is logged in. What either side says is passed
 * on unread, until one of them closes or nothing moves for too long.
 */
#ifndef PROXY_SESSION_RELAY_H
#define PROXY_SESSION_RELAY_H

#include "proxy/session_state.h"

/* Logged in: frees all of the login and passes octets on from now on. */
void session_begin_relay(struct session *session);
/* Either side may be read or written. */
void session_relays(struct session *session);

#endif
