/*
 * rows: settings in the section [postcell] of krb5.conf or kdc.conf, from
 * tables.
 *
 * One row an option: name, kind, default, bounds, and where in a struct the
 * value goes. The same rows are what the tests hold against manual pages and
 * examples.
 */
#ifndef KDC_PLUGIN_ROWS_H
#define KDC_PLUGIN_ROWS_H

#include <stddef.h>

#include <krb5.h>

#include "lib/buf.h"

enum row_kind {
	ROW_TEXT,   /* const char *, borrowed from the context; never NULL */
	ROW_OWN,    /* char *, to be freed; NULL where nothing is said */
	ROW_LIST,   /* char **, krb5_config_free_strings() */
	ROW_NUMBER, /* int */
	ROW_SWITCH  /* bool: yes or no */
};

struct row {
	const char *name;
	enum row_kind kind;
	size_t offset;
	const char *fallback; /* NULL: none */
	int min, max;         /* ROW_NUMBER */
};

/*
 * Reads them into *target, all zero before. 0; or a Kerberos error, with its
 * text set, and whatever was read until then.
 */
krb5_error_code rows_read(
    krb5_context context, const struct row *rows, size_t count, void *target);
/* Sets the text that an option is at fault; the code for it. */
krb5_error_code rows_fault(
    krb5_context context, const char *name, const char *why);

/* A line for each: name, kind, default, bounds. */
void rows_describe(const struct row *rows, size_t count, struct buf *out);

#endif
