#include "proxy/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/session_auth.h"
#include "proxy/session_back.h"
#include "proxy/session_front.h"
#include "proxy/session_relay.h"
#include "proxy/tls.h"

#define DRAIN_SIZE                                                             \
	65536 /* octets of a client that are thrown away while closing */
#define TLS_MEMORY       32768 /* octets that a handshake takes, about */
#define SUBJECT_SIZE_MAX 1024  /* octets of a client's name by certificate */

typedef void session_step(struct session *session);

static session_step step_close, step_flush, step_nothing;

/* What a state waits for, and who goes on when it comes. */
static const struct session_row {
	const char *name;
	bool reads_front, reads_back; /* waits for octets of that side */
	session_step *on_front, *on_back;
} rows[] = {
	[SESSION_FRONT_TLS] = { "front_tls", true, false, session_front_tls,
	    step_nothing },
	[SESSION_FRONT] = { "front", true, false, session_front_speaks,
	    step_nothing },
	[SESSION_VERIFY] = { "verify", false, false, step_flush, step_nothing },
	[SESSION_PENALTY] = { "penalty", false, false, step_flush,
	    step_nothing },
	[SESSION_ROUTE] = { "route", false, false, step_flush, step_nothing },
	[SESSION_RESOLVE] = { "resolve", false, false, step_flush,
	    step_nothing },
	[SESSION_CONNECT] = { "connect", false, false, step_flush,
	    session_connected },
	[SESSION_GREETING] = { "greeting", false, true, step_flush,
	    session_greeted },
	[SESSION_BACK_TLS] = { "back_tls", false, true, step_flush,
	    session_back_tls },
	[SESSION_BACK] = { "back", false, true, step_flush,
	    session_back_speaks },
	[SESSION_RELAY] = { "relay", false, false, session_relays,
	    session_relays },
	[SESSION_CLOSE] = { "close", true, false, step_close, step_nothing },
	[SESSION_DEAD] = { "dead", false, false, step_nothing, step_nothing },
};

_Static_assert(ARRAY_SIZE(rows) == SESSION_STATE_COUNT, "a row for each state");

static void
step_nothing(struct session *session)
{
	(void)session;
}

/* The client may take the rest of earlier answers while its login goes on. */
static void
step_flush(struct session *session)
{
	if (session_flush_front(session))
		session_arm(session);
}

/* ---- queues, states and events ---- */

void
session_enter_queue(struct session *session, enum session_queue queue)
{
	struct relay *relay = session->relay;

	TAILQ_REMOVE(&relay->queues[session->queue], session, link);
	session->queue = queue;
	session->queued_s = relay->now_s;
	TAILQ_INSERT_TAIL(&relay->queues[queue], session, link);
}

void
session_enter(struct session *session, enum session_state state)
{
	struct log_line line;

	if (session->relay->log.level >= LOG_LEVEL_DEBUG) {
		line = log_line(LOG_LEVEL_DEBUG, "state");
		log_word(&line, "session", session->id);
		log_word(&line, "from", rows[session->state].name);
		log_word(&line, "to", rows[state].name);
		log_send(&session->relay->log, &line);
	}
	session->state = state;
}

void
session_end_phase(struct session *session, enum stats_phase phase)
{
	struct login *login = session->login;
	int64_t now_us = relay_now_us();

	stats_observe(
	    session->relay->settings->slot, phase, now_us - login->phase_us);
	login->phase_us = now_us;
}

static void
on_front_event(evutil_socket_t fd, short what, void *context)
{
	struct session *session = context;

	(void)fd;
	session->to_back.readable = true;
	session->front_early |=
	    (what & EV_READ) && !rows[session->state].reads_front;
	rows[session->state].on_front(session);
}

static void
on_back_event(evutil_socket_t fd, short what, void *context)
{
	struct session *session = context;

	(void)fd;
	(void)what;
	session->to_front.readable = true;
	rows[session->state].on_back(session);
}

/* Changes what libevent waits for, if it is not that already. */
static void
watch(struct session *session, struct stream *stream, struct event *event,
    short *current, short wanted, event_callback_fn callback)
{
	if (wanted == *current)
		return;
	if (*current)
		event_del(event);
	*current = wanted;
	if (!wanted)
		return;
	event_assign(event, session->relay->base, stream->fd,
	    (short)(wanted | EV_PERSIST), callback, session);
	if (event_add(event, NULL) < 0)
		abort();
}

