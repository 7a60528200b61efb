/*
 * session_front: the client's side of a session until login: TLS, commands,
 * and what it is told when a login fails.
 */
#ifndef PROXY_SESSION_FRONT_H
#define PROXY_SESSION_FRONT_H

#include "proxy/session_state.h"

/* TLS from here on: with implicit TLS at once, else after STARTTLS. */
void session_begin_front_tls(struct session *session);

/* Steps of the table of states. */
void session_front_tls(struct session *session);
void session_front_speaks(struct session *session);

/*
 * Says no to a login and lets the client try again. text: for the client, as
 * front.h has it for this kind; why: static text, for the log.
 */
void session_refuse(struct session *session, enum refusal_kind kind,
    struct slice text, const char *why);
void session_refuse_unavailable(
    struct session *session, const char *text, const char *why);

/* Says no, without a word in the log: somebody had one. */
void session_say_refusal(
    struct session *session, enum refusal_kind kind, struct slice text);

/* Takes up from the loop, not from here, what the client sent ahead. */
void session_resume_front(struct session *session);

#endif
