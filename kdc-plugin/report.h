/*
 * report: log lines of the back end, into the log that [logging] names for
 * "postcell", else the default one. Untrusted octets are escaped.
 */
#ifndef KDC_PLUGIN_REPORT_H
#define KDC_PLUGIN_REPORT_H

#include <krb5.h>

#include "lib/slice.h"

struct report {
	krb5_context context;        /* borrowed */
	krb5_log_facility *facility; /* owned; NULL: nothing is logged */
};

void report_open(struct report *report, krb5_context context);
void report_close(struct report *report);

/* event=EVENT KEY="subject" why="..." */
void report_event(const struct report *report, const char *event,
    const char *key, struct slice subject, const char *why);

#endif
