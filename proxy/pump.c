#include "proxy/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Others get a turn after so many chunks, or one pipe. */
#define PUMP_ROUNDS     8
#define PUMP_PIPES_KEPT 4    /* empty pipes kept open for the next */
#define PUMP_BULK       8192 /* octets at once that make a bulk */

struct pump_pipe {
	int read_end, write_end;
	size_t filled; /* octets in it */
	struct pump_pipe *next;
};

int
pump_open(struct pump *pump)
{
	*pump = (struct pump){ .scratch = malloc(PUMP_CHUNK) };
	return pump->scratch ? 0 : -1;
}

static void
pipe_free(struct pump_pipe *pipe)
{
	close(pipe->read_end);
	close(pipe->write_end);
	free(pipe);
}

void
pump_close(struct pump *pump)
{
	while (pump->pipes) {
		struct pump_pipe *next = pump->pipes->next;

		pipe_free(pump->pipes);
		pump->pipes = next;
	}
	free(pump->scratch);
	*pump = (struct pump){ 0 };
}

/* NULL when the process is out of descriptors: then octets are copied. */
static struct pump_pipe *
take_pipe(struct pump *pump)
{
	struct pump_pipe *pipe = pump->pipes;
	int ends[2];

	if (pipe) {
		pump->pipes = pipe->next;
		pump->pipe_count--;
		return pipe;
	}
	pipe = calloc(1, sizeof(*pipe));
	if (!pipe || pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) {
		free(pipe);
		return NULL;
	}
	/* Where the system allows none that large, it takes less at a time. */
	(void)fcntl(ends[0], F_SETPIPE_SZ, PUMP_PIPE);
	pipe->read_end = ends[0];
	pipe->write_end = ends[1];
	return pipe;
}

/* A pipe with something in it belonged to a session that died: never reused. */
static void
return_pipe(struct pump *pump, struct pump_pipe *pipe)
{
	if (pipe->filled > 0 || pump->pipe_count == PUMP_PIPES_KEPT) {
		pipe_free(pipe);
		return;
	}
	pipe->next = pump->pipes;
	pump->pipes = pipe;
	pump->pipe_count++;
}

void
flow_open(struct flow *flow)
{
	*flow = (struct flow){ .waiting = buf_bounded((size_t)2 * PUMP_CHUNK) };
}

void
flow_close(struct pump *pump, struct flow *flow)
{
	if (flow->pipe)
		return_pipe(pump, flow->pipe);
	flow->pipe = NULL;
	buf_free(&flow->waiting);
}

bool
flow_waits(const struct flow *flow)
{
	return flow->waiting.size > 0 || flow->pipe;
}

bool
flow_wants(const struct flow *flow)
{
	return !flow->ended && !flow_waits(flow);
}

static enum stream_result
flush_waiting(struct flow *flow, struct stream *to)
{
	size_t before = flow->waiting.size;
	enum stream_result result = stream_flush(to, &flow->waiting);

	flow->moved += before - flow->waiting.size;
	if (result == STREAM_DONE)
		buf_free(&flow->waiting);
	return result;
}

