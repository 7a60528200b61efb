/*
 * metrics_server: metrics and a word on our health, by HTTP.
 *
 * /metrics has the metrics in Prometheus' text format (exposition.h); /healthz
 * says "ok", or with status 503 why others had better be asked. For a process
 * without privileges; on the event loop; one thread.
 */
#ifndef DAEMON_METRICS_SERVER_H
#define DAEMON_METRICS_SERVER_H

#include "lib/buf.h"

struct event_base;
struct metrics_server;

struct metrics_source {
	void (*add)(struct buf *out, void *context);
	/* NULL when all is well; else why not (static text). */
	const char *(*unhealthy)(void *context);
	void *context; /* borrowed */
};

/* Takes the listening socket. NULL without memory. */
struct metrics_server *metrics_server_new(
    struct event_base *base, int fd, const struct metrics_source *source);
void metrics_server_free(struct metrics_server **server);

#endif
