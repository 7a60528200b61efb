/*
 * imap_scan: where an IMAP command ends, and what its parts are, RFC 9051
 * section 9 (and RFC 7888 for literals).
 *
 * The scanner finds the end of a command, across lines and literals, without
 * looking at any octet twice; the takers then cut a whole command into parts.
 * Pure.
 */
#ifndef PROXY_IMAP_SCAN_H
#define PROXY_IMAP_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"
#include "lib/slice.h"

enum imap_scan {
	IMAP_SCAN_MORE,        /* not complete: more input */
	IMAP_SCAN_CONTINUE,    /* the client waits for "+" before a literal */
	IMAP_SCAN_COMMAND,     /* complete: the first `size` octets */
	IMAP_SCAN_LINE_ENDING, /* complete, but its line ends in a bare LF */
	IMAP_SCAN_OCTET,       /* complete, but it has a NUL or a bare CR */
	IMAP_SCAN_LITERAL_TOO_LARGE, /* the client waits for "+" and must not
					get it */
	IMAP_SCAN_FLOOD /* too long a line or literal, already under way */
};

struct imap_scanner {
	size_t line_max; /* octets of all lines of a command, CRLF included */
	size_t literal_max; /* octets of all literals of a command */
	/* private */
	size_t line_start; /* of the line under way */
	size_t scanned;    /* octets looked at */
	size_t literals;   /* octets of literals so far */
	bool bad_octet;
};

/* Forgets a command, keeps the bounds. */
void imap_scanner_reset(struct imap_scanner *scanner);

/*
 * text: the command from its first octet on, each time with more at its end.
 * On a complete command *size is its length.
 */
enum imap_scan imap_scan(
    struct imap_scanner *scanner, struct slice text, size_t *size);

/* All take what they name off *rest; false when it is not there. */
bool imap_take_tag(struct slice *rest, struct slice *tag);
bool imap_take_atom(struct slice *rest, struct slice *atom);
bool imap_take_space(struct slice *rest);
/* CRLF and nothing after it. */
bool imap_take_end(struct slice *rest);
/* atom, quoted string or literal; its value is put into `value` (cleared
 * first). */
bool imap_take_astring(struct slice *rest, struct buf *value);
/* "NIL" or a list of strings and NILs in parentheses; its content is dropped.
 */
bool imap_take_id_list(struct slice *rest);

/* Adds text as a quoted string; false (nothing added) when it needs a literal.
 */
bool imap_add_quoted(struct buf *out, struct slice text);

#endif
