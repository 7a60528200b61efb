#include "proxy/verdict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define VERDICT_BATCH 64 /* answers taken of one process in a row */

/* An auth process. */
struct verdict_channel {
	TAILQ_ENTRY(verdict_channel) link;
	struct verdicts *verdicts; /* borrowed */
	int fd;                    /* owned */
	struct event *event;       /* owned */
};

struct verdict_query {
	LIST_ENTRY(verdict_query) link;  /* in its bucket */
	struct verdicts *verdicts;       /* borrowed */
	struct verdict_channel *channel; /* who has it; NULL: nobody yet */
	uint32_t id;
	struct buf request; /* owned, secret: to be asked again */
	bool goes_on;       /* its process has what nobody else knows */
	bool kept;          /* nothing is waited for */
	const char *why; /* static: answered with UNAVAILABLE, from the loop */
	verdict_done *done;
	void *context;
	struct event *timer; /* owned */
};

#define VERDICT_BUCKETS 256

LIST_HEAD(verdict_bucket, verdict_query);

struct verdicts {
	struct event_base *base; /* borrowed */
	const struct config_auth *config;
	TAILQ_HEAD(, verdict_channel) channels; /* the next one first */
	struct verdict_bucket buckets[VERDICT_BUCKETS];
	size_t query_count;
	uint32_t ids;
};

static struct verdict_bucket *
bucket_of(struct verdicts *verdicts, uint32_t id)
{
	return &verdicts->buckets[id % VERDICT_BUCKETS];
}

static void
query_free(struct verdict_query *query)
{
	query->verdicts->query_count--;
	LIST_REMOVE(query, link);
	event_free(query->timer);
	buf_wipe(&query->request);
	free(query);
}

static void
finish(struct verdict_query *query, const struct auth_answer *answer)
{
	verdict_done *done = query->done;
	void *context = query->context;

	query_free(query);
	done(context, answer);
}

