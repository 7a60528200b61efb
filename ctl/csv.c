#include "ctl/csv.h"

#include <utf8proc.h>

void
csv_init(struct csv *csv, struct slice text)
{
	*csv = (struct csv){
		.rest = text, .next = 1, .text = buf_bounded(CSV_ROW_MAX)
	};
	if (slice_starts_nocase(text, "\xEF\xBB\xBF"))
		csv->rest = slice_from_offset(text, 3);
}

void
csv_free(struct csv *csv)
{
	buf_wipe(&csv->text);
}

static bool
is_at(const struct csv *csv, char c)
{
	return csv->rest.size > 0 && csv->rest.data[0] == c;
}

static char
take(struct csv *csv)
{
	char c = csv->rest.data[0];

	csv->rest = slice_from_offset(csv->rest, 1);
	csv->next += c == '\n';
	return c;
}

/* LF or CRLF; a CR alone is none. */
static bool
is_at_line_end(const struct csv *csv)
{
	return csv->rest.size == 0 || is_at(csv, '\n') ||
	       (is_at(csv, '\r') && csv->rest.size > 1 &&
		   csv->rest.data[1] == '\n');
}

static void
take_line_end(struct csv *csv)
{
	if (is_at(csv, '\r'))
		(void)take(csv);
	if (is_at(csv, '\n'))
		(void)take(csv);
}

static void
take_line(struct csv *csv)
{
	while (!is_at_line_end(csv))
		(void)take(csv);
	take_line_end(csv);
}

static const char *
read_quoted(struct csv *csv)
{
	(void)take(csv);
	while (csv->rest.size > 0 && !csv->text.failed) {
		char c = take(csv);

		if (c == '"' && !is_at(csv, '"'))
			return NULL;
		if (c == '"')
			(void)take(csv);
		(void)buf_add_char(&csv->text, c);
	}
	return csv->text.failed ? "too long, or a quote is never closed"
				: "a quote is never closed";
}

static const char *
read_bare(struct csv *csv)
{
	while (!is_at(csv, ',') && !is_at_line_end(csv)) {
		if (is_at(csv, '"'))
			return "a quote stands within a field without quotes";
		if (is_at(csv, '\r'))
			return "a carriage return without line feed";
		(void)buf_add_char(&csv->text, take(csv));
	}
	return NULL;
}

static const char *
check_text(struct slice text)
{
	utf8proc_int32_t point;

	while (text.size > 0) {
		utf8proc_ssize_t used =
		    utf8proc_iterate((const utf8proc_uint8_t *)text.data,
			(utf8proc_ssize_t)text.size, &point);

		if (used < 1)
			return "is not UTF-8";
		if (point == 0)
			return "has a NUL in it";
		text = slice_from_offset(text, (size_t)used);
	}
	return NULL;
}

/* All fields up to the line's end, which is left. */
static const char *
read_fields(struct csv *csv)
{
	const char *why = NULL;

	for (;;) {
		if (csv->count == CSV_FIELDS_MAX)
			return "too many fields";
		why = is_at(csv, '"') ? read_quoted(csv) : read_bare(csv);
		if (why)
			return why;
		csv->ends[csv->count++] = csv->text.size;
		if (is_at_line_end(csv))
			break;
		if (take(csv) != ',')
			return "something stands behind a closing quote";
	}
	return csv->text.failed ? "too long"
				: check_text(buf_slice(&csv->text));
}

static void
cut_fields(struct csv *csv)
{
	struct slice text = buf_slice(&csv->text);
	size_t from = 0;

	for (size_t i = 0; i < csv->count; i++) {
		csv->fields[i] = slice_first(
		    slice_from_offset(text, from), csv->ends[i] - from);
		from = csv->ends[i];
	}
}

/* A quote that was left open may have swallowed rows: back to the first. */
static void
skip_row(struct csv *csv, struct slice start)
{
	csv->count = 0;
	csv->rest = start;
	csv->next = csv->line;
	take_line(csv);
}

enum csv_result
csv_next(struct csv *csv, const char **why)
{
	struct slice start;

	buf_clear(&csv->text);
	csv->count = 0;
	while (csv->rest.size > 0 && is_at_line_end(csv))
		take_line_end(csv);
	csv->line = csv->next;
	start = csv->rest;
	if (csv->rest.size == 0)
		return CSV_END;
	*why = read_fields(csv);
	if (*why) {
		skip_row(csv, start);
		return CSV_BAD;
	}
	take_line_end(csv);
	cut_fields(csv);
	return CSV_ROW;
}
