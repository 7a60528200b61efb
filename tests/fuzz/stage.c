#include "tests/fuzz/stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/connect.h"
#include "proxy/delivery.h"
#include "proxy/session.h"
#include "proxy/tls.h"
#include "tests/fuzz/fuzz.h"

#define ROUNDS_MAX 20000   /* of the loop, until nothing moves any more */
#define LONG_MS    4000000 /* beyond every time-out */

/* Whose connections connect_next() makes. */
static struct stage *current;

/* ---- in place of proxy/connect.c's: the linker's --wrap ---- */

bool take_connect_next(struct stream *stream, const struct address_list *list,
    size_t *next, uint16_t port, int *error) __asm__("__wrap_connect_next");

static void
limit_room(const struct stage *stage, const int ends[2])
{
	int size = (int)stage->room;

	for (int i = 0; size > 0 && i < 2; i++)
		setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static bool
connect_pair(struct stage *stage, struct stream *stream, unsigned server)
{
	struct stage_peer *peer;
	int ends[2];

	if (stage->server_count == STAGE_PEERS_MAX ||
	    (stage->refused >> server & 1))
		return false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		ends) < 0)
		abort();
	limit_room(stage, ends);
	stream_open(stream, ends[0]);
	peer = &stage->servers[stage->server_count++];
	stage_peer_open(peer, ends[1]);
	peer->server = server;
	if (stage->secured >> server & 1)
		stage_begin_tls(peer, false);
	return true;
}

bool
take_connect_next(struct stream *stream, const struct address_list *list,
    size_t *next, uint16_t port, int *error)
{
	(void)port;
	stream_close(stream);
	while (*next < list->count) {
		const union address *address = &list->addresses[(*next)++];
		unsigned server =
		    (ntohl(address->in.sin_addr.s_addr) & 0xff) - 1;

		fuzz_require(server < STAGE_SERVERS, "a server of the cell");
		if (connect_pair(current, stream, server))
			return true;
		*error = ECONNREFUSED;
	}
	return false;
}

/* ---- the relay ---- */

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

static void
on_guard(evutil_socket_t fd, short what, void *context)
{
	struct stage *stage = context;

	(void)fd;
	(void)what;
	event_base_loopbreak(stage->relay.base);
}

static void
open_relay(struct stage *stage)
{
	struct stage_world *world = stage_world();
	const struct config_limits *limits = &world->config->limits;
	struct relay *relay = &stage->relay;
	const char *why = NULL;

	*relay = (struct relay){ .settings = &stage->settings,
		.config = world->config,
		.router = world->router };
	for (unsigned i = 0; i < QUEUE_COUNT; i++)
		TAILQ_INIT(&relay->queues[i]);
	relay->front_settings = (struct front_settings){
		.host_name = world->config->host_name,
		.line_size = (size_t)limits->line_size,
		.literal_size = (size_t)limits->literal_size,
		.bad_commands = (unsigned)limits->bad_commands,
		.offers = &relay->offers,
	};
	offers_init(&relay->offers);
	relay->log = log_open(LOG_TARGET_STDERR, LOG_LEVEL_ERROR, "fuzz");
	relay->base = event_base_new();
	if (!relay->base || pump_open(&relay->pump) < 0)
		abort();
	relay->resolver =
	    resolver_new(relay->base, &world->config->dns_servers, &why);
	relay->reaper = event_new(relay->base, -1, EV_PERSIST, on_reap, relay);
	stage->guard = event_new(relay->base, -1, EV_PERSIST, on_guard, stage);
	if (!relay->resolver || !relay->reaper || !stage->guard)
		abort();
	relay->accepting = true;
	relay->now_s = relay_now_ms() / 1000;
	moves_open(relay);
}

void
stage_open(struct stage *stage, enum service_kind service)
{
	struct stage_world *world = stage_world();
	size_t count;
	const struct config_listener *listeners =
	    config_listeners(world->config, &count);

	memset(stage, 0, sizeof(*stage));
	current = stage;
	stage->config = world->config;
	stage->client.fd = -1;
	while (count > 0 && listeners->service != service) {
		listeners++;
		count--;
	}
	fuzz_require(count > 0, "there is a listener");
	stage->listener_config = *listeners;
	stage->settings = (struct relay_settings){
		.config = world->config,
		.front_context = world->front->context,
		.back_context = world->back,
		.stats = world->stats,
		.slot = &world->stats->slots[0],
		.failures = &world->stats->failures,
		.parent_fd = -1,
		.health_fd = -1,
	};
	memset(world->stats->slots, 0, sizeof(world->stats->slots[0]));
	open_relay(stage);
}

