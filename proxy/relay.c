#include "proxy/relay.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proxy/arrival.h"
#include "proxy/control.h"
#include "proxy/delivery.h"
#include "proxy/learn.h"
#include "proxy/seal.h"
#include "proxy/session.h"

#define ACCEPT_BATCH  8  /* connections taken at one event */
#define CLOSING_TIME  5  /* s for the last words */
#define REPORT_PAUSE  50 /* ms between two reports of servers that fail */
#define STOP_PATIENCE 2  /* s for the answers to messages */

int64_t
relay_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t
relay_now_ms(void)
{
	return relay_now_us() / 1000;
}

/* The last `count` digits of a number, in hexadecimal. */
static char *
put_hex(char *at, uint32_t number, unsigned count)
{
	for (unsigned i = count; i-- > 0; number >>= 4)
		at[i] = "0123456789abcdef"[number & 0xf];
	return at + count;
}

void
relay_session_id(struct relay *relay, char *id, size_t size)
{
	assert(size >= RELAY_ID_SIZE);
	id = put_hex(id, relay->started_s, 8);
	id = put_hex(id, relay->drawn, 8);
	id = put_hex(id, relay->settings->slot_number, 3);
	id = put_hex(id, relay->sequence++, 8);
	*id = '\0';
}

void
relay_count(const struct relay *relay, const struct listener *listener,
    enum stats_counter counter, uint64_t number)
{
	stats_add(
	    relay->settings->slot, listener->config->service, counter, number);
}

void
relay_uncount(const struct relay *relay, const struct listener *listener,
    enum stats_counter counter, uint64_t number)
{
	relay_count(relay, listener, counter, (uint64_t)0 - number);
}

/* ---- accept and limits ---- */

static void
set_accepting(struct relay *relay, bool accepting)
{
	if (relay->accepting == accepting)
		return;
	relay->accepting = accepting;
	for (size_t i = 0; i < relay->settings->listener_count; i++) {
		if (accepting)
			event_add(relay->accept_events[i], NULL);
		else
			event_del(relay->accept_events[i]);
	}
}

static bool
is_full(const struct relay *relay)
{
	return relay->session_count >= (uint32_t)relay->config->limits.sessions;
}

/* The system has no more descriptors or memory: wait for a session to end. */
static void
pause_accepting(struct relay *relay, const char *why)
{
	log_why(&relay->log, LOG_LEVEL_WARNING, "accept_paused", why);
	set_accepting(relay, false);
}

static void
on_accept(evutil_socket_t listening, short what, void *context)
{
	struct relay *relay = context;
	const struct listener *listener = NULL;

	(void)what;
	for (size_t i = 0; i < relay->settings->listener_count; i++)
		if (relay->settings->listeners[i].fd == listening)
			listener = &relay->settings->listeners[i];
	assert(listener);
	for (int i = 0; i < ACCEPT_BATCH && relay->accepting; i++) {
		union address client;
		socklen_t size = sizeof(client);
		int fd = accept4(listening, &client.any, &size,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE ||
				  errno == ENOMEM || errno == ENOBUFS))
			pause_accepting(relay, strerrordesc_np(errno));
		if (fd < 0)
			return;
		relay_count(relay, listener, STATS_ACCEPTED, 1);
		arrival_accept(relay, listener, fd, &client);
		if (is_full(relay))
			pause_accepting(relay, "limits.sessions is reached");
	}
}

void
relay_session_ended(struct relay *relay)
{
	relay->session_count--;
	if (relay->retiring && relay->session_count == 0)
		event_base_loopbreak(relay->base);
	else if (!relay->retiring && !is_full(relay))
		set_accepting(relay, true);
}

void
relay_learned(struct relay *relay)
{
	if (relay->learner && !relay->retiring && !is_full(relay))
		set_accepting(relay, true);
}

/* ---- time ---- */