/* What it costs by now that this client has not logged in yet. */
static void
count_memory(struct session *session)
{
	struct login *login = session->login;
	size_t memory = sizeof(*session) + sizeof(*login) +
			login->front_in.capacity + login->front_out.capacity +
			login->back_in.capacity + login->back_out.capacity +
			(session->front.ssl ? TLS_MEMORY : 0) +
			(session->back.ssl ? TLS_MEMORY : 0);

	if (memory == login->memory)
		return;
	/* The counter is one of all sessions: the difference may be less than
	 * nothing, and wraps round as it ought to. */
	relay_count(session->relay, session->listener, STATS_LOGIN_MEMORY,
	    (uint64_t)memory - login->memory);
	login->memory = memory;
}

/*
 * A client that is not read for the moment of its login stays watched until it
 * does speak, since nearly none does: that spares two system calls.
 */
static bool
watches_front(struct session *session)
{
	if (session->state == SESSION_RELAY)
		return flow_wants(&session->to_back);
	if (rows[session->state].reads_front)
		session->front_early = false;
	return rows[session->state].reads_front ||
	       ((session->front_events & EV_READ) && !session->front_early);
}

/* Waits for what the state and the unsent output call for. */
void
session_arm(struct session *session)
{
	const struct session_row *row = &rows[session->state];
	const struct login *login = session->login;
	bool relaying = session->state == SESSION_RELAY;
	bool read_front = watches_front(session);
	bool read_back =
	    relaying ? flow_wants(&session->to_front) : row->reads_back;
	bool write_front =
	    login ? login->front_out.size > 0 : flow_waits(&session->to_front);
	bool write_back =
	    login ? login->back_out.size > 0 : flow_waits(&session->to_back);

	if (session->state == SESSION_DEAD)
		return;
	if (login)
		count_memory(session);
	if (session->state == SESSION_CONNECT)
		write_back = true;
	watch(session, &session->front, &session->front_event,
	    &session->front_events,
	    stream_events(&session->front, read_front, write_front),
	    on_front_event);
	if (session->back.fd >= 0)
		watch(session, &session->back, &session->back_event,
		    &session->back_events,
		    stream_events(&session->back, read_back, write_back),
		    on_back_event);
}

/* The back end's connection, if there is one. */
void
session_drop_back(struct session *session)
{
	if (session->back_events)
		event_del(&session->back_event);
	session->back_events = 0;
	stream_close(&session->back);
}

/* ---- the end ---- */

void
session_login_free(struct session *session)
{
	struct login *login = session->login;

	if (!login)
		return;
	session_forget_verdict(session);
	session->login = NULL;
	relay_uncount(session->relay, session->listener, STATS_LOGIN_MEMORY,
	    login->memory);
	resolve_cancel(&login->query);
	buf_free(&login->refused_text);
	event_del(&login->timer);
	front_close(&login->front);
	back_close(&login->back);
	buf_wipe(&login->front_in);
	buf_free(&login->front_out);
	buf_free(&login->back_in);
	buf_wipe(&login->back_out);
	buf_free(&login->account_store);
	free(login);
}

static void
log_end(const struct session *session)
{
	struct log_line line = log_line(LOG_LEVEL_INFO, "session_end");
	struct buf subject = buf_bounded(SUBJECT_SIZE_MAX);
	char address[INET6_ADDRSTRLEN];

	address_text(&session->client, address, sizeof(address));
	log_word(&line, "session", session->id);
	log_word(&line, "listener", session->listener->config->title);
	log_word(&line, "client", address);
	log_word(&line, "tls",
	    session->front.ssl ? SSL_get_version(session->front.ssl) : "none");
	if (tls_client_name(session->front.ssl, TLS_CLIENT_SUBJECT, &subject) ==
	    0)
		log_text(&line, "certificate", buf_slice(&subject));
	buf_free(&subject);
	log_word(&line, "state", rows[session->state].name);
	if (session->user) {
		log_string(&line, "user", session->user);
		log_string(&line, "server", session->server);
		log_number(&line, "login_ms", session->login_ms);
	}
	log_number(&line, "in", (int64_t)session->to_back.moved);
	log_number(&line, "out", (int64_t)session->to_front.moved);
	log_number(&line, "ms", relay_now_ms() - session->accepted_ms);
	log_string(&line, "why", session->why);
	log_send(&session->relay->log, &line);
}

