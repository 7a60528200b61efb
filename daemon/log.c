#include "daemon/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#define LINE_SIZE_USUAL 500 /* octets, made room for at once */
/* What is kept free in a line for its end. */
#define LOG_END_SIZE 128

static const struct {
	const char *name;
	int priority;
} level_rows[] = {
	[LOG_LEVEL_ERROR] = { "error", LOG_ERR },
	[LOG_LEVEL_WARNING] = { "warning", LOG_WARNING },
	[LOG_LEVEL_INFO] = { "info", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
};

/* As systemd.exec(5) says it: the variable names device and inode. */
static bool
is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char text[64];
	struct stat status;

	if (!stream || fstat(STDERR_FILENO, &status) < 0)
		return false;
	(void)snprintf(text, sizeof(text), "%ju:%ju", (uintmax_t)status.st_dev,
	    (uintmax_t)status.st_ino);
	return strcmp(stream, text) == 0;
}

struct log
log_open(enum log_target target, enum log_level level, const char *process)
{
	if (target == LOG_TARGET_SYSLOG)
		openlog(NULL, LOG_PID | LOG_NDELAY, LOG_MAIL);
	return (struct log){ target, level, process, is_journal() };
}

struct log_line
log_line(enum log_level level, const char *event)
{
	struct log_line line = { buf_bounded(LOG_LINE_SIZE_MAX - LOG_END_SIZE),
		level };

	(void)buf_reserve(&line.buf, LINE_SIZE_USUAL);
	buf_add_string(&line.buf, "event=");
	buf_add_string(&line.buf, event);
	return line;
}

static void
add_key(struct log_line *line, const char *key)
{
	buf_add_char(&line->buf, ' ');
	buf_add_string(&line->buf, key);
	buf_add_char(&line->buf, '=');
}

void
log_text(struct log_line *line, const char *key, struct slice value)
{
	add_key(line, key);
	buf_add_quoted(&line->buf, value);
}

void
log_string(struct log_line *line, const char *key, const char *value)
{
	log_text(line, key, slice_from(value));
}

void
log_number(struct log_line *line, const char *key, int64_t value)
{
	add_key(line, key);
	buf_add_number(&line->buf, value);
}

void
log_word(struct log_line *line, const char *key, const char *word)
{
	add_key(line, key);
	buf_add_string(&line->buf, word);
}

/* One write, so that lines of several processes do not mix. */
static void
write_line(const struct log *log, const struct log_line *line)
{
	char prefix[] = { '<', (char)('0' + level_rows[line->level].priority),
		'>' };
	struct iovec parts[] = {
		{ prefix, log->journal ? sizeof(prefix) : 0 },
		{ line->buf.data, line->buf.size },
	};
	/* A log that cannot be written has nowhere to say so. */
	ssize_t ignored = writev(STDERR_FILENO, parts, ARRAY_SIZE(parts));

	(void)ignored;
}

void
log_send(const struct log *log, struct log_line *line)
{
	if (line->level > log->level) {
		buf_free(&line->buf);
		return;
	}
	line->buf.failed = false;
	line->buf.size_max = LOG_LINE_SIZE_MAX;
	log_word(line, "process", log->process);
	log_word(line, "level", level_rows[line->level].name);
	if (log->target == LOG_TARGET_SYSLOG) {
		syslog(level_rows[line->level].priority, "%s",
		    buf_string(&line->buf));
	} else {
		buf_add_char(&line->buf, '\n');
		write_line(log, line);
	}
	buf_free(&line->buf);
}

void
log_why(const struct log *log, enum log_level level, const char *event,
    const char *why)
{
	struct log_line line = log_line(level, event);

	log_string(&line, "why", why);
	log_send(log, &line);
}
