#include "daemon/log.h"

#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define LINE_SIZE_USUAL 500 /* octets, made room for at once */

struct log
log_open(enum log_target target, enum log_level level, const char *process)
{
	if (target == LOG_TARGET_SYSLOG)
		openlog(NULL, LOG_PID | LOG_NDELAY, LOG_MAIL);
	return (struct log){ target, level, process };
}

struct log_line
log_line(enum log_level level, const char *event)
{
	struct log_line line = { buf_bounded(LOG_LINE_SIZE_MAX), level };

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

static int
syslog_priority(enum log_level level)
{
	static const int priorities[] = {
		[LOG_LEVEL_ERROR] = LOG_ERR,
		[LOG_LEVEL_WARNING] = LOG_WARNING,
		[LOG_LEVEL_INFO] = LOG_INFO,
		[LOG_LEVEL_DEBUG] = LOG_DEBUG,
	};

	return priorities[level];
}

void
log_send(const struct log *log, struct log_line *line)
{
	ssize_t ignored;

	if (line->level > log->level) {
		buf_free(&line->buf);
		return;
	}
	log_word(line, "process", log->process);
	if (log->target == LOG_TARGET_SYSLOG) {
		syslog(
		    syslog_priority(line->level), "%s", buf_string(&line->buf));
	} else {
		line->buf.failed = false;
		line->buf.size_max++;
		buf_add_char(&line->buf, '\n');
		/* A log that cannot be written has nowhere to say so. */
		ignored = write(STDERR_FILENO, line->buf.data, line->buf.size);
		(void)ignored;
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
