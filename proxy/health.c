#include "proxy/health.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "daemon/metrics_server.h"
#include "proxy/control.h"
#include "proxy/metrics.h"
#include "proxy/observer.h"

#define ANSWER_TIMEOUT 2 /* s that relays have to answer */
#define RETRY_TIME     2 /* s until another process looks for the replica */

/* A relay of any generation that still lives. */
struct relay_channel {
	struct health *health;
	int fd; /* owned */
	unsigned slot;
	struct event *event;
	TAILQ_ENTRY(relay_channel) link;
};

/* One client of the control socket. */
struct client {
	struct health *health;
	struct bufferevent *connection;
	unsigned question;   /* to relays: its number */
	json_t *sessions;    /* while relays answer; owned */
	unsigned unanswered; /* relays still asked */
	struct event *timeout;
	TAILQ_ENTRY(client) link;
};

struct health {
	const struct health_settings *settings;
	struct log log;
	struct event_base *base;
	struct event *parent_event;
	struct observer *observer; /* owned; NULL: it does not observe */
	struct replica *replica;   /* owned; NULL: the observer's, or none */
	struct metrics_sources sources;
	struct metrics_server *metrics; /* owned; NULL: none */
	TAILQ_HEAD(, relay_channel) relays;
	TAILQ_HEAD(, client) asking; /* those who wait for relays */
	unsigned questions;          /* asked so far */
};

/* ---- answers to clients ---- */

static void
client_free(struct client *client)
{
	bufferevent_free(client->connection);
	if (client->timeout) {
		TAILQ_REMOVE(&client->health->asking, client, link);
		event_free(client->timeout);
		json_decref(client->sessions);
	}
	free(client);
}

static void
on_client_written(struct bufferevent *connection, void *context)
{
	if (evbuffer_get_length(bufferevent_get_output(connection)) == 0)
		client_free(context);
}

static void
on_client_event(struct bufferevent *connection, short what, void *context)
{
	(void)connection;
	(void)what;
	client_free(context);
}

/* Takes the answer; the client is freed when it has read it. */
static void
answer(struct client *client, json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);

	json_decref(value);
	if (!text)
		abort();
	bufferevent_setcb(client->connection, NULL, on_client_written,
	    on_client_event, client);
	bufferevent_write(client->connection, text, strlen(text));
	bufferevent_write(client->connection, "\n", 1);
	free(text);
}

static void
answer_error(struct client *client, const char *text)
{
	answer(client, json_pack("{s:s}", "error", text));
}

/* ---- status ---- */

static void
set_counter(json_t *counters, enum stats_counter counter, uint64_t value)
{
	json_object_set_new(counters, stats_counter_text(counter),
	    json_integer((json_int_t)value));
}

static json_t *
describe_counters(const struct stats *stats)
{
	json_t *counters = json_object();

	for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++)
		set_counter(
		    counters, i, stats_total(stats, (enum stats_counter)i));
	return counters;
}

/* The same of each service that is listened for. */
static json_t *
describe_services(const struct stats *stats, const struct config *config)
{
	json_t *services = json_object();

	for (unsigned i = 0; i < STATS_SERVICES; i++) {
		enum service_kind service = (enum service_kind)i;
		json_t *counters;

		if (!config_listens(config, service))
			continue;
		counters = json_object();
		for (unsigned k = 0; k < STATS_COUNTER_COUNT; k++)
			set_counter(counters, k,
			    stats_total_of(
				stats, service, (enum stats_counter)k));
		json_object_set_new(
		    services, service_kind_text(service), counters);
	}
	return services;
}

static json_t *
describe_relays(const struct stats *stats)
{
	json_t *relays = json_array();

	for (size_t i = 0; i < STATS_SLOTS; i++) {
		const struct stats_slot *slot = &stats->slots[i];

		if (slot->pid > 0)
			json_array_append_new(relays,
			    json_pack("{s:i, s:i, s:I, s:I}", "pid",
				(int)slot->pid, "generation",
				(int)slot->generation, "sessions",
				(json_int_t)stats_of(slot, STATS_SESSIONS),
				"logged_in",
				(json_int_t)stats_of(slot, STATS_LOGGED_IN)));
	}
	return relays;
}

static void
answer_status(struct client *client, const char *argument)
{
	const struct health_settings *settings = client->health->settings;
	json_t *status = json_pack("{s:s, s:s, s:i, s:i, s:o, s:o, s:o}",
	    "version", POSTCELL_VERSION, "host", settings->config->host_name,
	    "generation", (int)settings->generation, "parent", (int)getppid(),
	    "relays", describe_relays(settings->stats), "counters",
	    describe_counters(settings->stats), "services",
	    describe_services(settings->stats, settings->config));

	(void)argument;
	if (client->health->observer)
		json_object_set_new(status, "observed",
		    observer_describe(client->health->observer));
	answer(client, status);
}

