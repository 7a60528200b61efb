#include "kdc-plugin/ask.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/query.h"

#define ASK_ANSWER_MAX 2048
#define ASK_GRACE_MIN  INT64_C(1000) /* us */

struct ask {
	struct nearest *servers; /* borrowed */
	struct pollfd waits[ASK_MAX];
	size_t count;
	enum service_kind service;
	int64_t begin_us, end_us;
};

static int64_t
ask_now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* A socket that takes datagrams of that server alone; -1 for none. */
static int
ask_send(const struct endpoint *place, struct slice query)
{
	int fd = socket(place->address.ss_family,
	    SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&place->address,
		place->size) == 0 &&
	    send(fd, query.data, query.size, 0) == (ssize_t)query.size)
		return fd;
	(void)close(fd);
	return -1;
}

static void
ask_close(struct ask *ask, size_t at)
{
	if (ask->waits[at].fd >= 0)
		(void)close(ask->waits[at].fd);
	ask->waits[at].fd = -1;
}

static void
ask_take(struct ask *ask, size_t at)
{
	char answer[ASK_ANSWER_MAX];
	ssize_t size = recv(ask->waits[at].fd, answer, sizeof(answer), 0);

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size >= 0 &&
	    !query_is_answer(ask->service, slice_of(answer, (size_t)size)))
		return;
	ask->servers[at].said =
	    size >= 0 ? EXPERIENCE_ANSWERED : EXPERIENCE_SILENT;
	ask_close(ask, at);
}

/* Whether to wait for nobody any more; sets how long otherwise. */
static bool
ask_is_over(struct ask *ask, int64_t now_us)
{
	enum nearest_rank answered = NEAREST_DOWN;
	bool any = false, open = false, better = false;
	int64_t grace_us = now_us - ask->begin_us;

	for (size_t i = 0; i < ask->count; i++) {
		if (ask->servers[i].said != EXPERIENCE_ANSWERED)
			continue;
		if (!any || ask->servers[i].rank < answered)
			answered = ask->servers[i].rank;
		any = true;
	}
	for (size_t i = 0; i < ask->count; i++) {
		open = open || ask->waits[i].fd >= 0;
		better = better || (ask->waits[i].fd >= 0 &&
				       ask->servers[i].rank < answered);
	}
	if (!open || (any && !better))
		return true;
	if (grace_us < ASK_GRACE_MIN)
		grace_us = ASK_GRACE_MIN;
	if (any && now_us + grace_us < ask->end_us)
		ask->end_us = now_us + grace_us;
	return false;
}

/* True when all of the patience is used up. */
static bool
ask_wait(struct ask *ask, int64_t patience_us)
{
	for (;;) {
		int64_t now_us = ask_now_us(), left_us;
		struct timespec wait;

		if (ask_is_over(ask, now_us))
			return false;
		left_us = ask->end_us - now_us;
		if (left_us <= 0)
			return now_us - ask->begin_us >= patience_us;
		wait = (struct timespec){ left_us / 1000000,
			left_us % 1000000 * 1000 };
		if (ppoll(ask->waits, ask->count, &wait, NULL) < 0 &&
		    errno != EINTR)
			return false;
		for (size_t i = 0; i < ask->count; i++)
			if (ask->waits[i].fd >= 0 && ask->waits[i].revents)
				ask_take(ask, i);
	}
}

void
ask_servers(struct nearest *servers, size_t count, enum service_kind service,
    int patience_ms)
{
	int64_t patience_us = (int64_t)patience_ms * 1000;
	struct ask ask = { .servers = servers,
		.count = count < ASK_MAX ? count : ASK_MAX,
		.service = service,
		.begin_us = ask_now_us() };
	bool patient;

	ask.end_us = ask.begin_us + patience_us;
	for (size_t i = 0; i < ask.count; i++) {
		ask.waits[i] = (struct pollfd){ .events = POLLIN, .fd = -1 };
		if (servers[i].said == EXPERIENCE_SILENT)
			continue;
		ask.waits[i].fd =
		    ask_send(&servers[i].place, query_datagram(service));
		servers[i].said =
		    ask.waits[i].fd < 0 ? EXPERIENCE_SILENT : EXPERIENCE_NONE;
	}
	patient = ask_wait(&ask, patience_us);
	for (size_t i = 0; i < ask.count; i++) {
		if (patient && ask.waits[i].fd >= 0)
			servers[i].said = EXPERIENCE_SILENT;
		ask_close(&ask, i);
	}
}
