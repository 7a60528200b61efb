#include "replica/csn.h"

#include <string.h>

#include "lib/timestamp.h"

/* Where the parts of 20260102030405.123456Z#000000#001#000000 stand. */
enum {
	CSN_TIME_SIZE = 22,
	CSN_SID_AT = 30,
	CSN_SID_SIZE = 3
};

static const char csn_shape[] = "dddddddddddddd.ddddddZ#xxxxxx#xxx#xxxxxx";
_Static_assert(sizeof(csn_shape) == CSN_SIZE + 1, "shape of a CSN");

static bool
csn_fits(char shape, char c)
{
	bool digit = c >= '0' && c <= '9';

	switch (shape) {
	case 'd':
		return digit;
	case 'x':
		return digit || (c >= 'a' && c <= 'f');
	default:
		return c == shape;
	}
}

bool
csn_is_valid(struct slice csn)
{
	int64_t moment_us;
	size_t i;

	if (csn.size != CSN_SIZE)
		return false;
	for (i = 0; i < CSN_SIZE; i++) {
		if (!csn_fits(csn_shape[i], csn.data[i]))
			return false;
	}
	return timestamp_parse(slice_first(csn, CSN_TIME_SIZE), &moment_us) ==
	       0;
}

int64_t
csn_time_us(struct slice csn)
{
	int64_t moment_us;

	if (timestamp_parse(slice_first(csn, CSN_TIME_SIZE), &moment_us) != 0)
		return 0;
	return moment_us;
}

void
csn_vector_clear(struct csn_vector *vector)
{
	vector->count = 0;
}

struct slice
csn_vector_get(const struct csn_vector *vector, size_t i)
{
	return slice_of(vector->csns[i], CSN_SIZE);
}

/* Position of the first CSN whose SID is not smaller. */
static size_t
csn_vector_position(const struct csn_vector *vector, const char *csn)
{
	size_t i;

	for (i = 0; i < vector->count; i++) {
		if (memcmp(vector->csns[i] + CSN_SID_AT, csn + CSN_SID_AT,
			CSN_SID_SIZE) >= 0)
			break;
	}
	return i;
}

static bool
csn_vector_has_sid(
    const struct csn_vector *vector, size_t position, const char *csn)
{
	return position < vector->count &&
	       memcmp(vector->csns[position] + CSN_SID_AT, csn + CSN_SID_AT,
		   CSN_SID_SIZE) == 0;
}

int
csn_vector_add(struct csn_vector *vector, struct slice csn)
{
	size_t at;

	if (!csn_is_valid(csn))
		return -1;
	at = csn_vector_position(vector, csn.data);
	if (csn_vector_has_sid(vector, at, csn.data)) {
		if (memcmp(vector->csns[at], csn.data, CSN_SIZE) < 0)
			memcpy(vector->csns[at], csn.data, CSN_SIZE);
		return 0;
	}
	if (vector->count == CSN_VECTOR_MAX)
		return -1;
	memmove(vector->csns[at + 1], vector->csns[at],
	    (vector->count - at) * CSN_SIZE);
	memcpy(vector->csns[at], csn.data, CSN_SIZE);
	vector->count++;
	return 0;
}

bool
csn_vector_covers(const struct csn_vector *vector, struct slice csn)
{
	size_t at;

	if (csn.size != CSN_SIZE)
		return false;
	at = csn_vector_position(vector, csn.data);
	return csn_vector_has_sid(vector, at, csn.data) &&
	       memcmp(vector->csns[at], csn.data, CSN_SIZE) >= 0;
}

bool
csn_vector_covers_all(
    const struct csn_vector *vector, const struct csn_vector *other)
{
	size_t i;

	for (i = 0; i < other->count; i++) {
		if (!csn_vector_covers(vector, csn_vector_get(other, i)))
			return false;
	}
	return true;
}

bool
csn_vector_equal(
    const struct csn_vector *vector, const struct csn_vector *other)
{
	return vector->count == other->count &&
	       memcmp(vector->csns, other->csns, vector->count * CSN_SIZE) == 0;
}

int
csn_vector_format(
    struct buf *out, const struct csn_vector *vector, char separator)
{
	size_t i;

	for (i = 0; i < vector->count; i++) {
		if (i > 0)
			(void)buf_add_char(out, separator);
		(void)buf_add_slice(out, csn_vector_get(vector, i));
	}
	return out->failed ? -1 : 0;
}

static int
csn_list_parse(struct slice list, struct csn_vector *vector)
{
	struct slice csn;

	while (slice_next_word(&list, ';', &csn)) {
		if (csn_vector_add(vector, csn) != 0)
			return -1;
	}
	return 0;
}

int
csn_cookie_parse(struct slice cookie, struct csn_vector *vector)
{
	struct slice part;

	while (slice_next_word(&cookie, ',', &part)) {
		if (!slice_starts_nocase(part, "csn="))
			continue;
		if (csn_list_parse(slice_from_offset(part, 4), vector) != 0)
			return -1;
	}
	return 0;
}

int
csn_cookie_format(struct buf *out, const struct csn_vector *vector)
{
	(void)buf_add_string(out, "rid=000,csn=");
	return csn_vector_format(out, vector, ';');
}