void
stage_connect(struct stage *stage)
{
	union address address = { .in = { .sin_family = AF_INET,
				      .sin_port = htons(4000),
				      .sin_addr = {
					  htonl(INADDR_LOOPBACK) } } };
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		ends) < 0)
		abort();
	limit_room(stage, ends);
	stage_peer_open(&stage->client, ends[1]);
	stage->listener = (struct listener){
		.fd = -1, .config = &stage->listener_config, .address = address
	};
	if (stage->listener_config.service == SERVICE_LMTP ||
	    stage->listener_config.service == SERVICE_SMTP)
		delivery_accept(&stage->relay, &stage->listener, ends[0],
		    &address, &address);
	else
		session_accept(&stage->relay, &stage->listener, ends[0],
		    &address, &address);
	stage_turn(stage);
}

void
stage_turn(struct stage *stage)
{
	struct event_base *base = stage->relay.base;
	unsigned rounds = 0;
	bool moved = true;

	while (moved) {
		/* What makes itself active again would never let us have ours.
		 */
		event_active(stage->guard, EV_TIMEOUT, 1);
		moved = event_base_loop(base, EVLOOP_NONBLOCK) == 0 &&
			event_base_get_num_events(
			    base, EVENT_BASE_COUNT_ACTIVE) > 0;
		if (stage_peer_turn(&stage->client))
			moved = true;
		for (size_t i = 0; i < stage->server_count; i++)
			if (stage_peer_turn(&stage->servers[i]))
				moved = true;
		fuzz_require(++rounds < ROUNDS_MAX, "it comes to rest");
	}
}

static int64_t
queue_time_s(const struct config_limits *limits, enum session_queue queue)
{
	switch (queue) {
	case QUEUE_LOGIN:
		return limits->login_time;
	case QUEUE_IDLE:
		return limits->idle_time;
	case QUEUE_STALLED:
		return limits->write_stall_time;
	case QUEUE_CLOSING:
	case QUEUE_DEAD:
	case QUEUE_COUNT:
		break;
	}
	return 5;
}

/* What the relay does once a second. */
static void
tick(struct relay *relay)
{
	relay->now_s = relay_now_ms() / 1000;
	for (unsigned i = 0; i < QUEUE_DEAD; i++) {
		int64_t before_s =
		    relay->now_s -
		    queue_time_s(&relay->config->limits, (enum session_queue)i);
		struct session *session;

		while ((session = TAILQ_FIRST(&relay->queues[i])) &&
		       session_queued_s(session) <= before_s)
			session_time_out(session);
	}
}

void
stage_advance(struct stage *stage, int64_t time_ms)
{
	stage->ahead_ms += time_ms;
	stage_clock_set(stage->ahead_ms);
	stage_turn(stage);
	tick(&stage->relay);
	stage_turn(stage);
}

static uint64_t
counted(const struct stage *stage, enum stats_counter counter)
{
	return stats_of(stage->settings.slot, counter);
}

/* Guesses of one play are nothing to the next; most have none. */
static void
forget_failures(struct stage *stage)
{
	struct failures *failures = stage->settings.failures;

	if (counted(stage, STATS_LOGINS) + counted(stage, STATS_FAILED) +
		counted(stage, STATS_UNAVAILABLE) +
		counted(stage, STATS_RETRIED) >
	    0)
		memset(failures->entries, 0, sizeof(failures->entries));
}

static void
close_relay(struct stage *stage)
{
	struct relay *relay = &stage->relay;

	moves_close(relay);
	verdicts_free(&relay->verdicts);
	offers_free(&relay->offers);
	resolver_free(&relay->resolver);
	event_free(relay->reaper);
	event_free(stage->guard);
	pump_close(&relay->pump);
	stage_world()->router = relay->router;
	event_base_free(relay->base);
}

void
stage_close(struct stage *stage)
{
	struct relay *relay = &stage->relay;
	struct session *session;

	stage_hang_up(&stage->client);
	for (size_t i = 0; i < stage->server_count; i++)
		stage_hang_up(&stage->servers[i]);
	stage_turn(stage);
	stage_advance(stage, LONG_MS);
	for (unsigned i = 0; i < QUEUE_DEAD; i++)
		while ((session = TAILQ_FIRST(&relay->queues[i])))
			session_stop(session);
	stage_turn(stage);
	fuzz_require(
	    relay->session_count == 0 && LIST_EMPTY(&relay->deliveries),
	    "every session ends");
	fuzz_require(counted(stage, STATS_SESSIONS) == 0 &&
			 counted(stage, STATS_LOGGED_IN) == 0 &&
			 counted(stage, STATS_LOGIN_MEMORY) == 0,
	    "what is counted goes with its session");
	for (size_t i = 0; i < MOVES_BUCKETS; i++)
		fuzz_require(LIST_EMPTY(&relay->moves.buckets[i]),
		    "nobody follows who has ended");
	forget_failures(stage);
	close_relay(stage);
	stage_peer_close(&stage->client);
	for (size_t i = 0; i < stage->server_count; i++)
		stage_peer_close(&stage->servers[i]);
	stage_clock_set(0);
	current = NULL;
}
