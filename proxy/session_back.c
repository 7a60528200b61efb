#include "proxy/session_back.h"

#include <string.h>

#include "proxy/connect.h"
#include "proxy/session_auth.h"
#include "proxy/session_failure.h"
#include "proxy/session_front.h"
#include "proxy/session_relay.h"
#include "replica/clock.h"

#define RETRY_PAUSE 200000 /* us before a login is routed again */

static void connect_on(struct session *session);
static void check_greeting(struct session *session);

void
session_leave_back(struct session *session)
{
	struct login *login = session->login;

	moves_forget(&session->follower);
	evtimer_del(&login->timer);
	if (session_initiates(session))
		verdict_cancel(&login->verdict);
	resolve_cancel(&login->query);
	session_drop_back(session);
	back_close(&login->back);
	buf_free(&login->back_in);
	buf_wipe(&login->back_out);
}

/* Routes the login again after a pause, from the loop. */
static void
route_again(struct session *session, long pause_us)
{
	struct timeval pause = { 0, pause_us };

	session_leave_back(session);
	evtimer_add(&session->login->timer, &pause);
	session_enter(session, SESSION_ROUTE);
	session_arm(session);
}

/*
 * The server failed the login, and it may be that it is dead: the account will
 * be placed elsewhere as soon as that is decided, and the client need not know.
 */
static void
fail_server(struct session *session, const char *text, const char *why)
{
	struct login *login = session->login;
	int64_t until_ms =
	    login->asked_ms + 1000 * session->relay->config->backend.retry_time;
	struct log_line line;

	relay_report(session->relay, login->route.server);
	if (login->challenged || relay_now_ms() >= until_ms) {
		session_refuse_unavailable(session, text, why);
		return;
	}
	if (login->retries++ == 0) {
		line = log_line(LOG_LEVEL_WARNING, "server_failed");
		log_word(&line, "session", session->id);
		log_string(&line, "server", login->route.server);
		log_string(&line, "why", why);
		log_send(&session->relay->log, &line);
	}
	relay_count(session->relay, session->listener, STATS_RETRIED, 1);
	route_again(session, RETRY_PAUSE);
}

static void
on_resolved(void *context, const struct address_list *list, const char *why)
{
	struct session *session = context;

	session->login->query = NULL;
	session->login->addresses = *list;
	session->login->address_next = 0;
	session->login->connect_why = why;
	connect_on(session);
}

void
session_resolve(struct session *session)
{
	struct resolve_query *query;

	session_enter(session, SESSION_RESOLVE);
	session_arm(session);
	query = resolve(session->relay->resolver, session->login->route.host,
	    on_resolved, session);
	/* Without a query the answer was there, and the session far ahead. */
	if (query)
		session->login->query = query;
}

/* Until the account's move is over; then it is routed anew. */
static void
wait_for_guard(struct session *session, int64_t now_us)
{
	int64_t wait_us = session->login->route.wait_until_us - now_us;
	struct timeval after = { wait_us / 1000000, wait_us % 1000000 };

	evtimer_add(&session->login->timer, &after);
	session_enter(session, SESSION_ROUTE);
	session_arm(session);
}

/*
 * The account may not stay with its server: a session that is logged in ends,
 * a login on its way there is routed anew.
 */
static void
on_moved(void *context, const char *why)
{
	struct session *session = context;
	struct log_line line;

	relay_count(session->relay, session->listener, STATS_MOVED, 1);
	if (session->state == SESSION_RELAY) {
		session->why = why;
		session_end(session, why);
		return;
	}
	line = log_line(LOG_LEVEL_INFO, "login_moved");
	log_word(&line, "session", session->id);
	log_string(&line, "server", session->login->route.server);
	log_string(&line, "why", why);
	log_send(&session->relay->log, &line);
	/* The client's next answer will be refused. */
	if (session->login->challenged && session->state == SESSION_FRONT)
		session_leave_back(session);
	else if (session->login->challenged)
		session_refuse_unavailable(
		    session, "The mailbox is moving, try again.", why);
	else
		route_again(session, 0);
}

