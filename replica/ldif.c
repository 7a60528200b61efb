#include "replica/ldif.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base64.h"

#define LDIF_RECORD_MAX ((size_t)16 << 20) /* octets of one entry's text */
#define LDIF_VALUES_MAX 65536

void
ldif_init(struct ldif *ldif, struct slice text)
{
	*ldif =
	    (struct ldif){ .rest = text, .text = buf_bounded(LDIF_RECORD_MAX) };
}

void
ldif_free(struct ldif *ldif)
{
	buf_free(&ldif->text);
	free(ldif->values);
	*ldif = (struct ldif){ .text = buf_bounded(LDIF_RECORD_MAX) };
}

/* The next line as it stands, without its end. False when there is none. */
static bool
ldif_take_line(struct ldif *ldif, struct slice *line)
{
	size_t end = slice_find(ldif->rest, '\n');

	if (ldif->rest.size == 0)
		return false;
	*line = slice_first(ldif->rest, end);
	ldif->rest = slice_from_offset(
	    ldif->rest, end == SIZE_MAX ? ldif->rest.size : end + 1);
	if (line->size > 0 && line->data[line->size - 1] == '\r')
		line->size--;
	ldif->line++;
	return true;
}

static bool
ldif_continues(const struct ldif *ldif)
{
	return ldif->rest.size > 0 && ldif->rest.data[0] == ' ';
}

/* Octets up to the empty line that ends the record. */
static size_t
ldif_record_size(struct slice rest)
{
	size_t size = 0;

	while (size < rest.size) {
		struct slice tail = slice_from_offset(rest, size);
		size_t end = slice_find(tail, '\n');

		if (end == 0 || (end == 1 && tail.data[0] == '\r'))
			break;
		if (end == SIZE_MAX)
			return rest.size;
		size += end + 1;
	}
	return size;
}

/*
 * A line with those that continue it, put together in ldif->text. An empty line
 * ends the record, and nothing continues it.
 */
static bool
ldif_unfold(struct ldif *ldif, struct slice *whole, size_t *first_line)
{
	size_t at = ldif->text.size;
	struct slice line;

	if (!ldif_take_line(ldif, &line))
		return false;
	*first_line = ldif->line;
	(void)buf_add_slice(&ldif->text, line);
	if (line.size > 0)
		while (ldif_continues(ldif) && ldif_take_line(ldif, &line))
			(void)buf_add_slice(
			    &ldif->text, slice_from_offset(line, 1));
	*whole = slice_from_offset(buf_slice(&ldif->text), at);
	return true;
}

static int
ldif_keep_value(struct ldif *ldif, struct slice attribute, struct slice value)
{
	if (ldif->value_count == ldif->value_capacity) {
		size_t capacity =
		    ldif->value_capacity == 0 ? 64 : ldif->value_capacity * 2;
		struct entry_value *more = NULL;

		if (capacity <= LDIF_VALUES_MAX)
			more =
			    reallocarray(ldif->values, capacity, sizeof(*more));
		if (!more)
			return -1;
		ldif->values = more;
		ldif->value_capacity = capacity;
	}
	ldif->values[ldif->value_count++] =
	    (struct entry_value){ attribute, value };
	return 0;
}

static struct slice
ldif_skip_spaces(struct slice text)
{
	size_t at = 0;

	while (at < text.size && text.data[at] == ' ')
		at++;
	return slice_from_offset(text, at);
}

/* Cuts `attribute: value`, `attribute:: base64`. */
static int
ldif_cut(struct ldif *ldif, struct slice line, struct slice *attribute,
    struct slice *value, const char **why)
{
	size_t colon = slice_find(line, ':');
	size_t at = ldif->text.size;

