#include "ctl/template.h"

#include <string.h>

static bool
is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* Takes the name that follows a `$` off *rest; empty: there is none. */
static struct slice
take_name(struct slice *rest)
{
	bool braces = rest->size > 0 && rest->data[0] == '{';
	struct slice name = slice_from_offset(*rest, braces);
	size_t size = 0;

	while (size < name.size && is_name(name.data[size]))
		size++;
	if (braces && (size == name.size || name.data[size] != '}'))
		return slice_from("");
	*rest = slice_from_offset(*rest, size + (braces ? 2 : 0));
	return slice_first(name, size);
}

static int
add_value(
    struct buf *out, struct slice *rest, const json_t *values, struct buf *why)
{
	struct slice name = take_name(rest);
	const json_t *value =
	    name.size == 0 ? NULL
			   : json_object_getn(values, name.data, name.size);

	if (json_is_string(value)) {
		(void)buf_add(
		    out, json_string_value(value), json_string_length(value));
		return 0;
	}
	(void)buf_printf(
	    why, "nothing is known for the name \"%.*s\"", SLICE_ARGS(name));
	return -1;
}

int
template_fill(
    struct buf *out, struct slice text, const json_t *values, struct buf *why)
{
	while (text.size > 0) {
		size_t at = slice_find(text, '$');

		(void)buf_add_slice(out, slice_first(text, at));
		text = slice_from_offset(text, at);
		if (text.size == 0)
			break;
		text = slice_from_offset(text, 1);
		if (text.size > 0 && text.data[0] == '$') {
			(void)buf_add_char(out, '$');
			text = slice_from_offset(text, 1);
		} else if (add_value(out, &text, values, why) < 0) {
			return -1;
		}
	}
	if (!out->failed)
		return 0;
	(void)buf_add_string(why, "the text becomes too long");
	return -1;
}

void
template_replace(
    struct buf *out, struct slice text, struct slice from, struct slice to)
{
	while (text.size > 0) {
		const char *found =
		    memmem(text.data, text.size, from.data, from.size);
		size_t before = found ? (size_t)(found - text.data) : text.size;

		(void)buf_add_slice(out, slice_first(text, before));
		if (found)
			(void)buf_add_slice(out, to);
		text =
		    slice_from_offset(text, before + (found ? from.size : 0));
	}
}

void
template_move(struct buf *text, const char *from, const char *to)
{
	struct buf before = *text;

	if (strcmp(from, to) == 0)
		return;
	*text = buf_bounded(before.size_max);
	template_replace(
	    text, buf_slice(&before), slice_from(from), slice_from(to));
	buf_wipe(&before);
}
