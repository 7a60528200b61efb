#include "replica/log.h"

#include <stdio.h>
#include <syslog.h>

#define LOG_LINE_MAX 4096

/* syslog(3) keeps its own state a process, and so does this. */
static const char *log_name = "";
static enum log_target log_target = LOG_TARGET_STDERR;

void
log_open(const char *name, enum log_target target)
{
	log_name = name;
	log_target = target;
	if (target == LOG_TARGET_SYSLOG)
		openlog(name, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

struct log_line
log_begin(enum log_severity severity, const char *event)
{
	struct log_line line = { buf_bounded(LOG_LINE_MAX), severity };

	(void)buf_printf(&line.text, "event=%s", event);
	return line;
}

void
log_text(struct log_line *line, const char *key, struct slice value)
{
	(void)buf_printf(&line->text, " %s=", key);
	(void)buf_add_quoted(&line->text, value);
}

void
log_string(struct log_line *line, const char *key, const char *value)
{
	log_text(line, key, slice_from(value));
}

void
log_number(struct log_line *line, const char *key, int64_t value)
{
	(void)buf_printf(&line->text, " %s=%lld", key, (long long)value);
}

void
log_end(struct log_line *line)
{
	const char *text = buf_string(&line->text);

	if (log_target == LOG_TARGET_SYSLOG)
		syslog(line->severity == LOG_ALARM ? LOG_ERR : LOG_INFO, "%s",
		    text);
	else
		(void)fprintf(stderr, "%s: %s%s\n", log_name,
		    line->severity == LOG_ALARM ? "alarm " : "", text);
	buf_free(&line->text);
}

void
log_why(enum log_severity severity, const char *event, const char *why)
{
	struct log_line line = log_begin(severity, event);

	log_string(&line, "why", why);
	log_end(&line);
}