static int64_t
queue_time(const struct relay *relay, enum session_queue queue)
{
	const struct config_limits *limits = &relay->config->limits;

	switch (queue) {
	case QUEUE_LOGIN:
		return limits->login_time;
	case QUEUE_IDLE:
		return limits->idle_time;
	case QUEUE_STALLED:
		return limits->write_stall_time;
	case QUEUE_CLOSING:
		return CLOSING_TIME;
	case QUEUE_DEAD:
	case QUEUE_COUNT:
		break;
	}
	return 0;
}

static void
on_tick(evutil_socket_t fd, short what, void *context)
{
	struct relay *relay = context;

	(void)fd;
	(void)what;
	relay->now_s = relay_now_ms() / 1000;
	learner_tick(relay->learner);
	trace_tick(relay);
	for (unsigned i = 0; i < QUEUE_DEAD; i++) {
		int64_t before_s =
		    relay->now_s - queue_time(relay, (enum session_queue)i);
		struct session *session;

		while ((session = TAILQ_FIRST(&relay->queues[i])) &&
		       session_queued_s(session) <= before_s)
			session_time_out(session);
	}
	/* Descriptors may have come free elsewhere. */
	if (!relay->retiring && !is_full(relay))
		set_accepting(relay, true);
}

static void
on_reap(evutil_socket_t fd, short what, void *context)
{
	struct relay *relay = context;
	struct session *session;

	(void)fd;
	(void)what;
	while ((session = TAILQ_FIRST(&relay->queues[QUEUE_DEAD])))
		session_reap(session);
}

/* ---- the parent and the health process ---- */

static void
retire(struct relay *relay)
{
	relay->retiring = true;
	relay->settings->slot->serving = false;
	set_accepting(relay, false);
	/* Who is there may still log in, within limits.login_time. Where the
	 * next generation does not listen any more, nobody may seem to. */
	for (size_t i = 0; i < relay->settings->listener_count; i++)
		close(relay->settings->listeners[i].fd);
	event_del(relay->parent_event);
	for (struct delivery *delivery = LIST_FIRST(&relay->deliveries);
	     delivery; delivery = delivery_next(delivery))
		delivery_retire(delivery);
	if (relay->session_count == 0)
		event_base_loopbreak(relay->base);
}

/* SIGTERM: the whole proxy stops, and every session with it; messages that are
 * all but delivered have a moment. */
static void
on_stop(evutil_socket_t signal_number, short what, void *context)
{
	struct relay *relay = context;
	struct timeval patience = { STOP_PATIENCE, 0 };
	struct session *session;

	(void)signal_number;
	(void)what;
	relay->retiring = true; /* whoever ends lets nobody else in */
	set_accepting(relay, false);
	arrival_stop_all(relay);
	for (unsigned i = 0; i < QUEUE_DEAD; i++)
		while ((session = TAILQ_FIRST(&relay->queues[i])))
			session_stop(session);
	for (struct delivery *delivery = LIST_FIRST(&relay->deliveries);
	     delivery; delivery = delivery_next(delivery))
		delivery_stop(delivery);
	event_base_loopexit(relay->base, &patience);
	if (relay->session_count == 0)
		event_base_loopbreak(relay->base);
}

static void
on_parent(evutil_socket_t fd, short what, void *context)
{
	struct relay *relay = context;
	char text[CONTROL_QUESTION_SIZE];
	int channel;
	long size = control_receive_fd(fd, &channel, text);

	(void)what;
	if (size == 0)
		retire(relay);
	else if (size > 0 && channel >= 0)
		verdicts_add(relay->verdicts, channel);
}

static void
answer_who(struct relay *relay, int fd, const char *question)
{
	json_t *sessions = json_array();
	struct session *session;

	for (unsigned i = 0; i < QUEUE_DEAD; i++)
		for (session = TAILQ_FIRST(&relay->queues[i]); session;
		     session = session_next(session))
			json_array_append_new(
			    sessions, session_describe(session));
	for (struct delivery *delivery = LIST_FIRST(&relay->deliveries);
	     delivery; delivery = delivery_next(delivery))
		json_array_append_new(sessions, delivery_describe(delivery));
	if (control_answer(fd, question, sessions) < 0)
		log_why(&relay->log, LOG_LEVEL_WARNING, "answer_lost",
		    strerrordesc_np(errno));
	json_decref(sessions);
}