/* It need not go on with it. */
static void
send_cancel(const struct verdict_query *query)
{
	struct auth_request request = { .id = query->id, .kind = AUTH_CANCEL };
	struct buf datagram = buf_bounded(64);

	auth_request_write(&datagram, &request);
	if (query->channel)
		(void)send(query->channel->fd, datagram.data, datagram.size,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
	buf_free(&datagram);
}

/* The deadline, or the turn of the loop in which a failure is told. */
static void
on_timer(evutil_socket_t fd, short what, void *context)
{
	struct verdict_query *query = context;
	struct auth_answer answer = { .id = query->id,
		.verdict = AUTH_UNAVAILABLE };

	(void)fd;
	(void)what;
	answer.why = slice_from(query->why ? query->why
				: query->channel
				    ? "the auth process did not answer in time"
				    : "there is no auth process");
	send_cancel(query);
	finish(query, &answer);
}

static void
fail_soon(struct verdict_query *query, const char *why)
{
	query->why = why;
	event_active(query->timer, EV_TIMEOUT, 1);
}

/* ---- channels ---- */

static bool
send_request(struct verdict_channel *channel, const struct buf *request)
{
	return send(channel->fd, request->data, request->size,
		   MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

/*
 * To the first that takes it, which is the last one to be asked next time.
 * Where none is alive it waits for one; that the end of a process was not seen
 * yet makes no difference.
 */
static void
submit(struct verdict_query *query)
{
	struct verdicts *verdicts = query->verdicts;
	struct verdict_channel *channel;
	bool overwhelmed = false;

	TAILQ_FOREACH (channel, &verdicts->channels, link) {
		if (send_request(channel, &query->request))
			break;
		overwhelmed |= errno == EAGAIN || errno == ENOBUFS;
	}
	query->channel = channel;
	if (channel) {
		TAILQ_REMOVE(&verdicts->channels, channel, link);
		TAILQ_INSERT_TAIL(&verdicts->channels, channel, link);
	} else if (overwhelmed) {
		fail_soon(query, "the auth processes are overwhelmed");
	}
}

/* Its questions are asked elsewhere. */
static void
lose_channel(struct verdict_channel *channel)
{
	struct verdicts *verdicts = channel->verdicts;
	struct verdict_query *query;

	TAILQ_REMOVE(&verdicts->channels, channel, link);
	event_free(channel->event);
	close(channel->fd);
	for (size_t i = 0; i < VERDICT_BUCKETS; i++) {
		LIST_FOREACH(query, &verdicts->buckets[i], link)
		{
			if (query->channel != channel)
				continue;
			query->channel = NULL;
			if (query->kept)
				continue;
			if (query->goes_on)
				fail_soon(query, "the auth process died");
			else
				submit(query);
		}
	}
	free(channel);
}

static struct verdict_query *
find_query(struct verdicts *verdicts, const struct verdict_channel *channel,
    uint32_t id)
{
	struct verdict_query *query;

	LIST_FOREACH(query, bucket_of(verdicts, id), link)
	if (query->id == id && query->channel == channel)
		return query;
	return NULL;
}

/* What was cancelled meanwhile, or failed, is not waited for any more. */
static void
take_answer(struct verdict_channel *channel, const struct auth_answer *answer)
{
	struct verdict_query *query =
	    find_query(channel->verdicts, channel, answer->id);

	if (!query || query->why)
		return;
	if (answer->verdict != AUTH_CHALLENGE && answer->verdict != AUTH_KEPT) {
		finish(query, answer);
		return;
	}
	query->goes_on = true;
	query->kept = answer->verdict == AUTH_KEPT;
	if (query->kept)
		buf_wipe(&query->request);
	evtimer_del(query->timer);
	query->done(query->context, answer);
}

static void
on_answer(evutil_socket_t fd, short what, void *context)
{
	static char datagram[AUTH_PROTOCOL_SIZE_MAX];
	struct verdict_channel *channel = context;
	struct auth_answer answer;
	ssize_t size = -1;

	(void)what;
	for (int i = 0; i < VERDICT_BATCH; i++) {
		size = recv(fd, datagram, sizeof(datagram), MSG_DONTWAIT);
		if (size <= 0)
			break;
		if (auth_answer_read(
			&answer, slice_of(datagram, (size_t)size)) == 0)
			take_answer(channel, &answer);
		explicit_bzero(datagram, (size_t)size);
	}
	if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
		lose_channel(channel);
}

void
verdicts_add(struct verdicts *verdicts, int fd)
{
	struct verdict_channel *channel = calloc(1, sizeof(*channel));
	struct verdict_query *query;

	if (!channel)
		abort();
	channel->verdicts = verdicts;
	channel->fd = fd;
	channel->event = event_new(
	    verdicts->base, fd, EV_READ | EV_PERSIST, on_answer, channel);
	if (!channel->event || event_add(channel->event, NULL) < 0)
		abort();
	TAILQ_INSERT_HEAD(&verdicts->channels, channel, link);
	for (size_t i = 0; i < VERDICT_BUCKETS; i++)
		LIST_FOREACH(query, &verdicts->buckets[i], link)
	if (!query->channel && !query->why && !query->kept)
		submit(query);
}

/* ---- queries ---- */

static void
set_deadline(struct verdict_query *query)
{
	struct timeval deadline = { query->verdicts->config->deadline, 0 };

	evtimer_add(query->timer, &deadline);
}

/* 0 is nobody's. */
static uint32_t
next_id(struct verdicts *verdicts)
{
	if (++verdicts->ids == 0)
		verdicts->ids++;
	return verdicts->ids;
}

/* To the process that keeps what it refers to. */
static void
submit_to(struct verdict_query *query, const struct verdict_query *kept)
{
	query->goes_on = true;
	query->channel = kept->channel;
	if (!query->channel || !send_request(query->channel, &query->request))
		fail_soon(query, "the auth process is gone or overwhelmed");
}

struct verdict_query *
verdict_ask(struct verdicts *verdicts, const struct verdict_query *kept,
    const struct auth_request *request, verdict_done *done, void *context)
{
	struct verdict_query *query = calloc(1, sizeof(*query));
	struct auth_request numbered = *request;

	if (!query)
		abort();
	query->verdicts = verdicts;
	query->id = numbered.id = next_id(verdicts);
	numbered.kept = kept ? kept->id : 0;
	query->request = buf_bounded(AUTH_PROTOCOL_SIZE_MAX);
	query->done = done;
	query->context = context;
	query->timer = evtimer_new(verdicts->base, on_timer, query);
	if (!query->timer)
		abort();
	LIST_INSERT_HEAD(bucket_of(verdicts, query->id), query, link);
	auth_request_write(&query->request, &numbered);
	if (++verdicts->query_count > (size_t)verdicts->config->requests)
		fail_soon(query, "auth.requests is reached");
	else if (query->request.failed)
		fail_soon(query, "the question is too long");
	else if (kept)
		submit_to(query, kept);
	else
		submit(query);
	if (!query->why)
		set_deadline(query);
	return query;
}

void
verdict_respond(struct verdict_query *query, struct slice message)
{
	struct auth_request request = {
		.id = query->id, .kind = AUTH_MORE, .message = message
	};

	buf_wipe(&query->request);
	auth_request_write(&query->request, &request);
	if (query->why)
		return;
	if (query->request.failed || !query->channel ||
	    !send_request(query->channel, &query->request))
		fail_soon(query, "the auth process is gone or overwhelmed");
	else
		set_deadline(query);
}

void
verdict_cancel(struct verdict_query **query)
{
	struct verdict_query *old = *query;

	*query = NULL;
	if (!old)
		return;
	send_cancel(old);
	query_free(old);
}

/* ---- life ---- */

struct verdicts *
verdicts_new(struct event_base *base, const struct config_auth *config)
{
	struct verdicts *verdicts = calloc(1, sizeof(*verdicts));

	if (!verdicts)
		return NULL;
	verdicts->base = base;
	verdicts->config = config;
	TAILQ_INIT(&verdicts->channels);
	for (size_t i = 0; i < VERDICT_BUCKETS; i++)
		LIST_INIT(&verdicts->buckets[i]);
	return verdicts;
}

void
verdicts_free(struct verdicts **verdicts)
{
	struct verdicts *old = *verdicts;
	struct verdict_channel *channel;

	*verdicts = NULL;
	if (!old)
		return;
	for (size_t i = 0; i < VERDICT_BUCKETS; i++)
		while (!LIST_EMPTY(&old->buckets[i]))
			/* Freeing takes it off the list. */
			/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
			query_free(LIST_FIRST(&old->buckets[i]));
	while ((channel = TAILQ_FIRST(&old->channels))) {
		TAILQ_REMOVE(&old->channels, channel, link);
		event_free(channel->event);
		close(channel->fd);
		free(channel);
	}
	free(old);
}