/* The only way out. What is left is freed from the loop. */
void
session_end(struct session *session, const char *why)
{
	if (session->state == SESSION_DEAD)
		return;
	session->why = session->why ? session->why : why;
	log_end(session);
	relay_uncount(session->relay, session->listener, STATS_SESSIONS, 1);
	if (session->user)
		relay_uncount(
		    session->relay, session->listener, STATS_LOGGED_IN, 1);
	relay_count(session->relay, session->listener, STATS_BYTES_IN,
	    session->to_back.moved);
	relay_count(session->relay, session->listener, STATS_BYTES_OUT,
	    session->to_front.moved);
	admission_leave(session->relay, &session->held);
	if (session->front_events)
		event_del(&session->front_event);
	moves_forget(&session->follower);
	session_drop_back(session);
	session_login_free(session);
	flow_close(&session->relay->pump, &session->to_back);
	flow_close(&session->relay->pump, &session->to_front);
	stream_close(&session->front);
	session_enter(session, SESSION_DEAD);
	session_enter_queue(session, QUEUE_DEAD);
	event_active(session->relay->reaper, EV_TIMEOUT, 1);
}

void
session_reap(struct session *session)
{
	struct relay *relay = session->relay;

	assert(session->state == SESSION_DEAD);
	TAILQ_REMOVE(&relay->queues[session->queue], session, link);
	free(session->user);
	free(session->server);
	free(session);
	relay_session_ended(relay);
}

/* Sends what waits for the client. False when the session ended over it. */
bool
session_flush_front(struct session *session)
{
	struct buf *out = &session->login->front_out;
	enum stream_result result = stream_flush(&session->front, out);

	if (!out->failed && (result == STREAM_DONE || result == STREAM_AGAIN))
		return true;
	session_end(session, out->failed
				 ? "client does not read what it asked for"
				 : stream_why(&session->front));
	return false;
}

/* Says what is in front_out and closes; gives the client time to read it. */
void
session_close(struct session *session, const char *why)
{
	session->why = why;
	session_leave_back(session);
	if (!session_flush_front(session))
		return;
	session_enter(session, SESSION_CLOSE);
	session_enter_queue(session, QUEUE_CLOSING);
	if (session->login->front_out.size == 0)
		stream_finish(&session->front);
	session_arm(session);
}

/*
 * A socket that is closed with unread input resets the connection, and the
 * client might lose our last words: so its input is read away for a moment.
 */
static void
step_close(struct session *session)
{
	char ignored[SESSION_READ_CHUNK];
	enum stream_result result;
	size_t moved = 0;
	bool had_output = session->login->front_out.size > 0;

	if (!session_flush_front(session))
		return;
	if (had_output && session->login->front_out.size == 0)
		stream_finish(&session->front);
	do {
		result = stream_read(
		    &session->front, ignored, sizeof(ignored), &moved);
		session->drained += (unsigned)moved;
	} while (result == STREAM_DONE && session->drained < DRAIN_SIZE);
	if (result != STREAM_AGAIN)
		session_end(session, "closed");
	else
		session_arm(session);
}

/* ---- from outside ---- */

void
session_time_out(struct session *session)
{
	static const char *const texts[] = {
		[QUEUE_LOGIN] = "login took too long",
		[QUEUE_IDLE] = "idle for too long",
		[QUEUE_STALLED] = "a side took nothing for too long",
		[QUEUE_CLOSING] = "closed",
		[QUEUE_DEAD] = "dead",
	};
	const struct refusal late = { REFUSAL_UNAVAILABLE,
		slice_from("The server of the mailbox does not answer.") };
	struct login *login = session->login;

	_Static_assert(
	    ARRAY_SIZE(texts) == QUEUE_COUNT, "a text for each queue");
	if (session->queue != QUEUE_LOGIN ||
	    session->state == SESSION_FRONT_TLS) {
		session_end(session, texts[session->queue]);
		return;
	}
	if (session->state == SESSION_PENALTY)
		front_refuse(&login->front,
		    &(struct refusal){
			login->refused, buf_slice(&login->refused_text) },
		    &login->front_out);
	else if (session->state != SESSION_FRONT)
		front_refuse(&login->front, &late, &login->front_out);
	front_goodbye(&login->front, "Login took too long.", &login->front_out);
	session_close(session, texts[session->queue]);
}

void
session_stop(struct session *session)
{
	struct login *login = session->login;

	if (session->state == SESSION_FRONT) {
		front_goodbye(&login->front, "This proxy is being stopped.",
		    &login->front_out);
		if (!session_flush_front(session))
			return;
	}
	session_end(session, "stopped");
}

int64_t
session_queued_s(const struct session *session)
{
	return session->queued_s;
}

struct session *
session_next(struct session *session)
{
	return TAILQ_NEXT(session, link);
}