/* ---- limits ---- */

static void
answer_limits(struct client *client, const char *argument)
{
	const struct health_settings *settings = client->health->settings;
	const struct config_limits *limits = &settings->config->limits;

	const struct {
		const char *name;
		long max;
		enum stats_counter refused;
	} rows[] = {
		{ "address_sessions", limits->address_sessions,
		    STATS_LIMITED_ADDRESS },
		{ "address_waiting", limits->address_waiting,
		    STATS_LIMITED_WAITING },
		{ "user_sessions", limits->user_sessions, STATS_LIMITED_USER },
		{ "login_memory", limits->login_memory, STATS_LIMITED_MEMORY },
	};

	json_t *list = json_array();

	(void)argument;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		json_array_append_new(
		    list, json_pack("{s:s, s:I, s:I}", "name", rows[i].name,
			      "max", (json_int_t)rows[i].max, "refused",
			      (json_int_t)stats_total(
				  settings->stats, rows[i].refused)));
	answer(client,
	    json_pack("{s:o, s:I, s:I, s:I, s:I}", "limits", list,
		"address_bits_ipv4", (json_int_t)limits->address_bits_ipv4,
		"address_bits_ipv6", (json_int_t)limits->address_bits_ipv6,
		"login_memory",
		(json_int_t)stats_total(settings->stats, STATS_LOGIN_MEMORY),
		"uncounted",
		(json_int_t)stats_total(settings->stats, STATS_UNCOUNTED)));
}

/* ---- questions to relays ---- */

static void
finish_question(struct client *client)
{
	json_t *value = json_pack("{s:O, s:b}", "sessions", client->sessions,
	    "complete", client->unanswered == 0);

	TAILQ_REMOVE(&client->health->asking, client, link);
	event_free(client->timeout);
	client->timeout = NULL;
	json_decref(client->sessions);
	answer(client, value);
}

static void
on_question_timeout(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	finish_question(context);
}

