/*
 * session_back: from credentials to a back end that has accepted them: the
 * account is routed, the server's name resolved, each of its addresses tried,
 * TLS begun, and the back end's protocol spoken.
 */
#ifndef PROXY_SESSION_BACK_H
#define PROXY_SESSION_BACK_H

#include "proxy/session_state.h"

/* What the back end is to be told is complete. */
void session_log_in(struct session *session);

/* Steps of the table of states. */
void session_connected(struct session *session);
void session_greeted(struct session *session);
void session_back_tls(struct session *session);
void session_back_speaks(struct session *session);

/* login->timer: the guard has passed, or a connection attempt took too long. */
void session_login_timer(evutil_socket_t fd, short what, void *context);

/* Leaves the back end, whatever the login was doing with it. */
void session_leave_back(struct session *session);

/* The client answered the back end's challenge. */
void session_respond(struct session *session);

/* What is known of the back end is where it is: goes there. */
void session_resolve(struct session *session);
/* The name that back ends know the account by. */
struct slice session_back_user(const struct session *session);
/* The same answer, made by an auth process. */
void session_answer_back(struct session *session, struct slice message);

#endif
