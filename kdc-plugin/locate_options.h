/*
 * locate_options: the settings of postcell_locate.so, postcell_locate(5).
 */
#ifndef KDC_PLUGIN_LOCATE_OPTIONS_H
#define KDC_PLUGIN_LOCATE_OPTIONS_H

#include <krb5.h>

#include "lib/buf.h"

/* Text is never NULL and borrowed from the context's configuration. */
struct locate_options {
	const char *kdcs, *site, *memory;
	int memory_time; /* s */
	int patience;    /* ms; 0: nobody is asked */
};

/* 0; or a Kerberos error, with its text set. */
krb5_error_code locate_options_read(
    krb5_context context, struct locate_options *options);

/* A line for each option: name, kind, default, bounds. */
void locate_options_describe(struct buf *out);

#endif
