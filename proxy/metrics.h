/*
 * metrics: what Prometheus, and whoever asks for our health, is told by the
 * health process; daemon/metrics_server.h serves it.
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

/* Those of a metrics_server; context: struct metrics_sources. */
void metrics_add(struct buf *out, void *context);
const char *metrics_unhealthy(void *context);

#endif
