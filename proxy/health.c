#include "proxy/health.h"

#include <errno.h>
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

#include "proxy/control.h"

#define ANSWER_TIMEOUT 2 /* s that relays have to answer */

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
	unsigned question;   /* of `who`: its number */
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
	TAILQ_HEAD(, relay_channel) relays;
	TAILQ_HEAD(, client) asking; /* those who asked `who` */
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

static json_t *
describe_counters(const struct stats *stats)
{
	json_t *counters = json_object();

	for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++)
		json_object_set_new(counters,
		    stats_counter_text((enum stats_counter)i),
		    json_integer(
			(json_int_t)stats_total(stats, (enum stats_counter)i)));
	return counters;
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
				(json_int_t)slot->counters[STATS_SESSIONS],
				"logged_in",
				(json_int_t)slot->counters[STATS_LOGGED_IN]));
	}
	return relays;
}

static void
answer_status(struct client *client)
{
	const struct health_settings *settings = client->health->settings;

	answer(client,
	    json_pack("{s:s, s:s, s:i, s:i, s:o, s:o}", "version",
		POSTCELL_VERSION, "host", settings->config->host_name,
		"generation", (int)settings->generation, "parent",
		(int)getppid(), "relays", describe_relays(settings->stats),
		"counters", describe_counters(settings->stats)));
}

/* ---- who ---- */

static void
finish_who(struct client *client)
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
on_who_timeout(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	finish_who(context);
}

static void
begin_who(struct client *client)
{
	struct health *health = client->health;
	struct timeval timeout = { ANSWER_TIMEOUT, 0 };
	struct relay_channel *relay;
	char question[32];
	size_t size;

	client->question = ++health->questions;
	size = (size_t)snprintf(
	    question, sizeof(question), "who %u", client->question);
	client->sessions = json_array();
	client->timeout = evtimer_new(health->base, on_who_timeout, client);
	if (!client->sessions || !client->timeout)
		abort();
	TAILQ_INSERT_TAIL(&health->asking, client, link);
	TAILQ_FOREACH (relay, &health->relays, link)
		if (send(relay->fd, question, size,
			MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
			client->unanswered++;
	if (client->unanswered == 0)
		finish_who(client);
	else
		event_add(client->timeout, &timeout);
}

/* An answer to a question whose client was not patient enough is dropped. */
static void
take_answer(struct health *health, const char *question, json_t *sessions)
{
	struct client *client;
	unsigned number;

	if (!sessions || sscanf(question, "who %u", &number) != 1)
		return;
	TAILQ_FOREACH (client, &health->asking, link)
		if (client->question == number)
			break;
	if (!client)
		return;
	json_array_extend(client->sessions, sessions);
	if (--client->unanswered == 0)
		finish_who(client);
}

/* ---- the control socket ---- */

static void
begin_reload(struct client *client)
{
	if (send(client->health->settings->parent_fd, "reload", 6,
		MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		answer_error(client, "the parent does not listen");
	else
		answer(client, json_pack("{s:b}", "begun", 1));
}

static const struct verb {
	const char *name;
	void (*run)(struct client *client);
} verbs[] = {
	{ "status", answer_status },
	{ "who", begin_who },
	{ "reload", begin_reload },
};

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
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(line, verbs[i].name) == 0) {
			verbs[i].run(client);
			free(line);
			return;
		}
	}
	answer_error(client, "unknown verb");
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
	if (answer_fd < 0)
		return;
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
	else if (size > 0 && relay_fd >= 0 &&
		 sscanf(text, "relay %u", &slot) == 1)
		add_relay(health, relay_fd, slot);
}

/* ---- life ---- */

int
health_run(const struct health_settings *settings)
{
	struct health health = { .settings = settings, .log = settings->log };
	struct evconnlistener *listener;
	const char *why;

	TAILQ_INIT(&health.relays);
	TAILQ_INIT(&health.asking);
	if (jail_enter(&settings->jail, &why) < 0) {
		log_why(&health.log, LOG_LEVEL_ERROR, "health_failed", why);
		return EXIT_FAILURE;
	}
	health.base = event_base_new();
	if (!health.base)
		abort();
	listener = evconnlistener_new(
	    health.base, on_client, &health, 0, 0, settings->control_fd);
	health.parent_event = event_new(health.base, settings->parent_fd,
	    EV_READ | EV_PERSIST, on_parent, &health);
	if (!listener || !health.parent_event ||
	    event_add(health.parent_event, NULL) < 0)
		abort();
	event_base_dispatch(health.base);
	while (!TAILQ_EMPTY(&health.relays))
		relay_channel_free(TAILQ_FIRST(&health.relays));
	event_free(health.parent_event);
	evconnlistener_free(listener);
	event_base_free(health.base);
	return EXIT_SUCCESS;
}