/* Passes "VERB ARGUMENT" to all relays, as "VERB NUMBER ARGUMENT". */
static void
ask_relays(struct client *client, const char *verb, const char *argument)
{
	struct health *health = client->health;
	struct timeval timeout = { ANSWER_TIMEOUT, 0 };
	struct relay_channel *relay;
	char question[CONTROL_QUESTION_SIZE];
	int size;

	client->question = ++health->questions;
	size = snprintf(question, sizeof(question), "%s %u%s%s", verb,
	    client->question, argument[0] ? " " : "", argument);
	if (size < 0 || (size_t)size >= sizeof(question)) {
		answer_error(client, "question is too long");
		return;
	}
	client->sessions = json_array();
	client->timeout =
	    evtimer_new(health->base, on_question_timeout, client);
	if (!client->sessions || !client->timeout)
		abort();
	TAILQ_INSERT_TAIL(&health->asking, client, link);
	TAILQ_FOREACH (relay, &health->relays, link)
		if (send(relay->fd, question, (size_t)size,
			MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
			client->unanswered++;
	if (client->unanswered == 0)
		finish_question(client);
	else
		event_add(client->timeout, &timeout);
}

/* The second word of a text as a number. 0, or -1 when it is none. */
static int
read_number(const char *text, unsigned *number)
{
	struct slice rest = slice_from(text), word;
	uint64_t value;

	if (!slice_next_word(&rest, ' ', &word))
		return -1;
	if (!slice_next_word(&rest, ' ', &word) ||
	    slice_to_uint(word, UINT_MAX, &value) < 0)
		return -1;
	*number = (unsigned)value;
	return 0;
}

/* An answer to a question whose client was not patient enough is dropped. */
static void
take_answer(struct health *health, const char *question, json_t *sessions)
{
	struct client *client;
	unsigned number;

	if (!sessions || read_number(question, &number) < 0)
		return;
	TAILQ_FOREACH (client, &health->asking, link)
		if (client->question == number)
			break;
	if (!client)
		return;
	json_array_extend(client->sessions, sessions);
	if (--client->unanswered == 0)
		finish_question(client);
}

/* ---- the control socket ---- */

static void
begin_reload(struct client *client, const char *argument)
{
	(void)argument;
	if (send(client->health->settings->parent_fd, "reload", 6,
		MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		answer_error(client, "the parent does not listen");
	else
		answer(client, json_pack("{s:b}", "begun", 1));
}

/* Mail is nobody's business but the user's, and root's who asks for it. */
static bool
is_root(const struct client *client)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(bufferevent_getfd(client->connection), SOL_SOCKET,
		SO_PEERCRED, &peer, &size) < 0)
		return false;
	return peer.uid == 0 ||
	       (!client->health->settings->jail.enter && peer.uid == geteuid());
}

/* "ID SECONDS": gives every relay one end of a channel, and the client the
 * other. */
static void
begin_trace(struct client *client, const char *argument)
{
	struct relay_channel *relay;
	char question[CONTROL_QUESTION_SIZE];
	int size = snprintf(question, sizeof(question), "trace %u %s",
	    ++client->health->questions, argument);
	int ends[2];

	if (!is_root(client)) {
		answer_error(client, "only root may trace sessions");
		return;
	}
	if (size < 0 || (size_t)size >= sizeof(question) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		answer_error(client, "no channel for the trace");
		return;
	}
	TAILQ_FOREACH (relay, &client->health->relays, link)
		control_send_fd(relay->fd, ends[0], question);
	control_send_fd(bufferevent_getfd(client->connection), ends[1],
	    "{\"begun\": true}\n");
	close(ends[0]);
	close(ends[1]);
	client_free(client);
}

/* With `run`, it is answered here; else by the relays. */
static const struct verb {
	const char *name;
	bool has_argument;
	void (*run)(struct client *client, const char *argument);
} verbs[] = {
	{ "status", false, answer_status },
	{ "limits", false, answer_limits },
	{ "who", false, NULL },
	{ "kick", true, NULL },
	{ "flush", true, NULL },
	{ "reload", false, begin_reload },
	{ "trace", true, begin_trace },
};

/* Cuts the line at its first space. */
static void
run_verb(struct client *client, char *line)
{
	char *space = strchr(line, ' ');
	const char *argument = space ? space + 1 : "";

	if (space)
		*space = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		const struct verb *verb = &verbs[i];

		if (strcmp(line, verb->name) != 0 ||
		    verb->has_argument != (argument[0] != '\0'))
			continue;
		if (verb->run)
			verb->run(client, argument);
		else
			ask_relays(client, verb->name, argument);
		return;
	}
	answer_error(client, "unknown verb");
}

static void
on_client_read(struct bufferevent *connection, void *context)
{
	struct client *client = context;
	struct evbuffer *input = bufferevent_get_input(connection);
	char *line = evbuffer_readln(input, NULL, EVBUFFER_EOL_LF);

	if (!line) {
		if (evbuffer_get_length(input) >= CONTROL_QUESTION_SIZE)
			answer_error(client, "question is too long");
		return;
	}
	bufferevent_disable(connection, EV_READ);
	run_verb(client, line);
	free(line);
}

static void
on_client(struct evconnlistener *listener, evutil_socket_t fd,
    struct sockaddr *address, int size, void *context)
{
	struct health *health = context;
	struct client *client = calloc(1, sizeof(*client));
	struct timeval patience = { ANSWER_TIMEOUT * 2L, 0 };

	(void)listener;
	(void)address;
	(void)size;
	if (!client)
		abort();
	client->health = health;
	client->connection =
	    bufferevent_socket_new(health->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!client->connection)
		abort();
	bufferevent_setcb(
	    client->connection, on_client_read, NULL, on_client_event, client);
	bufferevent_set_timeouts(client->connection, &patience, &patience);
	bufferevent_setwatermark(
	    client->connection, EV_READ, 0, CONTROL_QUESTION_SIZE);
	bufferevent_enable(client->connection, EV_READ | EV_WRITE);
}

/* ---- relays and the parent ---- */

static void
relay_channel_free(struct relay_channel *relay)
{
	TAILQ_REMOVE(&relay->health->relays, relay, link);
	event_free(relay->event);
	close(relay->fd);
	free(relay);
}

static void
on_relay(evutil_socket_t fd, short what, void *context)
{
	struct relay_channel *relay = context;
	char text[CONTROL_QUESTION_SIZE];
	json_t *sessions;
	int answer_fd;
	long size = control_receive_fd(fd, &answer_fd, text);

	(void)what;
	if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) {
		relay_channel_free(relay);
		return;
	}
	if (answer_fd < 0) {
		if (size > 0 && relay->health->observer &&
		    slice_starts_nocase(slice_from(text), CONTROL_FAILED))
			observer_hint(relay->health->observer,
			    slice_from(text + strlen(CONTROL_FAILED)));
		return;
	}
	sessions = control_read_answer(answer_fd);
	take_answer(relay->health, text, sessions);
	json_decref(sessions);
}

