/*
 * control: how postcellctl and Prometheus ask the publisher.
 *
 * On the control socket (UNIX stream, run_dir/zoned.sock) a client writes one
 * line, "show" or "diff", and reads one JSON object to the end of the stream;
 * on failure the object has "error". Where `metrics` is configured, GET
 * /metrics is answered over HTTP in Prometheus' text form.
 */
#ifndef ZONES_CONTROL_H
#define ZONES_CONTROL_H

#include <event2/event.h>

#include "lib/buf.h"
#include "zones/config.h"
#include "zones/publish.h"

#define CONTROL_SOCKET "zoned.sock"

struct control;

struct control_settings {
	struct event_base *base;
	const struct config *config;
	const struct publish *publish;
};

/* All is borrowed and has to live as long. NULL with *why (static text). */
struct control *control_new(
    const struct control_settings *settings, const char **why);
void control_free(struct control **control);

/* Adds the metrics' text. 0, or -1 when it does not fit. */
int control_metrics(struct buf *out, const struct publish *publish);

#endif
