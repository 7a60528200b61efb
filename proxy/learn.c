#include "proxy/learn.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/back.h"
#include "proxy/connect.h"
#include "proxy/relay.h"

#define ASK_AGAIN   300 /* s after a server told */
#define ASK_FAILED  10  /* s after it could not be asked */
#define ASK_TIMEOUT 10  /* s for one attempt */
#define ASKED_MAX   16  /* servers asked at once */
#define LINE_SIZE   8192
#define READ_CHUNK  4096

enum lesson_state {
	LESSON_IDLE,
	LESSON_RESOLVE,
	LESSON_CONNECT,
	LESSON_TLS,
	LESSON_SPEAK
};

/* One service of one server. */
struct lesson {
	TAILQ_ENTRY(lesson) link;
	struct learner *learner; /* borrowed */
	enum service_kind kind;
	enum service_tls tls;
	bool proxy_header;
	uint16_t port;
	char host[ROUTE_HOST_SIZE];
	struct buf lines; /* owned: what it offers */
	bool known;       /* it told at least once */
	bool listed;      /* it is in the newest map */
	int64_t due_s;

	/* while it is asked */
	enum lesson_state state;
	struct resolve_query *query; /* owned */
	struct stream stream;
	struct event *event, *timer; /* owned */
	struct back back;
	struct buf in, out, heard; /* owned */
};

struct learner {
	struct relay *relay; /* borrowed */
	TAILQ_HEAD(, lesson) lessons;
	struct back_client client; /* ourselves, who do not log in */
	unsigned asked;            /* lessons not idle */
	uint64_t generation;
	bool has_map;
};

/* ---- what was learned ---- */

