/*
 * metrics: what Prometheus, and whoever asks for our health, is told.
 *
 * /metrics in Prometheus' text format; /healthz says "ok", or with status 503
 * why clients had better go elsewhere. Served by the health process on a socket
 * that the parent opened.
 */
#ifndef PROXY_METRICS_H
#define PROXY_METRICS_H

#include "proxy/observer.h"
#include "proxy/stats.h"
#include "proxy/tls.h"
#include "replica/reader.h"

/* All borrowed. */
struct metrics_sources {
	const struct config *config;
	const struct stats *stats;
	const struct tls_front *front_tls;
	const struct observer *observer; /* NULL: it does not observe */
	struct replica *replica;         /* NULL: there is none */
	uint32_t generation;
};

void metrics_add(struct buf *out, const struct metrics_sources *sources);
/* NULL when clients are served; else why not (static text). */
const char *metrics_unhealthy(const struct metrics_sources *sources);

struct metrics_server;

/* Takes the listening socket. Borrows the sources. NULL without memory. */
struct metrics_server *metrics_serve(
    struct event_base *base, int fd, const struct metrics_sources *sources);
void metrics_server_free(struct metrics_server **server);

#endif
