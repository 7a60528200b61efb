#include "proxy/session_front.h"

#include <string.h>

#include "proxy/session_auth.h"
#include "proxy/session_back.h"
#include "proxy/tls.h"

void
session_begin_front_tls(struct session *session)
{
	struct login *login = session->login;

	/* What came before TLS is not protected by it: none of it survives. */
	buf_wipe(&login->front_in);
	if (login->front_out.size > 0) {
		session_end(session, "client does not read before TLS");
		return;
	}
	if (stream_tls_server(
		&session->front, session->relay->settings->front_context) < 0) {
		session_end(session, "out of memory");
		return;
	}
	session->front.greets =
	    session->listener->config->tls == SERVICE_TLS_IMPLICIT;
	if (session->listener->config->tls == SERVICE_TLS_STARTTLS)
		login->phase_us = relay_now_us();
	tls_front_expect(session->front.ssl, session->listener->config->service,
	    session->listener->config->client_certificate);
	session_enter(session, SESSION_FRONT_TLS);
	session_arm(session);
}

void
session_front_tls(struct session *session)
{
	struct login *login = session->login;

	switch (stream_handshake(&session->front)) {
	case STREAM_AGAIN:
		session_arm(session);
		return;
	case STREAM_END:
	case STREAM_FAILED:
		relay_count(
		    session->relay, session->listener, STATS_TLS_FAILED, 1);
		session_end(session, stream_why(&session->front));
		return;
	case STREAM_DONE:
		break;
	}
	session_end_phase(session, STATS_PHASE_TLS);
	login->front.tls = true;
	session_offer_external(session);
	session_enter(session, SESSION_FRONT);
	if (session->listener->config->tls == SERVICE_TLS_IMPLICIT)
		front_greet(&login->front, &login->front_out);
	else
		front_secured(&login->front, &login->front_out);
	if (!stream_is_empty(&session->front)) {
		/* The client sent its first command with the end of the
		 * handshake. */
		session_front_speaks(session);
		return;
	}
	if (!session_flush_front(session))
		return;
	wire_push(&session->front.wire);
	session_arm(session);
}

/* An exchange that the back end is in came to nothing. */
static void
abandon(struct session *session)
{
	session->login->challenged = false;
	session_forget_verdict(session);
	credentials_wipe(&session->login->front.credentials);
	session_leave_back(session);
}

/* Shows the machine its input, and does what it says. */
static void
feed_front(struct session *session)
{
	struct login *login = session->login;
	struct slice input = buf_slice(&login->front_in);
	size_t before = input.size;
	enum front_action action =
	    front_input(&login->front, &input, &login->front_out);

	buf_consume(&login->front_in, before - input.size);
	switch (action) {
	case FRONT_MORE:
		/* The client gave an exchange up that the back end is in. */
		if (login->challenged && !login->front.in_sasl)
			abandon(session);
		if (session_flush_front(session))
			session_arm(session);
		return;
	case FRONT_RESPONSE:
		session_take_response(session);
		return;
	case FRONT_STARTTLS:
		if (session_flush_front(session))
			session_begin_front_tls(session);
		return;
	case FRONT_LOGIN:
		session_authenticate(session);
		return;
	case FRONT_CLOSE:
		session_close(session, login->front.closed_why);
		return;
	}
}

void
session_front_speaks(struct session *session)
{
	struct login *login = session->login;

	if (!session_flush_front(session))
		return;
	if (login->resumed) {
		login->resumed = false;
		feed_front(session);
		if (session->state != SESSION_FRONT ||
		    !stream_has_pending(&session->front))
			return;
	}
	do {
		switch (stream_fill(
		    &session->front, &login->front_in, SESSION_READ_CHUNK)) {
		case STREAM_DONE:
			feed_front(session);
			break;
		case STREAM_AGAIN:
			session_arm(session);
			return;
		case STREAM_END:
			session_end(session, "client closed before login");
			return;
		case STREAM_FAILED:
			session_end(session, stream_why(&session->front));
			return;
		}
	} while (session->state == SESSION_FRONT &&
		 stream_has_pending(&session->front));
}

void
session_resume_front(struct session *session)
{
	struct login *login = session->login;

	login->resumed =
	    login->front_in.size > 0 || stream_has_pending(&session->front);
	if (login->resumed)
		event_active(&session->front_event, EV_READ, 1);
}

void
session_say_refusal(
    struct session *session, enum refusal_kind kind, struct slice text)
{
	struct login *login = session->login;
	struct refusal refusal = { kind, text };

	front_refuse(&login->front, &refusal, &login->front_out);
	credentials_wipe(&login->front.credentials);
	login->challenged = false;
	session_forget_verdict(session);
	session_leave_back(session);
	session_enter(session, SESSION_FRONT);
	if (!session_flush_front(session))
		return;
	session_arm(session);
	session_resume_front(session);
}

void
session_refuse(struct session *session, enum refusal_kind kind,
    struct slice text, const char *why)
{
	struct login *login = session->login;
	struct log_line line = log_line(LOG_LEVEL_INFO, "login_refused");
	char address[INET6_ADDRSTRLEN];

	address_text(&session->client, address, sizeof(address));
	log_word(&line, "session", session->id);
	log_word(&line, "listener", session->listener->config->title);
	log_word(&line, "client", address);
	log_text(&line, "user", credentials_owner(&login->front.credentials));
	if (login->route.server[0])
		log_string(&line, "server", login->route.server);
	log_string(&line, "why", why);
	if (kind == REFUSAL_BACK)
		log_text(&line, "reply", text);
	log_send(&session->relay->log, &line);
	session_say_refusal(session, kind, text);
}

void
session_refuse_unavailable(
    struct session *session, const char *text, const char *why)
{
	relay_count(session->relay, session->listener, STATS_UNAVAILABLE, 1);
	session_refuse(session, REFUSAL_UNAVAILABLE, slice_from(text), why);
}
