#include "proxy/session.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/event_struct.h>

#include "proxy/back.h"

#define READ_CHUNK 4096 /* octets read at once before login */
#define BACK_LINE_SIZE                                                         \
	8192 /* octets of one line of a back end before login                  \
	      */
#define DRAIN_SIZE                                                             \
	65536 /* octets of a client that are thrown away while closing */
#define ID_SIZE 24

enum session_state {
	SESSION_FRONT_TLS, /* handshake with the client */
	SESSION_FRONT,     /* the client speaks */
	SESSION_ROUTE,     /* its account moves: wait for the guard */
	SESSION_RESOLVE,   /* the back end's name */
	SESSION_CONNECT,   /* to one address after the other */
	SESSION_BACK_TLS,  /* handshake with the back end */
	SESSION_BACK,      /* the back end speaks */
	SESSION_RELAY,     /* nobody is listened to */
	SESSION_CLOSE,     /* the client may read our last words */
	SESSION_DEAD,      /* waits to be freed */
	SESSION_STATE_COUNT
};

/* All that is needed until login and not afterwards. */
struct login {
	struct buf front_in, front_out; /* owned; may hold secrets */
	struct buf back_in, back_out;
	struct front front;
	struct back back;
	struct back_client client;
	char client_address[INET6_ADDRSTRLEN], local_address[INET6_ADDRSTRLEN];
	struct buf account_store; /* owned: what the account borrows from */
	struct account account;
	struct route route;
	struct resolve_query *query; /* owned while RESOLVE */
	struct address_list addresses;
	size_t address_next;
	struct event *timer;     /* guard, or one connection attempt */
	const char *connect_why; /* static: the last attempt's failure */
	int64_t asked_ms;        /* when the credentials were complete */
	bool resumed; /* front_in was not looked at since a refusal */
};

struct session {
	TAILQ_ENTRY(session) link; /* in relay->queues[queue] */
	struct relay *relay;       /* borrowed */
	const struct listener *listener;
	struct login *login; /* owned; NULL once logged in */
	char *user, *server; /* owned; NULL until logged in */
	const char *why;     /* static: why it ended */
	struct stream front, back;
	struct event front_event, back_event;
	struct flow to_back, to_front;
	union address client;
	int64_t accepted_ms;
	int64_t queued_s;
	char id[ID_SIZE];
	enum session_state state;
	enum session_queue queue;
	short front_events, back_events; /* what libevent waits for */
	unsigned login_ms;
	unsigned drained;
};

typedef void session_step(struct session *session);

static session_step step_front_tls, step_front, step_connect, step_back_tls,
    step_back, step_relay, step_close, step_nothing;

/* What a state waits for, and who goes on when it comes. */
static const struct session_row {
	const char *name;
	bool reads_front, reads_back; /* waits for octets of that side */
	session_step *on_front, *on_back;
} rows[] = {
	[SESSION_FRONT_TLS] = { "front_tls", true, false, step_front_tls,
	    step_nothing },
	[SESSION_FRONT] = { "front", true, false, step_front, step_nothing },
	[SESSION_ROUTE] = { "route", false, false, step_nothing, step_nothing },
	[SESSION_RESOLVE] = { "resolve", false, false, step_nothing,
	    step_nothing },
	[SESSION_CONNECT] = { "connect", false, false, step_nothing,
	    step_connect },
	[SESSION_BACK_TLS] = { "back_tls", false, true, step_nothing,
	    step_back_tls },
	[SESSION_BACK] = { "back", false, true, step_nothing, step_back },
	[SESSION_RELAY] = { "relay", false, false, step_relay, step_relay },
	[SESSION_CLOSE] = { "close", true, false, step_close, step_nothing },
	[SESSION_DEAD] = { "dead", false, false, step_nothing, step_nothing },
};

_Static_assert(ARRAY_SIZE(rows) == SESSION_STATE_COUNT, "a row for each state");

