#include "proxy/line.h"

enum line_result
line_take(struct slice *input, size_t size_max, struct slice *line)
{
	size_t end = slice_find(slice_first(*input, size_max), '\n');

	if (end == SIZE_MAX)
		return input->size >= size_max ? LINE_TOO_LONG : LINE_MORE;
	*line = slice_first(*input, end);
	*input = slice_from_offset(*input, end + 1);
	if (line->size == 0 || line->data[line->size - 1] != '\r')
		return LINE_ENDING;
	line->size--;
	if (slice_find(*line, '\r') != SIZE_MAX ||
	    slice_find(*line, '\0') != SIZE_MAX)
		return LINE_OCTET;
	return LINE_DONE;
}

const char *
line_fault_text(enum line_result result)
{
	switch (result) {
	case LINE_ENDING:
		return "a line ends in LF without CR";
	case LINE_OCTET:
		return "a line has a NUL or a CR by itself";
	case LINE_TOO_LONG:
		return "a line is too long";
	case LINE_MORE:
	case LINE_DONE:
		break;
	}
	return "a line is malformed";
}

void
line_add_text(struct buf *out, struct slice text)
{
	for (size_t i = 0; i < text.size; i++) {
		unsigned char c = (unsigned char)text.data[i];

		buf_add_char(out, c < 0x20 || c == 0x7f ? '?' : text.data[i]);
	}
}
