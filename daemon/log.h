/*
 * log: one line an event, `event=NAME key=value ... why="..." process=NAME
 * level=NAME`.
 *
 * Values that came from outside are quoted with everything but printable
 * ASCII escaped, so that no octet of a stranger reaches a terminal or splits a
 * line. A line is sent in one write. Where standard error leads into systemd's
 * journal each line begins with its priority, `<N>` of sd-daemon(3). One thread
 * for each struct log; after a fork each process goes on with its copy.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/slice.h"

#define LOG_LINE_SIZE_MAX 8192

enum log_target {
	LOG_TARGET_STDERR,
	LOG_TARGET_SYSLOG /* facility mail; connected at once, before any chroot
			   */
};

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

struct log {
	enum log_target target;
	enum log_level level; /* what is less grave is left out */
	const char *process;  /* borrowed: "relay", "health", ... */
	bool journal;         /* standard error is systemd's journal */
};

/* A line while it is being written. */
struct log_line {
	struct buf buf; /* owned until log_send() */
	enum log_level level;
};

struct log log_open(
    enum log_target target, enum log_level level, const char *process);

/* event: static text, a name in snake_case. */
struct log_line log_line(enum log_level level, const char *event);
void log_text(struct log_line *line, const char *key, struct slice value);
void log_string(struct log_line *line, const char *key, const char *value);
void log_number(struct log_line *line, const char *key, int64_t value);
/* For words that need no quotes: static text of ours. */
void log_word(struct log_line *line, const char *key, const char *word);
/* Writes it, or drops it when the level says so; frees it. */
void log_send(const struct log *log, struct log_line *line);

/* The common line: an event and why. */
void log_why(const struct log *log, enum log_level level, const char *event,
    const char *why);

#endif