static void
join(struct learner *learner, enum service_kind kind)
{
	struct buf *common = &learner->relay->offers.lines[kind];
	unsigned mechanisms = 0;
	struct lesson *lesson;
	struct slice lines;
	bool first = true;

	buf_free(common);
	TAILQ_FOREACH (lesson, &learner->lessons, link) {
		/* Freeing takes it off the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		if (lesson->kind != kind || !lesson->known)
			continue;
		if (offer_join(kind, common, buf_slice(&lesson->lines), first) <
		    0)
			buf_free(common);
		lines = buf_slice(&lesson->lines);
		mechanisms = first ? offer_mechanisms(lines)
				   : mechanisms & offer_mechanisms(lines);
		first = false;
	}
	learner->relay->offers.mechanisms[kind] = mechanisms;
}

/* ---- asking ---- */

static void
stop(struct lesson *lesson, int64_t pause_s)
{
	if (lesson->state == LESSON_IDLE)
		return;
	lesson->state = LESSON_IDLE;
	lesson->due_s = lesson->learner->relay->now_s + pause_s;
	resolve_cancel(&lesson->query);
	if (lesson->event)
		event_free(lesson->event);
	lesson->event = NULL;
	event_del(lesson->timer);
	stream_close(&lesson->stream);
	back_close(&lesson->back);
	buf_free(&lesson->in);
	buf_free(&lesson->out);
	buf_free(&lesson->heard);
	if (--lesson->learner->asked == 0)
		relay_learned(lesson->learner->relay);
}

static void
fail(struct lesson *lesson, const char *why)
{
	struct log *log = &lesson->learner->relay->log;
	struct log_line line = log_line(LOG_LEVEL_DEBUG, "learn_failed");

	log_word(&line, "service", service_kind_text(lesson->kind));
	log_string(&line, "host", lesson->host);
	log_string(&line, "why", why);
	log_send(log, &line);
	stop(lesson, ASK_FAILED);
}

static void
succeed(struct lesson *lesson)
{
	struct buf heard = lesson->heard;

	lesson->heard = buf_bounded(0);
	buf_free(&lesson->lines);
	lesson->lines = heard;
	lesson->known = true;
	stop(lesson, ASK_AGAIN);
	join(lesson->learner, lesson->kind);
}

static void on_stream(evutil_socket_t fd, short what, void *context);

static void
arm(struct lesson *lesson)
{
	bool reads = lesson->state != LESSON_CONNECT;
	bool writes = lesson->state == LESSON_CONNECT || lesson->out.size > 0;
	short events = stream_events(&lesson->stream, reads, writes);

	if (lesson->event)
		event_free(lesson->event);
	lesson->event = event_new(lesson->learner->relay->base,
	    lesson->stream.fd, events, on_stream, lesson);
	if (!lesson->event || event_add(lesson->event, NULL) < 0)
		abort();
}

/* False when the lesson ended over it. */
static bool
flush(struct lesson *lesson)
{
	size_t moved;

	while (lesson->out.size > 0) {
		enum stream_result result = stream_write(&lesson->stream,
		    lesson->out.data, lesson->out.size, &moved);

		if (result == STREAM_AGAIN)
			return true;
		if (result != STREAM_DONE) {
			fail(lesson, stream_why(&lesson->stream));
			return false;
		}
		buf_consume(&lesson->out, moved);
	}
	return true;
}

static void
begin_tls(struct lesson *lesson)
{
	buf_free(&lesson->in);
	lesson->state = LESSON_TLS;
	if (stream_tls_client(&lesson->stream,
		lesson->learner->relay->settings->back_context,
		lesson->host) < 0)
		abort();
	arm(lesson);
	event_active(lesson->event, EV_WRITE, 1);
}

static void
speak(struct lesson *lesson)
{
	struct back *back = &lesson->back;
	struct slice input = buf_slice(&lesson->in);
	size_t before = input.size;
	enum back_action action =
	    back->protocol->input(back, &input, &lesson->out);

	buf_consume(&lesson->in, before - input.size);
	switch (action) {
	case BACK_MORE:
		if (flush(lesson))
			arm(lesson);
		return;
	case BACK_STARTTLS:
		begin_tls(lesson);
		return;
	case BACK_ACCEPTED:
		/* The farewell is a courtesy. */
		if (flush(lesson))
			succeed(lesson);
		return;
	case BACK_CHALLENGE:
	case BACK_REFUSED:
	case BACK_UNAVAILABLE:
	case BACK_BROKEN:
		fail(lesson, back->why ? back->why : "the server said no");
		return;
	}
}

static void
step_connect(struct lesson *lesson)
{
	int error = connect_finish(&lesson->stream);

	if (error == 0 && lesson->proxy_header)
		error = connect_introduce(&lesson->stream, NULL, NULL);
	if (error != 0) {
		fail(lesson, strerrordesc_np(error));
		return;
	}
	back_open(&lesson->back, back_protocol(lesson->kind),
	    &lesson->learner->client, NULL, slice_from(""), lesson->tls,
	    LINE_SIZE);
	lesson->back.offer = &lesson->heard;
	lesson->state = LESSON_SPEAK;
	if (lesson->tls == SERVICE_TLS_IMPLICIT)
		begin_tls(lesson);
	else
		arm(lesson);
}

static void
step_tls(struct lesson *lesson)
{
	switch (stream_handshake(&lesson->stream)) {
	case STREAM_AGAIN:
		arm(lesson);
		return;
	case STREAM_END:
	case STREAM_FAILED:
		fail(lesson, stream_why(&lesson->stream));
		return;
	case STREAM_DONE:
		break;
	}
	lesson->state = LESSON_SPEAK;
	if (lesson->tls == SERVICE_TLS_STARTTLS)
		lesson->back.protocol->secured(&lesson->back, &lesson->out);
	if (!flush(lesson))
		return;
	arm(lesson);
	event_active(lesson->event, EV_READ, 1);
}

static void
step_speak(struct lesson *lesson)
{
	size_t moved = 0;
	char *room;

	if (!flush(lesson))
		return;
	do {
		room = buf_reserve(&lesson->in, READ_CHUNK);
		if (!room) {
			fail(lesson, "the server's line is too long");
			return;
		}
		switch (
		    stream_read(&lesson->stream, room, READ_CHUNK, &moved)) {
		case STREAM_AGAIN:
			arm(lesson);
			return;
		case STREAM_END:
		case STREAM_FAILED:
			fail(lesson, "the server closed");
			return;
		case STREAM_DONE:
			break;
		}
		buf_grow(&lesson->in, moved);
		speak(lesson);
	} while (lesson->state == LESSON_SPEAK &&
		 stream_has_pending(&lesson->stream));
}

static void
on_stream(evutil_socket_t fd, short what, void *context)
{
	struct lesson *lesson = context;

	(void)fd;
	(void)what;
	if (lesson->state == LESSON_CONNECT)
		step_connect(lesson);
	else if (lesson->state == LESSON_TLS)
		step_tls(lesson);
	else if (lesson->state == LESSON_SPEAK)
		step_speak(lesson);
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	fail(context, "the server does not answer");
}

/* The first address that answers at all will do: it is the same server behind
 * all of them. */
static void
on_resolved(void *context, const struct address_list *list, const char *why)
{
	struct lesson *lesson = context;
	int error = 0;
	size_t next = 0;

	lesson->query = NULL;
	if (!connect_next(&lesson->stream, list, &next, lesson->port, &error)) {
		fail(lesson, error != 0 ? strerrordesc_np(error) : why);
		return;
	}
	lesson->state = LESSON_CONNECT;
	arm(lesson);
}

static void
begin(struct lesson *lesson)
{
	struct timeval timeout = { ASK_TIMEOUT, 0 };
	struct relay *relay = lesson->learner->relay;
	struct resolve_query *query;

	lesson->learner->asked++;
	lesson->state = LESSON_RESOLVE;
	lesson->in = buf_bounded(LINE_SIZE + READ_CHUNK);
	lesson->out = buf_bounded(LINE_SIZE);
	lesson->heard = buf_bounded(OFFER_SIZE_MAX);
	event_add(lesson->timer, &timeout);
	query = resolve(relay->resolver, lesson->host, on_resolved, lesson);
	if (query)
		lesson->query = query;
}

/* ---- whom to ask ---- */

static void
lesson_free(struct lesson *lesson)
{
	TAILQ_REMOVE(&lesson->learner->lessons, lesson, link);
	stop(lesson, 0);
	event_free(lesson->timer);
	buf_free(&lesson->lines);
	free(lesson);
}

static struct lesson *
find_lesson(struct learner *learner, const struct service *service)
{
	struct lesson *lesson;

	TAILQ_FOREACH (lesson, &learner->lessons, link)
		if (lesson->kind == service->kind &&
		    lesson->port == service->port &&
		    lesson->tls == service->tls &&
		    lesson->proxy_header == service->proxy_header &&
		    slice_is(service->host, lesson->host))
			return lesson;
	return NULL;
}

/* Is anything of that service announced that its back ends must have? */
static bool
is_wanted(const struct relay *relay, enum service_kind kind)
{
	for (size_t i = 0; i < relay->settings->listener_count; i++) {
		const struct config_listener *listener =
		    relay->settings->listeners[i].config;

		if (listener->service == kind &&
		    (offer_is_used(kind) ||
			config_relays_mechanisms(relay->config, listener)))
			return true;
	}
	return false;
}

static void
list(struct learner *learner, const struct service *service)
{
	struct lesson *lesson = find_lesson(learner, service);

	if (!is_wanted(learner->relay, service->kind) ||
	    !back_protocol(service->kind) ||
	    service->host.size >= ROUTE_HOST_SIZE)
		return;
	if (!lesson) {
		lesson = calloc(1, sizeof(*lesson));
		if (!lesson)
			abort();
		lesson->learner = learner;
		lesson->kind = service->kind;
		lesson->tls = service->tls;
		lesson->proxy_header = service->proxy_header;
		lesson->port = service->port;
		memcpy(lesson->host, service->host.data, service->host.size);
		lesson->stream.fd = -1;
		lesson->timer =
		    evtimer_new(learner->relay->base, on_timer, lesson);
		if (!lesson->timer)
			abort();
		TAILQ_INSERT_TAIL(&learner->lessons, lesson, link);
	}
	lesson->listed = true;
}

/* Brings the lessons in step with the map of the cell. */
static void
read_map(struct learner *learner)
{
	size_t count;
	const struct host *hosts =
	    cell_hosts(learner->relay->router.cell, &count);
	struct lesson *lesson, *next;

	TAILQ_FOREACH (lesson, &learner->lessons, link)
		lesson->listed = false;
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0;
		     hosts[i].kind == HOST_SERVER && k < hosts[i].service_count;
		     k++)
			list(learner, &hosts[i].services[k]);
	for (lesson = TAILQ_FIRST(&learner->lessons); lesson; lesson = next) {
		next = TAILQ_NEXT(lesson, link);
		if (!lesson->listed)
			lesson_free(lesson);
	}
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++)
		join(learner, (enum service_kind)i);
}

