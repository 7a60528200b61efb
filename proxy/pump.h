/*
 * pump: octets from one side to the other, after login, unread.
 *
 * A flow is one direction. While all that comes can be passed on at once it
 * holds no memory: octets go through one scratch buffer of the process, or,
 * where both sides are plain and much is coming, through a kernel pipe by
 * splice(2) without being copied. What a receiver does not take yet stays with
 * the flow, and its sender is not read until it is gone: that is the bound.
 */
#ifndef PROXY_PUMP_H
#define PROXY_PUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "proxy/stream.h"

/* Octets. */
#define PUMP_CHUNK 65536   /* the scratch buffer */
#define PUMP_PIPE  1048576 /* a pipe, and so the most that waits in a flow */

struct pump_pipe;

/* What the flows of one process share. */
struct pump {
	char *scratch; /* owned: PUMP_CHUNK octets */
	struct pump_pipe
	    *pipes; /* owned: empty ones, for whoever needs one next */
	unsigned pipe_count;
};

/* Is shown what a flow has read, before it is passed on. */
typedef void flow_tap(void *context, struct slice octets);

struct flow {
	struct buf waiting;     /* octets for the receiver */
	struct pump_pipe *pipe; /* NULL: nothing is in a pipe */
	uint64_t moved;         /* octets, taken by the receiver */
	flow_tap *tap;          /* NULL: octets are not looked at */
	void *tap_context;      /* borrowed */
	bool bulk;              /* the last read brought much at once */
	bool drained;           /* and left nothing behind */
	bool readable;          /* set by the owner: the sender has something */
	bool ended;             /* the sender will send no more */
	bool finished;          /* and the receiver was told */
};

int pump_open(struct pump *pump);
void pump_close(struct pump *pump);

void flow_open(struct flow *flow);
void flow_close(struct pump *pump, struct flow *flow);

/* Does the receiver owe us writability? */
bool flow_waits(const struct flow *flow);
/* Is there anything to be read from the sender now? */
bool flow_wants(const struct flow *flow);

/*
 * Moves what can be moved without waiting, a bounded amount. 0; or -1 with
 * *failed the stream that did. Sets *more when the bound was reached and no
 * event will tell.
 */
int pump_flow(struct pump *pump, struct flow *flow, struct stream *from,
    struct stream *to, bool *more, struct stream **failed);

#endif
