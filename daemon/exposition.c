#include "daemon/exposition.h"

#include <inttypes.h>
#include <stdbool.h>

void
exposition_head(
    struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* How many octets the sequence of UTF-8 has that begins there (RFC 3629); 0:
 * none does. */
static size_t
sequence_size(struct slice text)
{
	unsigned char first = (unsigned char)text.data[0];
	size_t size = first < 0x80                    ? 1
		      : first >= 0xc2 && first < 0xe0 ? 2
		      : first >= 0xe0 && first < 0xf0 ? 3
		      : first >= 0xf0 && first < 0xf5 ? 4
						      : 0;
	unsigned char second;

	if (size > text.size)
		return 0;
	for (size_t i = 1; i < size; i++)
		if (((unsigned char)text.data[i] & 0xc0) != 0x80)
			return 0;
	second = size > 1 ? (unsigned char)text.data[1] : 0;
	/* Longer than need be, surrogates, or beyond the last character. */
	if ((first == 0xe0 && second < 0xa0) ||
	    (first == 0xed && second >= 0xa0) ||
	    (first == 0xf0 && second < 0x90) ||
	    (first == 0xf4 && second >= 0x90))
		return 0;
	return size;
}

static void
add_label_value(struct buf *out, struct slice text)
{
	while (text.size > 0) {
		size_t size = sequence_size(text);
		char c = text.data[0];

		if (c == '\n')
			buf_add_string(out, "\\n");
		else if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else if (size == 0 || (unsigned char)c < 0x20 || c == 0x7f)
			buf_add_char(out, '?');
		else
			buf_add_slice(out, slice_first(text, size));
		text = slice_from_offset(text, size > 0 ? size : 1);
	}
}

static void
add_name(struct buf *out, const char *name, const char *suffix,
    const struct exposition_label *labels, size_t label_count)
{
	buf_printf(out, "%s%s", name, suffix);
	for (size_t i = 0; i < label_count; i++) {
		buf_printf(out, "%c%s=\"", i == 0 ? '{' : ',', labels[i].name);
		add_label_value(out, labels[i].value);
		buf_add_char(out, '"');
	}
	buf_add_string(out, label_count > 0 ? "} " : " ");
}

void
exposition_value(struct buf *out, const char *name, const char *suffix,
    const struct exposition_label *labels, size_t label_count, int64_t value)
{
	add_name(out, name, suffix, labels, label_count);
	buf_printf(out, "%" PRId64 "\n", value);
}

void
exposition_seconds(struct buf *out, const char *name, const char *suffix,
    const struct exposition_label *labels, size_t label_count, int64_t time_us)
{
	bool negative = time_us < 0;
	uint64_t size_us =
	    negative ? (uint64_t)0 - (uint64_t)time_us : (uint64_t)time_us;

	add_name(out, name, suffix, labels, label_count);
	buf_printf(out, "%s%" PRIu64 ".%06" PRIu64 "\n", negative ? "-" : "",
	    size_us / 1000000, size_us % 1000000);
}

void
exposition_gauge(
    struct buf *out, const char *name, const char *help, int64_t value)
{
	exposition_head(out, name, "gauge", help);
	exposition_value(out, name, "", NULL, 0, value);
}