static enum stream_result
flush_pipe(struct pump *pump, struct flow *flow, struct stream *to)
{
	struct pump_pipe *pipe = flow->pipe;

	while (pipe->filled > 0) {
		ssize_t moved = splice(pipe->read_end, NULL, to->fd, NULL,
		    pipe->filled, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (moved < 0)
			return errno == EAGAIN || errno == EINTR
				   ? STREAM_AGAIN
				   : STREAM_FAILED;
		pipe->filled -= (size_t)moved;
		flow->moved += (uint64_t)moved;
	}
	flow->pipe = NULL;
	return_pipe(pump, pipe);
	return STREAM_DONE;
}

static enum stream_result
flush(struct pump *pump, struct flow *flow, struct stream *to)
{
	enum stream_result result = flush_waiting(flow, to);

	if (result == STREAM_DONE && flow->pipe)
		result = flush_pipe(pump, flow, to);
	return result;
}

/*
 * From the sender into the flow's pipe. A pause makes no end of a bulk: as long
 * as much comes at once, what follows goes through a pipe as well.
 */
static enum stream_result
fill_pipe(struct pump *pump, struct flow *flow, struct stream *from)
{
	ssize_t moved = splice(from->fd, NULL, flow->pipe->write_end, NULL,
	    PUMP_PIPE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (moved > 0) {
		flow->pipe->filled = (size_t)moved;
		flow->bulk = moved >= PUMP_BULK;
		flow->drained = moved < PUMP_CHUNK;
		return STREAM_DONE;
	}
	return_pipe(pump, flow->pipe);
	flow->pipe = NULL;
	if (moved == 0)
		return STREAM_END;
	return errno == EAGAIN || errno == EINTR ? STREAM_AGAIN : STREAM_FAILED;
}

/* Through the scratch buffer; what the receiver does not take begins to wait.
 */
static enum stream_result
copy_chunk(struct pump *pump, struct flow *flow, struct stream *from,
    struct stream *to, struct stream **failed)
{
	size_t got = 0, moved = 0, sent = 0;
	enum stream_result result =
	    stream_read(from, pump->scratch, PUMP_CHUNK, &got);

	if (result != STREAM_DONE)
		return result;
	/* TLS hands out a record at a time, and a full one has others behind
	 * it. */
	flow->drained =
	    got < (from->ssl ? SSL3_RT_MAX_PLAIN_LENGTH : PUMP_CHUNK);
	flow->bulk = got >= PUMP_BULK;
	if (flow->tap)
		flow->tap(flow->tap_context, slice_of(pump->scratch, got));
	while (sent < got) {
		result =
		    stream_write(to, pump->scratch + sent, got - sent, &moved);
		if (result != STREAM_DONE)
			break;
		sent += moved;
	}
	flow->moved += sent;
	if (sent == got)
		return STREAM_DONE;
	*failed = to;
	if (result != STREAM_AGAIN)
		return STREAM_FAILED;
	return buf_add(&flow->waiting, pump->scratch + sent, got - sent) == 0
		   ? STREAM_DONE
		   : STREAM_FAILED;
}

static enum stream_result
move_chunk(struct pump *pump, struct flow *flow, struct stream *from,
    struct stream *to, struct stream **failed)
{
	*failed = from;
	if (flow->bulk && !from->ssl && !to->ssl && !flow->tap)
		flow->pipe = take_pipe(pump);
	if (flow->pipe)
		return fill_pipe(pump, flow, from);
	return copy_chunk(pump, flow, from, to, failed);
}

/* Nothing waits: read on, until the sender has no more for now. */
static int
move(struct pump *pump, struct flow *flow, struct stream *from,
    struct stream *to, bool *more, struct stream **failed)
{
	uint64_t end = flow->moved + PUMP_PIPE;

	for (int round = 0;
	     round < PUMP_ROUNDS && flow->moved < end && !flow->ended;
	     round++) {
		enum stream_result result =
		    move_chunk(pump, flow, from, to, failed);

		if (result == STREAM_AGAIN)
			return 0;
		if (result == STREAM_FAILED)
			return -1;
		flow->ended = result == STREAM_END;
		*failed = to;
		result = flush(pump, flow, to);
		if (result == STREAM_AGAIN)
			return 0;
		if (result != STREAM_DONE)
			return -1;
		/* A short read means that the socket is empty; its event will
		 * come. */
		if (flow->drained && !stream_has_pending(from))
			return 0;
	}
	*more = !flow->ended;
	return 0;
}

int
pump_flow(struct pump *pump, struct flow *flow, struct stream *from,
    struct stream *to, bool *more, struct stream **failed)
{
	enum stream_result result;

	*failed = to;
	result = flush(pump, flow, to);
	if (result == STREAM_AGAIN)
		return 0;
	if (result != STREAM_DONE)
		return -1;
	if (!flow->ended && (flow->readable || stream_has_pending(from))) {
		flow->readable = false;
		if (move(pump, flow, from, to, more, failed) < 0)
			return -1;
	}
	if (flow->ended && !flow->finished && !flow_waits(flow)) {
		flow->finished = true;
		/* Where neither side sends any more, closing tells as much. */
		if (from->finished)
			stream_say_goodbye(to);
		else
			stream_finish(to);
	}
	return 0;
}
