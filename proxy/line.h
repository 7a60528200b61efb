/*
 * line: one line of a text protocol (POP3, SMTP, replies of ManageSieve), cut
 * off what has come so far. Lines end in CRLF and in nothing else. Pure.
 */
#ifndef PROXY_LINE_H
#define PROXY_LINE_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/slice.h"

enum line_result {
	LINE_MORE,    /* not complete: more input */
	LINE_DONE,    /* *line is the line without its CRLF */
	LINE_ENDING,  /* complete and taken off, but it ends in a bare LF */
	LINE_OCTET,   /* complete and taken off, but with a NUL or a bare CR */
	LINE_TOO_LONG /* longer than the bound; nothing was taken off */
};

/*
 * size_max: octets of a line, its ending included. *line borrows from *input
 * and is set on all results but MORE and TOO_LONG.
 */
enum line_result line_take(
    struct slice *input, size_t size_max, struct slice *line);

/* Static text for what is wrong with a line; for ENDING, OCTET and TOO_LONG. */
const char *line_fault_text(enum line_result result);

/* Adds text that is not ours as part of a line: a control octet becomes "?". */
void line_add_text(struct buf *out, struct slice text);

#endif