bool
learner_is_asking(const struct learner *learner)
{
	return learner->asked > 0;
}

void
learner_tick(struct learner *learner)
{
	struct relay *relay = learner->relay;
	struct lesson *lesson;
	const char *why;

	if (relay->retiring || router_refresh(&relay->router, &why) < 0)
		return;
	if (!learner->has_map ||
	    learner->generation != relay->router.generation)
		read_map(learner);
	learner->has_map = true;
	learner->generation = relay->router.generation;
	TAILQ_FOREACH (lesson, &learner->lessons, link)
		if (learner->asked < ASKED_MAX &&
		    lesson->state == LESSON_IDLE &&
		    lesson->due_s <= relay->now_s)
			begin(lesson);
}

/* ---- life ---- */

struct learner *
learner_new(struct relay *relay)
{
	struct learner *learner = calloc(1, sizeof(*learner));

	if (!learner)
		abort();
	learner->relay = relay;
	learner->client = (struct back_client){
		.address = "",
		.local_address = "",
		.session = "",
		.host_name = relay->config->host_name,
		.hello = "",
	};
	TAILQ_INIT(&learner->lessons);
	learner_tick(learner);
	return learner;
}

void
learner_free(struct learner **learner)
{
	if (!*learner)
		return;
	while (!TAILQ_EMPTY(&(*learner)->lessons))
		/* Freeing takes it off the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		lesson_free(TAILQ_FIRST(&(*learner)->lessons));
	free(*learner);
	*learner = NULL;
}
