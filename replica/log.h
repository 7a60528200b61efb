/*
 * log: one line an event, `event=NAME key=value key="any text"`.
 *
 * A line is begun, gets its pairs, and is ended; nothing is written before.
 * Untrusted text is always quoted, so a line stays one line. One thread.
 */
#ifndef REPLICA_LOG_H
#define REPLICA_LOG_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/slice.h"

enum log_target {
	LOG_TARGET_STDERR,
	LOG_TARGET_SYSLOG
};

enum log_severity {
	LOG_EVENT, /* what happens */
	LOG_ALARM, /* somebody has to look */
};

struct log_line {
	struct buf text;
	enum log_severity severity;
};

/* name: of the program; kept, not copied. */
void log_open(const char *name, enum log_target target);

/* event: a word of ours. The line is freed by log_end(). */
struct log_line log_begin(enum log_severity severity, const char *event);
void log_text(struct log_line *line, const char *key, struct slice value);
void log_string(struct log_line *line, const char *key, const char *value);
void log_number(struct log_line *line, const char *key, int64_t value);
void log_end(struct log_line *line);

/* The whole of a line that has no pair but why. */
void log_why(enum log_severity severity, const char *event, const char *why);

#endif
