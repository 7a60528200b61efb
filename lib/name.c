#include "lib/name.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

const char *
name_kind_text(enum name_kind kind)
{
	static const char *const texts[] = {
		[NAME_UID] = "uid",
		[NAME_ADDRESS] = "address",
		[NAME_PRINCIPAL] = "principal",
	};

	_Static_assert(
	    ARRAY_SIZE(texts) == NAME_KIND_COUNT, "a text for each kind");
	return texts[kind];
}

/* What a name consists of, in one pass. */
static void
survey(struct slice text, bool *ascii, bool *control)
{
	unsigned char all = 0;

	*control = false;
	for (size_t i = 0; i < text.size; i++) {
		unsigned char c = (unsigned char)text.data[i];

		all |= c;
		*control |= c < 0x20 || c == 0x7f;
	}
	*ascii = all <= 0x7f;
}

/*
 * RFC 4518 section 2.6.1: no spaces at the ends, runs of them one. Size of the
 * result, which may be written over the text itself.
 */
static size_t
squeeze(char *out, struct slice text, bool fold)
{
	size_t size = 0;
	bool pending = false;

	for (size_t i = 0; i < text.size; i++) {
		char c = text.data[i];

		if (c == ' ') {
			pending = size > 0;
			continue;
		}
		if (pending)
			out[size++] = ' ';
		pending = false;
		out[size++] =
		    fold && c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
	}
	return size;
}

/* Letters alone have case; slapd leaves numerals and signs as they are. */
static utf8proc_int32_t
lower_letter(utf8proc_int32_t point, void *context)
{
	utf8proc_category_t category = utf8proc_category(point);

	(void)context;
	return category == UTF8PROC_CATEGORY_LU ||
		       category == UTF8PROC_CATEGORY_LT
		   ? utf8proc_tolower(point)
		   : point;
}

/*
 * Simple lower case, compatibility decomposition, then composition: what slapd
 * does for caseIgnoreMatch, in its order. So a capital that decomposition
 * brings forth stays one. Simple lower case and not full case folding, which
 * would make "ß" equal "ss" here and nowhere else.
 */
static int
add_folded(struct buf *out, struct slice name, const char **why)
{
	union {
		utf8proc_int32_t points[NAME_SIZE_MAX * 4];
		char octets[sizeof(utf8proc_int32_t[NAME_SIZE_MAX * 4])];
	} room;

	const utf8proc_option_t options =
	    UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_STABLE;
	utf8proc_ssize_t count = utf8proc_decompose_custom(
	    (const utf8proc_uint8_t *)name.data, (utf8proc_ssize_t)name.size,
	    room.points, ARRAY_SIZE(room.points), options, lower_letter, NULL);

	if (count < 0) {
		*why = "name is not UTF-8";
		return -1;
	}
	if ((size_t)count >= ARRAY_SIZE(room.points)) {
		*why = "name is too long";
		return -1;
	}
	/* In place: the octets of a composed name never outgrow its points. */
	count = utf8proc_reencode(
	    room.points, count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
	if (count < 0) {
		*why = "name is not UTF-8";
		return -1;
	}
	buf_add(out, room.octets,
	    squeeze(room.octets, slice_of(room.octets, (size_t)count), false));
	return 0;
}

int
name_normalise(
    struct buf *out, enum name_kind kind, struct slice name, const char **why)
{
	size_t before = out->size;
	bool fold = kind != NAME_PRINCIPAL, ascii, control;
	char room[NAME_SIZE_MAX];

	if (name.size > NAME_SIZE_MAX) {
		*why = "name is too long";
		return -1;
	}
	survey(name, &ascii, &control);
	if (control) {
		*why = "name has a control character";
		return -1;
	}
	if (!fold || ascii)
		buf_add(out, room, squeeze(room, name, fold));
	else if (add_folded(out, name, why) < 0)
		return -1;
	if (out->failed || out->size - before > NAME_SIZE_MAX) {
		*why = "name is too long";
		return -1;
	}
	if (out->size == before) {
		*why = "name is empty";
		return -1;
	}
	return 0;
}

int
name_escape_filter(struct buf *out, struct slice value)
{
	for (size_t i = 0; i < value.size; i++) {
		unsigned char c = (unsigned char)value.data[i];

		if (c == '*' || c == '(' || c == ')' || c == '\\' || c < 0x20 ||
		    c > 0x7e)
			buf_printf(out, "\\%02x", c);
		else
			buf_add_char(out, (char)c);
	}
	return out->failed ? -1 : 0;
}

int
name_escape_dn(struct buf *out, struct slice value)
{
	for (size_t i = 0; i < value.size; i++) {
		unsigned char c = (unsigned char)value.data[i];
		bool at_end = i == 0 || i == value.size - 1;

		if (c < 0x20 || c == 0x7f)
			buf_printf(out, "\\%02x", c);
		else if (strchr("\"+,;<>\\=", c) || (c == ' ' && at_end) ||
			 (c == '#' && i == 0))
			buf_printf(out, "\\%c", c);
		else
			buf_add_char(out, (char)c);
	}
	return out->failed ? -1 : 0;
}

static bool
is_label(struct slice label)
{
	if (label.size == 0 || label.size > 63 || label.data[0] == '-' ||
	    label.data[label.size - 1] == '-')
		return false;
	for (size_t i = 0; i < label.size; i++) {
		char c = label.data[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
	}
	return true;
}

bool
name_is_host(struct slice name)
{
	if (name.size == 0 || name.size > 253)
		return false;
	for (;;) {
		size_t dot = slice_find(name, '.');

		if (!is_label(slice_first(name, dot)))
			return false;
		if (dot == SIZE_MAX)
			return true;
		name = slice_from_offset(name, dot + 1);
	}
}

bool
name_split_address(
    struct slice address, struct slice *local, struct slice *domain)
{
	size_t at = slice_find_last(address, '@');

	if (at == SIZE_MAX || at == 0 || at + 1 == address.size)
		return false;
	*local = slice_first(address, at);
	*domain = slice_from_offset(address, at + 1);
	return true;
}