json_t *
session_describe(const struct session *session)
{
	char address[INET6_ADDRSTRLEN];

	address_text(&session->client, address, sizeof(address));
	return json_pack(
	    "{s:s, s:s, s:s, s:s, s:b, s:s, s:s*, s:s*, s:I, s:I, s:I}",
	    "session", session->id, "service",
	    service_kind_text(session->listener->config->service), "client",
	    address, "state", rows[session->state].name, "waiting",
	    !session->user, "tls",
	    session->front.ssl ? SSL_get_version(session->front.ssl) : "none",
	    "user", session->user, "server", session->server, "in",
	    (json_int_t)session->to_back.moved, "out",
	    (json_int_t)session->to_front.moved, "seconds",
	    (json_int_t)((relay_now_ms() - session->accepted_ms) / 1000));
}

/* ---- the beginning ---- */

static struct login *
login_new(struct session *session)
{
	const struct config_limits *limits = &session->relay->config->limits;
	size_t in_max = (size_t)(limits->line_size + limits->literal_size) +
			SESSION_READ_CHUNK;
	struct login *login = calloc(1, sizeof(*login));

	if (!login)
		abort();
	login->front_in = buf_bounded(in_max);
	login->front_out =
	    buf_bounded(in_max + (size_t)2 * SESSION_BACK_LINE_SIZE);
	login->back_in =
	    buf_bounded(SESSION_BACK_LINE_SIZE + SESSION_READ_CHUNK);
	login->back_out = buf_bounded((size_t)2 * SESSION_BACK_LINE_SIZE);
	login->account_store = buf_bounded(65536);
	evtimer_assign(
	    &login->timer, session->relay->base, session_login_timer, session);
	if (front_open(&login->front,
		front_protocol(session->listener->config->service),
		&session->relay->front_settings) < 0)
		abort();
	login->front.tls_offered =
	    session->listener->config->tls == SERVICE_TLS_STARTTLS;
	config_access(session->relay->config, session->listener->config,
	    &session->client, &login->mechanisms, &login->front.plaintext);
	/* EXTERNAL is for those whose certificate was seen, and what the server
	 * decides about it must take. */
	login->front.mechanisms =
	    login->mechanisms & ~(1U << SASL_EXTERNAL) &
	    (~sasl_relayed_mechanisms() |
		session->relay->offers
		    .mechanisms[session->listener->config->service]);
	login->refused_text = buf_bounded(SESSION_BACK_LINE_SIZE);
	return login;
}

/* What the back end is told of the client. */
static void
describe_client(struct session *session, const union address *local)
{
	struct login *login = session->login;
	socklen_t size = sizeof(login->local);

	login->local = local ? *local : session->listener->address;
	if (address_is_any(&login->local) && !local)
		getsockname(session->front.fd, &login->local.any, &size);
	address_text(&session->client, login->client_address,
	    sizeof(login->client_address));
	address_text(
	    &login->local, login->local_address, sizeof(login->local_address));
	login->client = (struct back_client){
		.address = login->client_address,
		.port = address_port(&session->client),
		.local_address = login->local_address,
		.local_port = address_port(&login->local),
		.session = session->id,
		.host_name = session->relay->config->host_name,
		.hello = login->front.hello,
	};
}

void
session_accept(struct relay *relay, const struct listener *listener, int fd,
    const union address *client, const union address *local)
{
	struct admission held;
	struct session *session;
	int64_t accepted_us;

	if (!admission_enter(relay, listener, fd, client, &held))
		return;
	session = calloc(1, sizeof(*session));
	if (!session)
		abort();
	session->held = held;
	session->relay = relay;
	session->listener = listener;
	session->client = *client;
	accepted_us = relay_now_us();
	session->accepted_ms = accepted_us / 1000;
	relay_session_id(relay, session->id, sizeof(session->id));
	stream_open(&session->front, fd);
	session->back.fd = -1;
	flow_open(&session->to_back);
	flow_open(&session->to_front);
	session->queue = QUEUE_LOGIN;
	session->queued_s = relay->now_s;
	TAILQ_INSERT_TAIL(&relay->queues[QUEUE_LOGIN], session, link);
	relay->session_count++;
	relay_count(relay, listener, STATS_SESSIONS, 1);
	session->login = login_new(session);
	session->login->phase_us = accepted_us;
	describe_client(session, local);
	session->state = SESSION_FRONT;
	if (listener->config->tls == SERVICE_TLS_IMPLICIT) {
		session_begin_front_tls(session);
		return;
	}
	front_greet(&session->login->front, &session->login->front_out);
	if (session_flush_front(session))
		session_arm(session);
}