static void
follow(struct session *session)
{
	struct login *login = session->login;

	session->follower.moved = on_moved;
	session->follower.context = session;
	session->follower.server = login->route.server;
	session->follower.logged_in = true;
	moves_follow(session->relay, &session->follower, &login->account);
}

static void
begin_route(struct session *session)
{
	struct login *login = session->login;
	int64_t now_us = clock_realtime_us();
	enum route_result result =
	    route(&session->relay->router, session->listener->config->service,
		credentials_owner(&login->front.credentials), now_us,
		&login->account_store, &login->account, &login->route);

	switch (result) {
	case ROUTE_FOUND:
		if (session_is_account_blocked(session))
			return;
		follow(session);
		if (session_initiates(session))
			session_initiate(session);
		else
			session_resolve(session);
		return;
	case ROUTE_WAIT:
		wait_for_guard(session, now_us);
		return;
	case ROUTE_UNKNOWN:
		session_fail_unknown(session, login->route.why);
		return;
	case ROUTE_DISABLED:
		session_fail_unknown(session, "account is disabled");
		return;
	case ROUTE_NOLOGIN:
		session_refuse(session, REFUSAL_NOLOGIN,
		    login->account.status_reason, "account is nologin");
		return;
	case ROUTE_UNAVAILABLE:
		session_refuse_unavailable(session,
		    "The mailbox cannot be served now, try again later.",
		    login->route.why);
		return;
	}
}

void
session_log_in(struct session *session)
{
	begin_route(session);
}

void
session_login_timer(evutil_socket_t fd, short what, void *context)
{
	struct session *session = context;

	(void)fd;
	(void)what;
	if (session->state == SESSION_ROUTE) {
		begin_route(session);
		return;
	}
	if (session->state == SESSION_PENALTY) {
		session_end_penalty(session);
		return;
	}
	if (session->state == SESSION_CONNECT) {
		session->login->connect_why = "connection timed out";
		connect_on(session);
		return;
	}
	if (session->state == SESSION_GREETING) {
		check_greeting(session);
		return;
	}
	fail_server(session,
	    "The server of the mailbox does not answer, try again later.",
	    "the server does not answer");
}

/* Where the server speaks first its greeting says that it is connected. */
static void
await_connection(struct session *session)
{
	const struct config_backend *backend = &session->relay->config->backend;
	struct login *login = session->login;
	bool greets = login->route.tls != SERVICE_TLS_IMPLICIT &&
		      !login->route.proxy_header;
	struct timeval timeout = { backend->connect_timeout, 0 };

	if (greets && backend->reply_timeout < backend->connect_timeout)
		timeout.tv_sec = backend->reply_timeout;
	login->connect_ms = relay_now_ms();
	evtimer_add(&login->timer, &timeout);
	session_enter(session, greets ? SESSION_GREETING : SESSION_CONNECT);
	session_arm(session);
}

static void
connect_on(struct session *session)
{
	struct login *login = session->login;
	int error = 0;

	session_drop_back(session);
	if (connect_next(&session->back, &login->addresses,
		&login->address_next, login->route.port, &error)) {
		await_connection(session);
		return;
	}
	if (error != 0)
		login->connect_why = strerrordesc_np(error);
	fail_server(session,
	    "The server of the mailbox cannot be reached, try again later.",
	    login->connect_why);
}

/* The name that back ends know the account by. */
struct slice
session_back_user(const struct session *session)
{
	const struct login *login = session->login;

	if (session->relay->config->backend.name == CONFIG_NAME_UID &&
	    login->account.uid.size > 0)
		return login->account.uid;
	return credentials_owner(&login->front.credentials);
}

static void
lose_server(struct session *session, const char *why)
{
	fail_server(session,
	    "The server of the mailbox does not answer, try again later.", why);
}

