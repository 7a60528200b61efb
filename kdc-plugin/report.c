#include "kdc-plugin/report.h"

#include "lib/buf.h"

#define REPORT_LINE_MAX 2048

void
report_open(struct report *report, krb5_context context)
{
	*report = (struct report){ .context = context };
	if (krb5_openlog(context, "postcell", &report->facility) != 0)
		report->facility = NULL;
}

void
report_close(struct report *report)
{
	if (report->facility)
		(void)krb5_closelog(report->context, report->facility);
	report->facility = NULL;
}

void
report_event(const struct report *report, const char *event, const char *key,
    struct slice subject, const char *why)
{
	struct buf line = buf_bounded(REPORT_LINE_MAX);

	if (!report->facility)
		return;
	(void)buf_printf(&line, "event=%s %s=", event, key);
	(void)buf_add_quoted(&line, subject);
	(void)buf_add_string(&line, " why=");
	(void)buf_add_quoted(&line, slice_from(why));
	(void)krb5_log(
	    report->context, report->facility, 0, "%s", buf_string(&line));
	buf_free(&line);
}
