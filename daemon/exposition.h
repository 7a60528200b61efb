/*
 * exposition: metrics in Prometheus' text format, version 0.0.4.
 *
 * All values of a metric follow its head. Names end as Prometheus has it:
 * `_total` for what only grows, else the unit, `_seconds` or `_bytes`. Pure.
 */
#ifndef DAEMON_EXPOSITION_H
#define DAEMON_EXPOSITION_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

#define EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct exposition_label {
	const char *name;
	struct slice value; /* any octets; what is no UTF-8 is shown as "?" */
};

/* type: "counter", "gauge" or "histogram". */
void exposition_head(
    struct buf *out, const char *name, const char *type, const char *help);
/* suffix: "" but for the parts of a histogram. */
void exposition_value(struct buf *out, const char *name, const char *suffix,
    const struct exposition_label *labels, size_t label_count, int64_t value);
/* The same for a time in microseconds, shown in seconds. */
void exposition_seconds(struct buf *out, const char *name, const char *suffix,
    const struct exposition_label *labels, size_t label_count, int64_t time_us);
/* A whole metric of one value without labels. */
void exposition_gauge(
    struct buf *out, const char *name, const char *help, int64_t value);

#endif