/* It is there and does not speak as it should: trying again mends nothing. */
static void
refuse_server(struct session *session, const char *why)
{
	session_refuse_unavailable(
	    session, "The server of the mailbox is not set up right.", why);
}

/* Sends what waits for the back end. False when the session went on without it.
 */
static bool
flush_back(struct session *session)
{
	struct buf *out = &session->login->back_out;
	enum stream_result result = stream_flush(&session->back, out);

	if (result == STREAM_AGAIN)
		return true;
	if (result != STREAM_DONE) {
		lose_server(session, stream_why(&session->back));
		return false;
	}
	buf_wipe(out);
	return true;
}

void
session_back_tls(struct session *session)
{
	struct login *login = session->login;

	switch (stream_handshake(&session->back)) {
	case STREAM_AGAIN:
		session_arm(session);
		return;
	case STREAM_END:
	case STREAM_FAILED:
		if (stream_is_untrusted(&session->back))
			refuse_server(session, stream_why(&session->back));
		else
			lose_server(session, stream_why(&session->back));
		return;
	case STREAM_DONE:
		break;
	}
	session_enter(session, SESSION_BACK);
	if (login->back.tls == SERVICE_TLS_STARTTLS) {
		login->back.protocol->secured(&login->back, &login->back_out);
		if (!flush_back(session))
			return;
	}
	session_back_speaks(session);
}

static void
begin_back_tls(struct session *session)
{
	struct login *login = session->login;

	buf_free(&login->back_in);
	if (stream_tls_client(&session->back,
		session->relay->settings->back_context,
		login->route.host) < 0) {
		session_refuse_unavailable(session,
		    "Out of memory, try again later.", "out of memory");
		return;
	}
	session_enter(session, SESSION_BACK_TLS);
	session_back_tls(session);
}

/* It is the client's turn, for as long as it has to log in. */
static void
pass_challenge(struct session *session)
{
	struct login *login = session->login;

	login->challenged = true;
	evtimer_del(&login->timer);
	front_challenge(&login->front, buf_slice(&login->back.challenge),
	    &login->front_out);
	session_enter(session, SESSION_FRONT);
	if (!session_flush_front(session))
		return;
	session_arm(session);
	session_resume_front(session);
}

void
session_answer_back(struct session *session, struct slice message)
{
	struct login *login = session->login;
	struct timeval patience = {
		session->relay->config->backend.reply_timeout, 0
	};

	login->back.protocol->respond(&login->back, message, &login->back_out);
	evtimer_add(&login->timer, &patience);
	session_enter(session, SESSION_BACK);
	if (flush_back(session))
		session_arm(session);
}

void
session_respond(struct session *session)
{
	struct login *login = session->login;

	if (session->back.fd < 0) {
		session_refuse_unavailable(session,
		    "The mailbox is moving, try again.", "the server was left");
		return;
	}
	session_answer_back(
	    session, buf_slice(&login->front.credentials.message));
}

/*
 * Only now is it sure who the user is: whoever counted earlier could be made to
 * lock a user out without knowing the password.
 */
static void
take_login(struct session *session)
{
	const struct account *account = &session->login->account;
	struct slice user =
	    account->uid.size > 0 ? account->uid : account->address;

	if (admission_log_in(
		session->relay, session->listener, user, &session->held))
		session_begin_relay(session);
	else
		session_refuse(session, REFUSAL_LIMIT,
		    slice_from("Too many sessions of this user."),
		    "limits.user_sessions is reached");
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
			session_arm(session);
		return;
	case BACK_STARTTLS:
		begin_back_tls(session);
		return;
	case BACK_CHALLENGE:
		if (session_initiates(session))
			session_go_on_initiating(session);
		else
			pass_challenge(session);
		return;
	case BACK_ACCEPTED:
		take_login(session);
		return;
	case BACK_REFUSED:
		relay_count(
		    session->relay, session->listener, STATS_REFUSED, 1);
		session_take_back_refusal(session);
		return;
	case BACK_UNAVAILABLE:
		lose_server(session, login->back.why);
		return;
	case BACK_BROKEN:
		refuse_server(session, login->back.why);
		return;
	}
}

