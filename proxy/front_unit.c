#include "proxy/front_unit.h"

#include "proxy/line.h"

enum front_unit
front_unit_line(
    struct slice *input, size_t size_max, struct slice *text, const char **why)
{
	switch (line_take(input, size_max, text)) {
	case LINE_MORE:
		return FRONT_UNIT_MORE;
	case LINE_DONE:
		return FRONT_UNIT_DONE;
	case LINE_ENDING:
		*why = "Lines end in CRLF.";
		return FRONT_UNIT_FAULTY;
	case LINE_OCTET:
		*why = "Commands have no NUL and no CR by itself.";
		return FRONT_UNIT_FAULTY;
	case LINE_TOO_LONG:
		break;
	}
	*why = "Line too long.";
	return FRONT_UNIT_FLOOD;
}

enum front_unit
front_unit_scan(struct imap_scanner *scanner, struct slice *input,
    struct slice *text, const char **why)
{
	enum front_unit unit = FRONT_UNIT_DONE;
	size_t size = 0;

	if (input->size == 0)
		return FRONT_UNIT_MORE;
	switch (imap_scan(scanner, *input, &size)) {
	case IMAP_SCAN_MORE:
		return FRONT_UNIT_MORE;
	case IMAP_SCAN_CONTINUE:
		return FRONT_UNIT_CONTINUE;
	case IMAP_SCAN_FLOOD:
		*why = "Line or literal too long.";
		return FRONT_UNIT_FLOOD;
	case IMAP_SCAN_COMMAND:
		break;
	case IMAP_SCAN_LINE_ENDING:
		*why = "Lines end in CRLF.";
		unit = FRONT_UNIT_FAULTY;
		break;
	case IMAP_SCAN_OCTET:
		*why = "Commands have no NUL and no CR by itself.";
		unit = FRONT_UNIT_FAULTY;
		break;
	case IMAP_SCAN_LITERAL_TOO_LARGE:
		*why = "Literal too large before login.";
		unit = FRONT_UNIT_TOO_LARGE;
		break;
	}
	*text = slice_first(*input, size);
	*input = slice_from_offset(*input, size);
	imap_scanner_reset(scanner);
	return unit;
}

enum front_action
front_unit_run(struct front *front, struct slice line, struct buf *out)
{
	size_t space = slice_find(line, ' ');
	struct slice argument =
	    slice_from_offset(line, space == SIZE_MAX ? line.size : space + 1);

	return front_run(front, slice_first(line, space), argument,
	    slice_trim(argument).size == 0, out);
}