static void
add_relay(struct health *health, int fd, unsigned slot)
{
	struct relay_channel *relay = calloc(1, sizeof(*relay));

	if (!relay)
		abort();
	relay->health = health;
	relay->fd = fd;
	relay->slot = slot;
	relay->event =
	    event_new(health->base, fd, EV_READ | EV_PERSIST, on_relay, relay);
	if (!relay->event || event_add(relay->event, NULL) < 0)
		abort();
	TAILQ_INSERT_TAIL(&health->relays, relay, link);
}

static void
on_parent(evutil_socket_t fd, short what, void *context)
{
	struct health *health = context;
	char text[CONTROL_QUESTION_SIZE];
	unsigned slot;
	int relay_fd;
	long size = control_receive_fd(fd, &relay_fd, text);

	(void)what;
	if (size == 0)
		event_base_loopbreak(health->base);
	else if (size > 0 && relay_fd >= 0 && strncmp(text, "relay ", 6) == 0 &&
		 read_number(text, &slot) == 0)
		add_relay(health, relay_fd, slot);
	else if (size > 0 && relay_fd >= 0 && strcmp(text, "auth") == 0 &&
		 health->observer)
		observer_set_auth(health->observer, relay_fd);
	else if (relay_fd >= 0)
		close(relay_fd);
}

/* ---- life ---- */

static void
on_replica_missing(evutil_socket_t fd, short what, void *context)
{
	struct health *health = context;

	(void)fd;
	(void)what;
	event_base_loopbreak(health->base);
}

/*
 * Without a replica all else goes on, for some seconds: what is jailed cannot
 * open it later, so another process tries again.
 */
static void
begin_observing(struct health *health)
{
	const struct health_settings *settings = health->settings;
	struct timeval patience = { RETRY_TIME, 0 };
	const char *why;

	if (!config_observes(settings->config) && settings->metrics_fd < 0)
		return;
	if (!config_observes(settings->config)) {
		if (replica_open(
			&health->replica, settings->config->replica, &why) == 0)
			return;
		log_why(
		    &health->log, LOG_LEVEL_WARNING, "replica_missing", why);
		event_base_once(health->base, -1, EV_TIMEOUT,
		    on_replica_missing, health, &patience);
		return;
	}
	health->observer = observer_new(health->base, settings->config,
	    settings->back_context, &health->log, &why);
	if (health->observer)
		return;
	log_why(&health->log, LOG_LEVEL_ERROR, "observer_failed", why);
	event_base_once(health->base, -1, EV_TIMEOUT, on_replica_missing,
	    health, &patience);
}

static void
begin_metrics(struct health *health)
{
	const struct health_settings *settings = health->settings;

	if (settings->metrics_fd < 0)
		return;
	health->sources = (struct metrics_sources){
		.config = settings->config,
		.stats = settings->stats,
		.front_tls = settings->front_tls,
		.observer = health->observer,
		.replica = health->observer ? observer_replica(health->observer)
					    : health->replica,
		.generation = settings->generation,
	};
	health->metrics = metrics_server_new(health->base, settings->metrics_fd,
	    &(struct metrics_source){ .add = metrics_add,
		.unhealthy = metrics_unhealthy,
		.context = &health->sources });
	if (!health->metrics)
		abort();
}

int
health_run(const struct health_settings *settings)
{
	struct health health = { .settings = settings, .log = settings->log };
	struct evconnlistener *listener;
	const char *why;

	TAILQ_INIT(&health.relays);
	TAILQ_INIT(&health.asking);
	health.base = event_base_new();
	if (!health.base)
		abort();
	begin_observing(&health);
	if (jail_enter(&settings->jail, &why) < 0) {
		log_why(&health.log, LOG_LEVEL_ERROR, "health_failed", why);
		return EXIT_FAILURE;
	}
	listener = evconnlistener_new(
	    health.base, on_client, &health, 0, 0, settings->control_fd);
	health.parent_event = event_new(health.base, settings->parent_fd,
	    EV_READ | EV_PERSIST, on_parent, &health);
	if (!listener || !health.parent_event ||
	    event_add(health.parent_event, NULL) < 0)
		abort();
	begin_metrics(&health);
	if (health.observer)
		observer_start(health.observer);
	event_base_dispatch(health.base);
	metrics_server_free(&health.metrics);
	observer_free(&health.observer);
	replica_free(&health.replica);
	while (!TAILQ_EMPTY(&health.relays))
		/* Freeing takes it off the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		relay_channel_free(TAILQ_FIRST(&health.relays));
	event_free(health.parent_event);
	evconnlistener_free(listener);
	event_base_free(health.base);
	return EXIT_SUCCESS;
}