static void
step_nothing(struct session *session)
{
	(void)session;
}

/* ---- queues, states and events ---- */

static void
enter_queue(struct session *session, enum session_queue queue)
{
	struct relay *relay = session->relay;

	TAILQ_REMOVE(&relay->queues[session->queue], session, link);
	session->queue = queue;
	session->queued_s = relay->now_s;
	TAILQ_INSERT_TAIL(&relay->queues[queue], session, link);
}

static void
enter(struct session *session, enum session_state state)
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

static void
on_front_event(evutil_socket_t fd, short what, void *context)
{
	struct session *session = context;

	(void)fd;
	(void)what;
	rows[session->state].on_front(session);
}

static void
on_back_event(evutil_socket_t fd, short what, void *context)
{
	struct session *session = context;

	(void)fd;
	(void)what;
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

/* Waits for what the state and the unsent output call for. */
static void
arm(struct session *session)
{
	const struct session_row *row = &rows[session->state];
	const struct login *login = session->login;
	bool relaying = session->state == SESSION_RELAY;
	bool read_front =
	    relaying ? flow_wants(&session->to_back) : row->reads_front;
	bool read_back =
	    relaying ? flow_wants(&session->to_front) : row->reads_back;
	bool write_front =
	    login ? login->front_out.size > 0 : flow_waits(&session->to_front);
	bool write_back =
	    login ? login->back_out.size > 0 : flow_waits(&session->to_back);

	if (session->state == SESSION_DEAD)
		return;
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
static void
drop_back(struct session *session)
{
	if (session->back_events)
		event_del(&session->back_event);
	session->back_events = 0;
	stream_close(&session->back);
}

/* ---- the end ---- */

static void
login_free(struct session *session)
{
	struct login *login = session->login;

	session->login = NULL;
	if (!login)
		return;
	resolve_cancel(&login->query);
	event_free(login->timer);
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
	char address[INET6_ADDRSTRLEN];

	address_text(&session->client, address, sizeof(address));
	log_word(&line, "session", session->id);
	log_word(&line, "listener", session->listener->config->title);
	log_word(&line, "client", address);
	log_word(&line, "tls",
	    session->front.ssl ? SSL_get_version(session->front.ssl) : "none");
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
static void
end(struct session *session, const char *why)
{
	struct stats_slot *slot = session->relay->settings->slot;

	if (session->state == SESSION_DEAD)
		return;
	session->why = session->why ? session->why : why;
	log_end(session);
	stats_subtract(slot, STATS_SESSIONS, 1);
	if (session->user)
		stats_subtract(slot, STATS_LOGGED_IN, 1);
	stats_add(slot, STATS_BYTES_IN, session->to_back.moved);
	stats_add(slot, STATS_BYTES_OUT, session->to_front.moved);
	if (session->front_events)
		event_del(&session->front_event);
	drop_back(session);
	login_free(session);
	flow_close(&session->relay->pump, &session->to_back);
	flow_close(&session->relay->pump, &session->to_front);
	stream_close(&session->front);
	enter(session, SESSION_DEAD);
	enter_queue(session, QUEUE_DEAD);
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
static bool
flush_front(struct session *session)
{
	struct buf *out = &session->login->front_out;
	size_t moved;

	while (out->size > 0) {
		enum stream_result result =
		    stream_write(&session->front, out->data, out->size, &moved);

		if (result == STREAM_AGAIN)
			return true;
		if (result != STREAM_DONE) {
			end(session, stream_why(&session->front));
			return false;
		}
		buf_consume(out, moved);
	}
	if (out->failed) {
		end(session, "client does not read what it asked for");
		return false;
	}
	return true;
}

/* Says what is in front_out and closes; gives the client time to read it. */
static void
close_after_output(struct session *session, const char *why)
{
	session->why = why;
	if (!flush_front(session))
		return;
	enter(session, SESSION_CLOSE);
	enter_queue(session, QUEUE_CLOSING);
	if (session->login->front_out.size == 0)
		stream_finish(&session->front);
	arm(session);
}

/*
 * A socket that is closed with unread input resets the connection, and the
 * client might lose our last words: so its input is read away for a moment.
 */
static void
step_close(struct session *session)
{
	char ignored[READ_CHUNK];
	enum stream_result result;
	size_t moved = 0;
	bool had_output = session->login->front_out.size > 0;

	if (!flush_front(session))
		return;
	if (had_output && session->login->front_out.size == 0)
		stream_finish(&session->front);
	do {
		result = stream_read(
		    &session->front, ignored, sizeof(ignored), &moved);
		session->drained += (unsigned)moved;
	} while (result == STREAM_DONE && session->drained < DRAIN_SIZE);
	if (result != STREAM_AGAIN)
		end(session, "closed");
	else
		arm(session);
}

/* ---- the client speaks ---- */

static void begin_login(struct session *session);

static void
begin_front_tls(struct session *session)
{
	struct login *login = session->login;

	/* What came before TLS is not protected by it: none of it survives. */
	buf_wipe(&login->front_in);
	if (login->front_out.size > 0) {
		end(session, "client does not read before TLS");
		return;
	}
	if (stream_tls_server(
		&session->front, session->relay->settings->front_context) < 0) {
		end(session, "out of memory");
		return;
	}
	enter(session, SESSION_FRONT_TLS);
	arm(session);
}

static void
step_front_tls(struct session *session)
{
	struct login *login = session->login;

	switch (stream_handshake(&session->front)) {
	case STREAM_AGAIN:
		arm(session);
		return;
	case STREAM_END:
	case STREAM_FAILED:
		stats_add(session->relay->settings->slot, STATS_TLS_FAILED, 1);
		end(session, stream_why(&session->front));
		return;
	case STREAM_DONE:
		break;
	}
	login->front.tls = true;
	enter(session, SESSION_FRONT);
	if (session->listener->config->tls == SERVICE_TLS_IMPLICIT)
		login->front.protocol->greet(&login->front, &login->front_out);
	/* The client may have sent its first command with the end of the
	 * handshake. */
	step_front(session);
}

/* Shows the machine its input, and does what it says. */
static void
feed_front(struct session *session)
{
	struct login *login = session->login;
	struct slice input = buf_slice(&login->front_in);
	size_t before = input.size;
	enum front_action action = login->front.protocol->input(
	    &login->front, &input, &login->front_out);

	buf_consume(&login->front_in, before - input.size);
	switch (action) {
	case FRONT_MORE:
		if (flush_front(session))
			arm(session);
		return;
	case FRONT_STARTTLS:
		if (flush_front(session))
			begin_front_tls(session);
		return;
	case FRONT_LOGIN:
		begin_login(session);
		return;
	case FRONT_CLOSE:
		close_after_output(session, login->front.closed_why);
		return;
	}
}

static void
step_front(struct session *session)
{
	struct buf *in = &session->login->front_in;
	size_t moved = 0;
	char *room;

	if (!flush_front(session))
		return;
	if (session->login->resumed) {
		session->login->resumed = false;
		feed_front(session);
		return;
	}
	do {
		enum stream_result result;

		room = buf_reserve(in, READ_CHUNK);
		if (!room) {
			end(session, "command is too long");
			return;
		}
		result = stream_read(&session->front, room, READ_CHUNK, &moved);
		if (result == STREAM_END || result == STREAM_FAILED) {
			end(session, result == STREAM_END
					 ? "client closed before login"
					 : stream_why(&session->front));
			return;
		}
		if (result == STREAM_AGAIN) {
			arm(session);
			return;
		}
		buf_grow(in, moved);
		feed_front(session);
	} while (session->state == SESSION_FRONT &&
		 stream_has_pending(&session->front));
}

/* ---- its account is routed ---- */

static void connect_next(struct session *session);

/* Says no, and lets the client try again. */
static void
refuse(struct session *session, enum refusal_kind kind, struct slice text,
    const char *why)
{
	struct login *login = session->login;
	struct refusal refusal = { kind, text };
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

	login->front.protocol->refuse(
	    &login->front, &refusal, &login->front_out);
	credentials_wipe(&login->front.credentials);
	drop_back(session);
	back_close(&login->back);
	buf_free(&login->back_in);
	buf_wipe(&login->back_out);
	enter(session, SESSION_FRONT);
	if (!flush_front(session))
		return;
	arm(session);
	/* What the client sent ahead is taken up from the loop, not from here.
	 */
	login->resumed = login->front_in.size > 0;
	if (login->resumed)
		event_active(&session->front_event, EV_READ, 1);
}

static void
refuse_unavailable(struct session *session, const char *text, const char *why)
{
	stats_add(session->relay->settings->slot, STATS_UNAVAILABLE, 1);
	refuse(session, REFUSAL_UNAVAILABLE, slice_from(text), why);
}

static void
refuse_unknown(struct session *session, const char *why)
{
	stats_add(session->relay->settings->slot, STATS_UNKNOWN, 1);
	refuse(session, REFUSAL_CREDENTIALS, slice_from(""), why);
}

static void
on_resolved(void *context, const struct address_list *list, const char *why)
{
	struct session *session = context;

	session->login->query = NULL;
	session->login->addresses = *list;
	session->login->address_next = 0;
	session->login->connect_why = why;
	connect_next(session);
}

static void
begin_resolve(struct session *session)
{
	struct login *login = session->login;

	enter(session, SESSION_RESOLVE);
	arm(session);
	login->query = resolve(
	    session->relay->resolver, login->route.host, on_resolved, session);
}

/* Until the account's move is over; then it is routed anew. */
static void
wait_for_guard(struct session *session, int64_t now_us)
{
	int64_t wait_us = session->login->route.wait_until_us - now_us;
	struct timeval after = { wait_us / 1000000, wait_us % 1000000 };

	evtimer_add(session->login->timer, &after);
	enter(session, SESSION_ROUTE);
	arm(session);
}

static void
begin_route(struct session *session)
{
	struct login *login = session->login;
	int64_t now_us = route_now();
	enum route_result result =
	    route(&session->relay->router, session->listener->config->service,
		credentials_owner(&login->front.credentials), now_us,
		&login->account_store, &login->account, &login->route);

	switch (result) {
	case ROUTE_FOUND:
		begin_resolve(session);
		return;
	case ROUTE_WAIT:
		wait_for_guard(session, now_us);
		return;
	case ROUTE_UNKNOWN:
		refuse_unknown(session, login->route.why);
		return;
	case ROUTE_DISABLED:
		refuse_unknown(session, "account is disabled");
		return;
	case ROUTE_NOLOGIN:
		refuse(session, REFUSAL_NOLOGIN, login->account.status_reason,
		    "account is nologin");
		return;
	case ROUTE_UNAVAILABLE:
		refuse_unavailable(session,
		    "The mailbox cannot be served now, try again later.",
		    login->route.why);
		return;
	}
}

static void
begin_login(struct session *session)
{
	session->login->asked_ms = relay_now_ms();
	if (flush_front(session))
		begin_route(session);
}

/* ---- the back end ---- */

static void
on_login_timer(evutil_socket_t fd, short what, void *context)
{
	struct session *session = context;

	(void)fd;
	(void)what;
	if (session->state == SESSION_ROUTE) {
		begin_route(session);
		return;
	}
	session->login->connect_why = "connection timed out";
	connect_next(session);
}

/* A socket on its way to the next address; false when that failed at once. */
static bool
start_connect(struct session *session, union address *address)
{
	const struct login *login = session->login;
	int one = 1;
	int fd = socket(address->any.sa_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	stream_open(&session->back, fd);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	address_set_port(address, login->route.port);
	return connect(fd, &address->any, address_size(address)) == 0 ||
	       errno == EINPROGRESS;
}

static void
connect_next(struct session *session)
{
	struct login *login = session->login;
	struct timeval timeout = {
		session->relay->config->backend.connect_timeout, 0
	};

	drop_back(session);
	while (login->address_next < login->addresses.count) {
		if (start_connect(session,
			&login->addresses.addresses[login->address_next++])) {
			evtimer_add(login->timer, &timeout);
			enter(session, SESSION_CONNECT);
			arm(session);
			return;
		}
		login->connect_why = strerrordesc_np(errno);
		drop_back(session);
	}
	evtimer_del(login->timer);
	refuse_unavailable(session,
	    "The server of the mailbox cannot be reached, try again later.",
	    login->connect_why);
}

/* The name that back ends know the account by. */
static struct slice
back_user(const struct session *session)
{
	const struct login *login = session->login;

	if (session->relay->config->backend.name == CONFIG_NAME_UID &&
	    login->account.uid.size > 0)
		return login->account.uid;
	return credentials_owner(&login->front.credentials);
}

static void
step_connect(struct session *session)
{
	struct login *login = session->login;
	socklen_t size = sizeof(int);
	int error = 0;

	if (getsockopt(session->back.fd, SOL_SOCKET, SO_ERROR, &error, &size) <
	    0)
		error = errno;
	if (error != 0) {
		login->connect_why = strerrordesc_np(error);
		connect_next(session);
		return;
	}
	evtimer_del(login->timer);
	back_open(&login->back,
	    back_protocol(session->listener->config->service), &login->client,
	    &login->front.credentials, back_user(session), login->route.tls,
	    BACK_LINE_SIZE);
	enter(session, login->route.tls == SERVICE_TLS_IMPLICIT
			   ? SESSION_BACK_TLS
			   : SESSION_BACK);
	if (session->state == SESSION_BACK_TLS &&
	    stream_tls_client(&session->back,
		session->relay->settings->back_context,
		login->route.host) < 0) {
		refuse_unavailable(session, "Out of memory, try again later.",
		    "out of memory");
		return;
	}
	if (session->state == SESSION_BACK_TLS)
		step_back_tls(session);
	else
		arm(session);
}

static void
refuse_back_failure(struct session *session, const char *why)
{
	refuse_unavailable(session,
	    "The server of the mailbox does not answer, try again later.", why);
}

/* Sends what waits for the back end. False when the session went on without it.
 */
static bool
flush_back(struct session *session)
{
	struct buf *out = &session->login->back_out;
	size_t moved;

	while (out->size > 0) {
		enum stream_result result =
		    stream_write(&session->back, out->data, out->size, &moved);

		if (result == STREAM_AGAIN)
			return true;
		if (result != STREAM_DONE) {
			refuse_back_failure(
			    session, stream_why(&session->back));
			return false;
		}
		buf_consume(out, moved);
	}
	buf_wipe(out);
	return true;
}

static void
step_back_tls(struct session *session)
{
	struct login *login = session->login;

	switch (stream_handshake(&session->back)) {
	case STREAM_AGAIN:
		arm(session);
		return;
	case STREAM_END:
	case STREAM_FAILED:
		refuse_back_failure(session, stream_why(&session->back));
		return;
	case STREAM_DONE:
		break;
	}
	enter(session, SESSION_BACK);
	if (login->back.tls == SERVICE_TLS_STARTTLS) {
		login->back.protocol->secured(&login->back, &login->back_out);
		if (!flush_back(session))
			return;
	}
	step_back(session);
}

static void
begin_back_tls(struct session *session)
{
	struct login *login = session->login;

	buf_free(&login->back_in);
	if (stream_tls_client(&session->back,
		session->relay->settings->back_context,
		login->route.host) < 0) {
		refuse_unavailable(session, "Out of memory, try again later.",
		    "out of memory");
		return;
	}
	enter(session, SESSION_BACK_TLS);
	step_back_tls(session);
}

/* Logged in: what is still unsent goes first, all else of the login is freed.
 */
static void
begin_relay(struct session *session)
{
	struct login *login = session->login;
	struct stats_slot *slot = session->relay->settings->slot;
	struct slice user = login->account.uid.size > 0
				? login->account.uid
				: login->account.address;

	login->front.protocol->accept(&login->front,
	    buf_slice(&login->back.reply), buf_slice(&login->back.untagged),
	    &login->front_out);
	session->user = strndup(user.data, user.size);
	session->server = strdup(login->route.server);
	session->login_ms = (unsigned)(relay_now_ms() - login->asked_ms);
	if (!session->user || !session->server)
		abort();
	buf_add_slice(&session->to_front.waiting, buf_slice(&login->front_out));
	buf_add_slice(&session->to_front.waiting, buf_slice(&login->back_in));
	buf_add_slice(&session->to_back.waiting, buf_slice(&login->front_in));
	stats_add(slot, STATS_LOGINS, 1);
	stats_add(slot, STATS_LOGGED_IN, 1);
	login_free(session);
	enter(session, SESSION_RELAY);
	step_relay(session);
}

/* Shows the back end's machine its input, and does what it says. */
static void
feed_back(struct session *session)
{
	struct login *login = session->login;
	struct slice input = buf_slice(&login->back_in);
	size_t before = input.size;
	enum back_action action =
	    login->back.protocol->input(&login->back, &input, &login->back_out);

	buf_consume(&login->back_in, before - input.size);
	switch (action) {
	case BACK_MORE:
		if (flush_back(session))
			arm(session);
		return;
	case BACK_STARTTLS:
		begin_back_tls(session);
		return;
	case BACK_ACCEPTED:
		begin_relay(session);
		return;
	case BACK_REFUSED:
		stats_add(session->relay->settings->slot, STATS_REFUSED, 1);
		refuse(session, REFUSAL_BACK, buf_slice(&login->back.reply),
		    "the server said no");
		return;
	case BACK_UNAVAILABLE:
	case BACK_BROKEN:
		refuse_back_failure(session, login->back.why);
		return;
	}
}

static void
step_back(struct session *session)
{
	struct buf *in = &session->login->back_in;
	enum stream_result result;
	size_t moved = 0;
	char *room;

	if (!flush_back(session))
		return;
	do {
		room = buf_reserve(in, READ_CHUNK);
		if (!room) {
			refuse_back_failure(
			    session, "the server's line is too long");
			return;
		}
		result = stream_read(&session->back, room, READ_CHUNK, &moved);
		if (result == STREAM_END || result == STREAM_FAILED) {
			refuse_back_failure(
			    session, result == STREAM_END
					 ? "the server closed before login"
					 : stream_why(&session->back));
			return;
		}
		if (result == STREAM_AGAIN) {
			arm(session);
			return;
		}
		buf_grow(in, moved);
		feed_back(session);
	} while (session->state == SESSION_BACK &&
		 stream_has_pending(&session->back));
}

/* ---- octets are passed on ---- */

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
		enter_queue(session, queue);
}

static void
step_relay(struct session *session)
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
		end(session, session->why);
		return;
	}
	if (session->to_back.finished && session->to_front.finished) {
		end(session, session->why);
		return;
	}
	if (!session->why && session->to_front.ended)
		session->why = "server closed";
	else if (!session->why && session->to_back.ended)
		session->why = "client closed";
	requeue_relay(session,
	    session->to_back.moved + session->to_front.moved != before);
	arm(session);
	if (more_back && session->front_events)
		event_active(&session->front_event, EV_READ, 1);
	if (more_front && session->back_events)
		event_active(&session->back_event, EV_READ, 1);
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
	struct login *login = session->login;

	_Static_assert(
	    ARRAY_SIZE(texts) == QUEUE_COUNT, "a text for each queue");
	if (session->queue != QUEUE_LOGIN ||
	    session->state == SESSION_FRONT_TLS) {
		end(session, texts[session->queue]);
		return;
	}
	login->front.protocol->goodbye(
	    &login->front, "Login took too long.", &login->front_out);
	close_after_output(session, texts[session->queue]);
}

void
session_retire(struct session *session)
{
	struct login *login = session->login;

	if (session->state != SESSION_FRONT)
		return;
	login->front.protocol->goodbye(&login->front,
	    "This proxy is being restarted, connect again.", &login->front_out);
	close_after_output(session, "retired");
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
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*, s:s*, s:I, s:I, s:I}",
	    "session", session->id, "service",
	    service_kind_text(session->listener->config->service), "client",
	    address, "state", rows[session->state].name, "tls",
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
	size_t in_max =
	    (size_t)(limits->line_size + limits->literal_size) + READ_CHUNK;
	struct login *login = calloc(1, sizeof(*login));

	if (!login)
		abort();
	login->front_in = buf_bounded(in_max);
	login->front_out = buf_bounded(in_max + BACK_LINE_SIZE * 2);
	login->back_in = buf_bounded(BACK_LINE_SIZE + READ_CHUNK);
	login->back_out = buf_bounded(BACK_LINE_SIZE * 2);
	login->account_store = buf_bounded(65536);
	login->timer =
	    evtimer_new(session->relay->base, on_login_timer, session);
	if (!login->timer ||
	    front_open(&login->front,
		front_protocol(session->listener->config->service),
		&session->relay->front_settings) < 0)
		abort();
	login->front.tls_offered =
	    session->listener->config->tls == SERVICE_TLS_STARTTLS;
	login->front.plaintext = session->listener->config->plaintext;
	return login;
}

/* What the back end is told of the client. */
static void
describe_client(struct session *session)
{
	struct login *login = session->login;
	union address local = session->listener->address;
	socklen_t size = sizeof(local);

	getsockname(session->front.fd, &local.any, &size);
	address_text(&session->client, login->client_address,
	    sizeof(login->client_address));
	address_text(
	    &local, login->local_address, sizeof(login->local_address));
	login->client = (struct back_client){
		.address = login->client_address,
		.port = address_port(&session->client),
		.local_address = login->local_address,
		.local_port = address_port(&local),
		.session = session->id,
	};
}

void
session_accept(struct relay *relay, const struct listener *listener, int fd,
    const union address *client)
{
	struct session *session = calloc(1, sizeof(*session));
	int one = 1;

	if (!session)
		abort();
	session->relay = relay;
	session->listener = listener;
	session->client = *client;
	session->accepted_ms = relay_now_ms();
	snprintf(session->id, sizeof(session->id), "%08x%03x%08x",
	    relay->started_s, relay->settings->slot_number & 0xfff,
	    relay->sequence++);
	stream_open(&session->front, fd);
	session->back.fd = -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	flow_open(&session->to_back);
	flow_open(&session->to_front);
	session->queue = QUEUE_LOGIN;
	session->queued_s = relay->now_s;
	TAILQ_INSERT_TAIL(&relay->queues[QUEUE_LOGIN], session, link);
	relay->session_count++;
	stats_add(relay->settings->slot, STATS_SESSIONS, 1);
	session->login = login_new(session);
	describe_client(session);
	session->state = SESSION_FRONT;
	if (listener->config->tls == SERVICE_TLS_IMPLICIT) {
		begin_front_tls(session);
		return;
	}
	session->login->front.protocol->greet(
	    &session->login->front, &session->login->front_out);
	if (flush_front(session))
		arm(session);
}