static void
open_back(struct session *session)
{
	struct login *login = session->login;
	struct timeval patience = {
		session->relay->config->backend.reply_timeout, 0
	};

	session_end_phase(session, STATS_PHASE_CONNECT);
	login->client.utf8 = login->front.utf8;
	evtimer_add(&login->timer, &patience);
	back_open(&login->back,
	    back_protocol(session->listener->config->service), &login->client,
	    login->granted ? login->granted : &login->front.credentials,
	    session_back_user(session), login->route.tls,
	    SESSION_BACK_LINE_SIZE);
}

/* We speak first, TLS or whom we come for: it is writability that tells. */
void
session_connected(struct session *session)
{
	struct login *login = session->login;
	int error = connect_finish(&session->back);

	if (error == 0 && login->route.proxy_header)
		error = connect_introduce(
		    &session->back, &session->client, &login->local);
	if (error != 0) {
		login->connect_why = strerrordesc_np(error);
		connect_on(session);
		return;
	}
	open_back(session);
	if (login->route.tls != SERVICE_TLS_IMPLICIT) {
		session_enter(session, SESSION_BACK);
		session_arm(session);
		return;
	}
	session_enter(session, SESSION_BACK_TLS);
	if (stream_tls_client(&session->back,
		session->relay->settings->back_context,
		login->route.host) < 0) {
		session_refuse_unavailable(session,
		    "Out of memory, try again later.", "out of memory");
		return;
	}
	session_back_tls(session);
}

/* A connection that failed before it brought anything: to the next address. */
void
session_greeted(struct session *session)
{
	struct login *login = session->login;
	enum stream_result result =
	    stream_fill(&session->back, &login->back_in, SESSION_READ_CHUNK);

	switch (result) {
	case STREAM_AGAIN:
		session_arm(session);
		return;
	case STREAM_FAILED:
		login->connect_why = stream_why(&session->back);
		connect_on(session);
		return;
	case STREAM_END:
		lose_server(session, "the server closed before login");
		return;
	case STREAM_DONE:
		break;
	}
	open_back(session);
	session_enter(session, SESSION_BACK);
	feed_back(session);
}

/* Nothing came yet: is it the connection or the greeting that is missing? */
static void
check_greeting(struct session *session)
{
	const struct config_backend *backend = &session->relay->config->backend;
	struct login *login = session->login;
	union address peer;
	socklen_t size = sizeof(peer);
	bool connected = getpeername(session->back.fd, &peer.any, &size) == 0;
	int64_t limit_ms = 1000 * (connected ? backend->reply_timeout
					     : backend->connect_timeout);
	int64_t left_ms = login->connect_ms + limit_ms - relay_now_ms();
	struct timeval left = { left_ms / 1000, left_ms % 1000 * 1000 };

	if (left_ms > 0) {
		evtimer_add(&login->timer, &left);
	} else if (connected) {
		lose_server(session, "the server does not answer");
	} else {
		login->connect_why = "connection timed out";
		connect_on(session);
	}
}

void
session_back_speaks(struct session *session)
{
	struct login *login = session->login;

	if (!flush_back(session))
		return;
	do {
		switch (stream_fill(
		    &session->back, &login->back_in, SESSION_READ_CHUNK)) {
		case STREAM_DONE:
			feed_back(session);
			break;
		case STREAM_AGAIN:
			session_arm(session);
			return;
		case STREAM_END:
			lose_server(session, "the server closed before login");
			return;
		case STREAM_FAILED:
			lose_server(session, stream_why(&session->back));
			return;
		}
	} while (session->state == SESSION_BACK &&
		 stream_has_pending(&session->back));
}
