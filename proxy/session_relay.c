#include "proxy/session_relay.h"

#include <stdlib.h>
#include <string.h>

static void
trace(struct session *session, struct flow *flow, char who, struct slice octets)
{
	struct relay *relay = session->relay;

	if (trace_wants(relay, session->follower.id))
		trace_tell(
		    relay, session->follower.id, who, session->id, octets);
	else
		flow->tap = NULL;
}

static void
on_client_octets(void *context, struct slice octets)
{
	struct session *session = context;

	trace(session, &session->to_back, 'C', octets);
}

static void
on_server_octets(void *context, struct slice octets)
{
	struct session *session = context;

	trace(session, &session->to_front, 'S', octets);
}

void
session_trace(struct session *session)
{
	if (session->state != SESSION_RELAY ||
	    !trace_wants(session->relay, session->follower.id))
		return;
	session->to_back.tap = on_client_octets;
	session->to_front.tap = on_server_octets;
	session->to_back.tap_context = session->to_front.tap_context = session;
}

/* What either side said together with the login's last words. */
static void
trace_first(struct session *session, const struct login *login)
{
	if (LIST_EMPTY(&session->relay->traces) ||
	    !trace_wants(session->relay, session->follower.id))
		return;
	trace(session, &session->to_back, 'C', buf_slice(&login->front_in));
	trace(session, &session->to_front, 'S', buf_slice(&login->back_in));
}

/* Logged in: what is still unsent goes first, all else of the login is freed.
 */
void
session_begin_relay(struct session *session)
{
	struct login *login = session->login;
	struct slice user = login->account.uid.size > 0
				? login->account.uid
				: login->account.address;

	front_accept(&login->front, buf_slice(&login->back.reply),
	    buf_slice(&login->back.untagged), &login->front_out);
	if (login->front_out.failed) {
		session_end(session, "client does not read what it asked for");
		return;
	}
	session->user = strndup(user.data, user.size);
	session->server = strdup(login->route.server);
	session_end_phase(session, STATS_PHASE_LOGIN);
	session->login_ms =
	    (unsigned)(login->phase_us / 1000 - login->asked_ms);
	if (!session->user || !session->server)
		abort();
	session->follower.server = session->server;
	/* All of it has room, even with the longest tag that limits allow. */
	session->to_front.waiting.size_max +=
	    login->front_out.size_max + login->back_in.size_max;
	session->to_back.waiting.size_max += login->front_in.size_max;
	buf_add_slice(&session->to_front.waiting, buf_slice(&login->front_out));
	buf_add_slice(&session->to_front.waiting, buf_slice(&login->back_in));
	buf_add_slice(&session->to_back.waiting, buf_slice(&login->front_in));
	relay_count(session->relay, session->listener, STATS_LOGINS, 1);
	relay_count(session->relay, session->listener, STATS_LOGGED_IN, 1);
	trace_first(session, login);
	session_login_free(session);
	session_enter(session, SESSION_RELAY);
	session_trace(session);
	/* Both sides were just read empty; the loop tells of more. */
	session->to_back.readable = session->to_front.readable = false;
	session_relays(session);
}

static bool
is_stalled(const struct session *session)
{
	return flow_waits(&session->to_back) || flow_waits(&session->to_front);
}

/* Which time-out applies from now on; any octet that moved starts it anew. */
static void
requeue_relay(struct session *session, bool moved)
{
	enum session_queue queue =
	    is_stalled(session) ? QUEUE_STALLED : QUEUE_IDLE;

	if (session->to_front.finished)
		queue = QUEUE_CLOSING;
	if (queue != session->queue ||
	    (moved && session->queued_s != session->relay->now_s))
		session_enter_queue(session, queue);
}

void
session_relays(struct session *session)
{
	struct pump *pump = &session->relay->pump;
	uint64_t before = session->to_back.moved + session->to_front.moved;
	bool more_back = false, more_front = false;
	struct stream *failed = NULL;

	if (pump_flow(pump, &session->to_back, &session->front, &session->back,
		&more_back, &failed) < 0 ||
	    pump_flow(pump, &session->to_front, &session->back, &session->front,
		&more_front, &failed) < 0) {
		session->why = failed == &session->front
				   ? "client's connection failed"
				   : "server's connection failed";
		session_end(session, session->why);
		return;
	}
	if (!session->why && session->to_front.ended)
		session->why = "server closed";
	else if (!session->why && session->to_back.ended)
		session->why = "client closed";
	if (session->to_back.finished && session->to_front.finished) {
		session_end(session, session->why);
		return;
	}
	requeue_relay(session,
	    session->to_back.moved + session->to_front.moved != before);
	session_arm(session);
	if (more_back && session->front_events)
		event_active(&session->front_event, EV_READ, 1);
	if (more_front && session->back_events)
		event_active(&session->back_event, EV_READ, 1);
}
