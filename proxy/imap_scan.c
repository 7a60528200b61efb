#include "proxy/imap_scan.h"

#include <string.h>

void
imap_scanner_reset(struct imap_scanner *scanner)
{
	scanner->line_start = scanner->scanned = scanner->literals = 0;
	scanner->bad_octet = false;
}

/* A line's announcement of a literal: {123} or {123+} at its end. */
struct announcement {
	bool is_there;
	bool synchronising; /* without "+": the client waits */
	bool too_large;     /* more than fits a size_t or the bound */
	size_t size;
};

static bool
is_number(struct slice text)
{
	for (size_t i = 0; i < text.size; i++)
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
	return text.size > 0;
}

/* line: without its CRLF. */
static struct announcement
find_announcement(struct slice line, size_t left)
{
	struct announcement announcement = { .synchronising = true };
	size_t brace = slice_find_last(line, '{');
	struct slice number;
	uint64_t size = 0;

	if (line.size == 0 || line.data[line.size - 1] != '}' ||
	    brace == SIZE_MAX)
		return announcement;
	number = slice_from_offset(slice_first(line, line.size - 1), brace + 1);
	if (number.size > 0 && number.data[number.size - 1] == '+') {
		announcement.synchronising = false;
		number.size--;
	}
	if (!is_number(number))
		return announcement;
	announcement.is_there = true;
	announcement.too_large = slice_to_uint(number, left, &size) < 0;
	announcement.size = (size_t)size;
	return announcement;
}

static bool
has_bad_octet(struct slice line)
{
	return slice_find(line, '\0') != SIZE_MAX ||
	       slice_find(line, '\r') != SIZE_MAX;
}

/* A line is complete; `end` is behind its LF. */
static enum imap_scan
scan_line(
    struct imap_scanner *scanner, struct slice text, size_t end, size_t *size)
{
	struct slice line =
	    slice_from_offset(slice_first(text, end), scanner->line_start);
	struct announcement announcement;

	*size = end;
	if (line.size < 2 || line.data[line.size - 2] != '\r')
		return IMAP_SCAN_LINE_ENDING;
	line.size -= 2;
	scanner->bad_octet |= has_bad_octet(line);
	announcement =
	    find_announcement(line, scanner->literal_max - scanner->literals);
	if (!announcement.is_there)
		return scanner->bad_octet ? IMAP_SCAN_OCTET : IMAP_SCAN_COMMAND;
	if (announcement.too_large)
		return announcement.synchronising ? IMAP_SCAN_LITERAL_TOO_LARGE
						  : IMAP_SCAN_FLOOD;
	scanner->literals += announcement.size;
	scanner->scanned = scanner->line_start = end + announcement.size;
	return announcement.synchronising ? IMAP_SCAN_CONTINUE : IMAP_SCAN_MORE;
}

enum imap_scan
imap_scan(struct imap_scanner *scanner, struct slice text, size_t *size)
{
	while (scanner->scanned < text.size) {
		size_t found =
		    slice_find(slice_from_offset(text, scanner->scanned), '\n');
		size_t end = found == SIZE_MAX ? text.size
					       : scanner->scanned + found + 1;
		enum imap_scan result;

		if (end - scanner->literals > scanner->line_max)
			return IMAP_SCAN_FLOOD;
		if (found == SIZE_MAX) {
			scanner->scanned = text.size;
			return IMAP_SCAN_MORE;
		}
		result = scan_line(scanner, text, end, size);
		if (result != IMAP_SCAN_MORE)
			return result;
	}
	return IMAP_SCAN_MORE;
}

/* ATOM-CHAR: no control, space or one of ( ) { % * " \ ], RFC 9051 section 9 */
static bool
is_atom_char(char c)
{
	return c > 0x20 && c < 0x7f && !strchr("(){%*\"\\]", c);
}

static bool
take_while(
    struct slice *rest, struct slice *word, const char *also, const char * not )
{
	size_t size = 0;

	while (size < rest->size && rest->data[size] != '\0' &&
	       (is_atom_char(rest->data[size]) ||
		   strchr(also, rest->data[size])) &&
	       !strchr(not, rest->data[size]))
		size++;
	*word = slice_first(*rest, size);
	*rest = slice_from_offset(*rest, size);
	return size > 0;
}

bool
imap_take_tag(struct slice *rest, struct slice *tag)
{
	return take_while(rest, tag, "]", "+");
}

bool
imap_take_atom(struct slice *rest, struct slice *atom)
{
	return take_while(rest, atom, "", "");
}

bool
imap_take_space(struct slice *rest)
{
	if (rest->size == 0 || rest->data[0] != ' ')
		return false;
	*rest = slice_from_offset(*rest, 1);
	return true;
}

bool
imap_take_end(struct slice *rest)
{
	return slice_is(*rest, "\r\n");
}

/* Between the quotes anything but CR and LF; `\` before `"` and `\` alone. */
static bool
take_quoted(struct slice *rest, struct buf *value)
{
	for (size_t i = 1; i < rest->size; i++) {
		char c = rest->data[i];

		if (c == '"') {
			*rest = slice_from_offset(*rest, i + 1);
			return !value->failed;
		}
		if (c == '\\') {
			i++;
			if (i == rest->size ||
			    (rest->data[i] != '"' && rest->data[i] != '\\'))
				return false;
			c = rest->data[i];
		}
		if (c == '\r' || c == '\n' || c == '\0')
			return false;
		buf_add_char(value, c);
	}
	return false;
}

/* {5}CRLFhello: the scanner has seen to it that all of it is there. */
static bool
take_literal(struct slice *rest, struct buf *value)
{
	size_t end = slice_find(*rest, '\n');
	struct announcement announcement;

	if (end == SIZE_MAX || end < 2)
		return false;
	announcement = find_announcement(
	    slice_first(*rest, end - 1), rest->size - end - 1);
	if (!announcement.is_there || announcement.too_large ||
	    rest->data[0] != '{')
		return false;
	*rest = slice_from_offset(*rest, end + 1);
	buf_add_slice(value, slice_first(*rest, announcement.size));
	*rest = slice_from_offset(*rest, announcement.size);
	return !value->failed && slice_find(buf_slice(value), '\0') == SIZE_MAX;
}

bool
imap_take_astring(struct slice *rest, struct buf *value)
{
	struct slice atom;

	buf_clear(value);
	if (rest->size > 0 && rest->data[0] == '"')
		return take_quoted(rest, value);
	if (rest->size > 0 && rest->data[0] == '{')
		return take_literal(rest, value);
	return take_while(rest, &atom, "]", "") &&
	       buf_add_slice(value, atom) == 0;
}

bool
imap_take_id_list(struct slice *rest)
{
	struct buf value = buf_bounded(rest->size);
	struct slice atom;
	bool ok = true;

	if (rest->size == 0 || rest->data[0] != '(')
		return imap_take_atom(rest, &atom) &&
		       slice_is_nocase(atom, "NIL");
	*rest = slice_from_offset(*rest, 1);
	while (ok && rest->size > 0 && rest->data[0] != ')') {
		ok = imap_take_astring(rest, &value);
		imap_take_space(rest);
	}
	buf_free(&value);
	if (!ok || rest->size == 0)
		return false;
	*rest = slice_from_offset(*rest, 1);
	return true;
}

bool
imap_add_quoted(struct buf *out, struct slice text)
{
	if (!slice_is_printable(text))
		return false;
	buf_add_char(out, '"');
	for (size_t i = 0; i < text.size; i++) {
		if (text.data[i] == '"' || text.data[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, text.data[i]);
	}
	return buf_add_char(out, '"') == 0;
}