void
relay_report(struct relay *relay, const char *server)
{
	char text[CONTROL_QUESTION_SIZE];
	int64_t now_ms = relay_now_ms();
	int size;

	if (now_ms - relay->reported_ms < REPORT_PAUSE)
		return;
	relay->reported_ms = now_ms;
	size = snprintf(text, sizeof(text), CONTROL_FAILED "%s", server);
	if (size > 0 && (size_t)size < sizeof(text))
		(void)send(relay->settings->health_fd, text, (size_t)size,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int
hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *found = c != '\0' ? strchr(digits, c) : NULL;

	return found ? (int)(found - digits) : -1;
}

/* An account's id, in hexadecimal. */
static bool
read_id(struct slice text, char id[ACCOUNT_ID_SIZE])
{
	if (text.size != (size_t)2 * ACCOUNT_ID_SIZE)
		return false;
	for (size_t i = 0; i < ACCOUNT_ID_SIZE; i++) {
		int high = hex_digit(text.data[2 * i]);
		int low = hex_digit(text.data[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		id[i] = (char)(high << 4 | low);
	}
	return true;
}

/* "kick NUMBER ID" and "flush NUMBER SERVER". */
static void
answer_end(struct relay *relay, int fd, const char *question)
{
	char verb[8], argument[CONTROL_QUESTION_SIZE], id[ACCOUNT_ID_SIZE];
	struct slice nothing = slice_from("");
	json_t *ended = NULL;

	if (sscanf(question, "%7s %*u %255s", verb, argument) != 2)
		return;
	if (strcmp(verb, "kick") == 0 && read_id(slice_from(argument), id))
		ended = moves_end(relay, slice_of(id, sizeof(id)), nothing,
		    "kicked by an administrator");
	else if (strcmp(verb, "flush") == 0)
		ended = moves_end(relay, nothing, slice_from(argument),
		    "its server was flushed by an administrator");
	if (ended && control_answer(fd, question, ended) < 0)
		log_why(&relay->log, LOG_LEVEL_WARNING, "answer_lost",
		    strerrordesc_np(errno));
	json_decref(ended);
}

/* "trace NUMBER ID SECONDS", and the channel to tell it to. */
static void
take_trace(struct relay *relay, int fd, const char *question)
{
	struct slice rest = slice_from(question), words[3];
	char id[ACCOUNT_ID_SIZE];
	uint64_t seconds;
	size_t count = 0;

	while (count < ARRAY_SIZE(words) &&
	       slice_next_word(&rest, ' ', &words[count]))
		count++;
	if (count == ARRAY_SIZE(words) && read_id(words[2], id) &&
	    slice_to_uint(slice_trim(rest), LONG_MAX, &seconds) == 0)
		trace_begin(relay, fd, slice_of(id, sizeof(id)), (long)seconds);
	else
		close(fd);
}

static void
on_health(evutil_socket_t fd, short what, void *context)
{
	struct relay *relay = context;
	char question[CONTROL_QUESTION_SIZE];
	int passed;
	long size = control_receive_fd(fd, &passed, question);

	(void)what;
	if (passed >= 0) {
		take_trace(relay, passed, question);
		return;
	}
	if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
		event_del(relay->health_event);
	else if (size > 0 && slice_starts_nocase(slice_from(question), "who "))
		answer_who(relay, fd, question);
	else if (size > 0)
		answer_end(relay, fd, question);
}

/* ---- life ---- */

static struct event *
watch(struct relay *relay, int fd, short what, event_callback_fn callback)
{
	struct event *event = event_new(
	    relay->base, fd, (short)(what | EV_PERSIST), callback, relay);

	if (!event || (fd >= 0 && event_add(event, NULL) < 0))
		abort();
	return event;
}

/*
 * What a session asks of epoll within one turn of the loop is told at the end
 * of it, once for each descriptor. No descriptor is watched twice here, as
 * that demands.
 */
static struct event_base *
new_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config && event_config_set_flag(
			  config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0)
		base = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	return base;
}

/* All that needs the file system or a privilege happens here. */
static int
open_relay(struct relay *relay, const char **why)
{
	const struct config *config = relay->config;

	relay->base = new_base();
	if (!relay->base || pump_open(&relay->pump) < 0) {
		*why = "out of memory";
		return -1;
	}
	relay->resolver = resolver_new(relay->base, &config->dns_servers, why);
	if (!relay->resolver)
		return -1;
	if (router_open(
		&relay->router, config->replica, &config->backend, why) < 0)
		return -1;
	if (jail_enter(&relay->settings->jail, why) < 0)
		return -1;
	return seal_process(why);
}

static void
watch_all(struct relay *relay)
{
	const struct relay_settings *settings = relay->settings;
	struct timeval second = { 1, 0 };

	relay->accept_events =
	    calloc(settings->listener_count, sizeof(struct event *));
	if (!relay->accept_events)
		abort();
	for (size_t i = 0; i < settings->listener_count; i++)
		relay->accept_events[i] =
		    watch(relay, settings->listeners[i].fd, EV_READ, on_accept);
	relay->accepting = true;
	relay->verdicts = verdicts_new(relay->base, &relay->config->auth);
	if (!relay->verdicts)
		abort();
	relay->parent_event =
	    watch(relay, settings->parent_fd, EV_READ, on_parent);
	relay->health_event =
	    watch(relay, settings->health_fd, EV_READ, on_health);
	relay->stop_event = evsignal_new(relay->base, SIGTERM, on_stop, relay);
	if (!relay->stop_event || event_add(relay->stop_event, NULL) < 0)
		abort();
	relay->reaper = watch(relay, -1, 0, on_reap);
	relay->learner = learner_new(relay);
	relay->tick = watch(relay, -1, 0, on_tick);
	moves_open(relay);
	event_add(relay->tick, &second);
	/* The first clients wait for what servers can do, until the first tick
	 * at most: they would be offered less than others. */
	if (learner_is_asking(relay->learner))
		set_accepting(relay, false);
	settings->slot->serving = true;
}

static void
close_relay(struct relay *relay)
{
	for (size_t i = 0;
	     relay->accept_events && i < relay->settings->listener_count; i++)
		event_free(relay->accept_events[i]);
	free((void *)relay->accept_events);
	if (relay->tick) {
		event_free(relay->parent_event);
		event_free(relay->health_event);
		event_free(relay->stop_event);
		on_reap(-1, 0, relay);
		event_free(relay->reaper);
		event_free(relay->tick);
	}
	trace_end_all(relay);
	learner_free(&relay->learner);
	verdicts_free(&relay->verdicts);
	offers_free(&relay->offers);
	moves_close(relay);
	resolver_free(&relay->resolver);
	router_close(&relay->router);
	pump_close(&relay->pump);
	if (relay->base)
		event_base_free(relay->base);
}

int
relay_run(const struct relay_settings *settings)
{
	struct relay relay = { .settings = settings,
		.config = settings->config,
		.log = settings->log };
	const struct config_limits *limits = &settings->config->limits;
	const char *why = NULL;
	int status = EXIT_SUCCESS;

	for (unsigned i = 0; i < QUEUE_COUNT; i++)
		TAILQ_INIT(&relay.queues[i]);
	relay.front_settings = (struct front_settings){
		.host_name = settings->config->host_name,
		.line_size = (size_t)limits->line_size,
		.literal_size = (size_t)limits->literal_size,
		.bad_commands = (unsigned)limits->bad_commands,
		.offers = &relay.offers,
	};
	offers_init(&relay.offers);
	relay.started_s = (uint32_t)time(NULL);
	if (getrandom(&relay.drawn, sizeof(relay.drawn), 0) < 0)
		abort();
	relay.now_s = relay_now_ms() / 1000;
	if (open_relay(&relay, &why) < 0) {
		log_why(&relay.log, LOG_LEVEL_ERROR, "relay_failed", why);
		status = EXIT_FAILURE;
	} else {
		watch_all(&relay);
		event_base_dispatch(relay.base);
	}
	close_relay(&relay);
	return status;
}
