#include "proxy/trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proxy/relay.h"
#include "proxy/session.h"

#define LINE_SIZE 64

struct trace {
	LIST_ENTRY(trace) link;
	int fd; /* owned */
	char id[ACCOUNT_ID_SIZE];
	int64_t until_s;
	uint64_t lost; /* pieces since the last that was taken */
};

static void
trace_free(struct trace *trace)
{
	LIST_REMOVE(trace, link);
	close(trace->fd);
	free(trace);
}

void
trace_begin(struct relay *relay, int fd, struct slice id, int64_t seconds)
{
	struct trace *trace, *other;
	struct session *session;
	unsigned count = 0;

	for (other = LIST_FIRST(&relay->traces); other;
	     other = LIST_NEXT(other, link))
		count++;
	trace = count < TRACES_MAX ? calloc(1, sizeof(*trace)) : NULL;
	if (!trace || id.size != sizeof(trace->id)) {
		free(trace);
		close(fd);
		return;
	}
	trace->fd = fd;
	memcpy(trace->id, id.data, sizeof(trace->id));
	trace->until_s = relay->now_s + seconds;
	LIST_INSERT_HEAD(&relay->traces, trace, link);
	for (unsigned i = 0; i < QUEUE_DEAD; i++)
		for (session = TAILQ_FIRST(&relay->queues[i]); session;
		     session = session_next(session))
			session_trace(session);
}

static bool
is_of(const struct trace *trace, const char id[ACCOUNT_ID_SIZE])
{
	return memcmp(trace->id, id, ACCOUNT_ID_SIZE) == 0;
}

bool
trace_wants(const struct relay *relay, const char id[ACCOUNT_ID_SIZE])
{
	for (const struct trace *trace = LIST_FIRST(&relay->traces); trace;
	     trace = LIST_NEXT(trace, link))
		if (is_of(trace, id))
			return true;
	return false;
}

/* 0; -1 when it was not taken; -2 when nobody reads any more. */
static int
tell(const struct trace *trace, char who, const char *session,
    struct slice octets)
{
	char line[LINE_SIZE];
	int size = snprintf(line, sizeof(line), "%c %s\n", who, session);
	struct iovec parts[] = { { line, (size_t)size },
		{ .iov_len = octets.size } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	/* Declared without const, and never written to. */
	memcpy(&parts[1].iov_base, &octets.data, sizeof(octets.data));
	if (sendmsg(trace->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return 0;
	return errno == EPIPE || errno == ECONNRESET ? -2 : -1;
}

/* False when the trace is over. */
static bool
tell_one(
    struct trace *trace, char who, const char *session, struct slice octets)
{
	char number[24];
	int result = 0;

	if (trace->lost > 0) {
		(void)snprintf(number, sizeof(number), "%llu",
		    (unsigned long long)trace->lost);
		result = tell(trace, 'L', session, slice_from(number));
		if (result == 0)
			trace->lost = 0;
	}
	if (result == 0)
		result = tell(trace, who, session, octets);
	if (result == -1)
		trace->lost++;
	return result != -2;
}

void
trace_tell(struct relay *relay, const char id[ACCOUNT_ID_SIZE], char who,
    const char *session, struct slice octets)
{
	struct trace *trace, *next;

	for (trace = LIST_FIRST(&relay->traces); trace; trace = next) {
		struct slice rest = octets;
		bool goes_on = is_of(trace, id);

		next = LIST_NEXT(trace, link);
		while (goes_on && rest.size > 0) {
			goes_on = tell_one(trace, who, session,
			    slice_first(rest, TRACE_PIECE_MAX));
			rest = slice_from_offset(rest,
			    rest.size < TRACE_PIECE_MAX ? rest.size
							: TRACE_PIECE_MAX);
			if (!goes_on)
				trace_free(trace);
		}
	}
}

/* Whoever asked may be gone without a session having said anything. */
static bool
is_read(const struct trace *trace)
{
	char octet;

	return recv(trace->fd, &octet, 1, MSG_DONTWAIT | MSG_PEEK) != 0;
}

void
trace_tick(struct relay *relay)
{
	struct trace *trace, *next;

	for (trace = LIST_FIRST(&relay->traces); trace; trace = next) {
		next = LIST_NEXT(trace, link);
		if (trace->until_s <= relay->now_s || !is_read(trace))
			trace_free(trace);
	}
}

void
trace_end_all(struct relay *relay)
{
	while (!LIST_EMPTY(&relay->traces))
		/* Freeing takes it off the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		trace_free(LIST_FIRST(&relay->traces));
}