	if (colon == SIZE_MAX || colon == 0) {
		*why = "not ATTRIBUTE: VALUE";
		return -1;
	}
	*attribute = slice_first(line, colon);
	*value = slice_from_offset(line, colon + 1);
	if (value->size > 0 && value->data[0] == '<') {
		*why = "values by URL are not taken";
		return -1;
	}
	if (value->size == 0 || value->data[0] != ':') {
		*value = ldif_skip_spaces(*value);
		if (memchr(line.data, '\0', line.size) == NULL)
			return 0;
		*why = "NUL outside of base64";
		return -1;
	}
	*value = slice_trim(slice_from_offset(*value, 1));
	if (base64_decode(&ldif->text, *value) != 0) {
		*why = "malformed base64";
		return -1;
	}
	*value = slice_from_offset(buf_slice(&ldif->text), at);
	return 0;
}

static int
ldif_take_dn(struct slice attribute, struct slice value, struct entry *entry,
    const char **why)
{
	if (!slice_is_nocase(attribute, "dn")) {
		*why = "an entry begins with dn:";
		return -1;
	}
	if (value.size == 0) {
		*why = "an empty dn";
		return -1;
	}
	entry->dn = value;
	return 0;
}

static int
ldif_take_value(struct ldif *ldif, struct slice attribute, struct slice value,
    const char **why)
{
	if (slice_is_nocase(attribute, "dn")) {
		*why = "a second dn: is the empty line before it missing?";
		return -1;
	}
	if (slice_is_nocase(attribute, "control") ||
	    (slice_is_nocase(attribute, "changetype") &&
		!slice_is_nocase(value, "add"))) {
		*why = "changes are not taken, only entries";
		return -1;
	}
	if (ldif_keep_value(ldif, attribute, value) == 0)
		return 0;
	*why = "too many values";
	return -1;
}

/* Skips empty lines, comments and the version before an entry. */
static int
ldif_skip(struct ldif *ldif, const char **why)
{
	struct slice line;
	size_t first;

	while (ldif->rest.size > 0) {
		struct ldif before = *ldif;
		bool version;

		buf_clear(&ldif->text);
		if (ldif_continues(ldif)) {
			ldif->line++;
			*why = "a continuation of nothing";
			return -1;
		}
		if (!ldif_unfold(ldif, &line, &first))
			break;
		version = !ldif->begun && slice_starts_nocase(line, "version:");
		if (version &&
		    !slice_is(slice_trim(slice_from_offset(line, 8)), "1")) {
			*why = "the version is not 1";
			return -1;
		}
		ldif->begun |= version;
		if (line.size > 0 && line.data[0] != '#' && !version) {
			ldif->rest = before.rest;
			ldif->line = before.line;
			break;
		}
	}
	return 0;
}

enum ldif_result
ldif_next(struct ldif *ldif, struct entry *entry, const char **why)
{
	struct slice line, attribute, value;
	size_t size, first = 0;

	if (ldif_skip(ldif, why) != 0)
		return LDIF_BAD;
	if (ldif->rest.size == 0)
		return LDIF_END;
	ldif->begun = true;
	ldif->value_count = 0;
	*entry = (struct entry){ .dn = slice_from("") };
	buf_clear(&ldif->text);
	/* Lines and decoded values both go there; slices into it must hold. */
	size = ldif_record_size(ldif->rest);
	if (!buf_reserve(&ldif->text, 2 * size)) {
		*why = "the entry is too large";
		return LDIF_BAD;
	}
	while (ldif->rest.size > 0) {
		if (!ldif_unfold(ldif, &line, &first) || line.size == 0)
			break;
		if (line.data[0] == '#')
			continue;
		if (ldif_cut(ldif, line, &attribute, &value, why) != 0 ||
		    (entry->dn.size == 0
			    ? ldif_take_dn(attribute, value, entry, why)
			    : ldif_take_value(ldif, attribute, value, why)) !=
			0) {
			ldif->line = first;
			return LDIF_BAD;
		}
	}
	entry->values = ldif->values;
	entry->value_count = ldif->value_count;
	return LDIF_ENTRY;
}
