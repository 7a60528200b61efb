#include "lib/keyset.h"

#include "lib/base64.h"
#include "lib/timestamp.h"

static const char scram_word[] = "scram-sha-256=";

static bool
is_base64_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* Only the shape: what is inside shows when it is decoded. */
static bool
is_base64(struct slice text)
{
	size_t letters = text.size;

	if (text.size == 0 || text.size % 4 != 0)
		return false;
	for (size_t i = 0; i < 2 && text.data[letters - 1] == '='; i++)
		letters--;
	for (size_t i = 0; i < letters; i++)
		if (!is_base64_letter(text.data[i]))
			return false;
	return true;
}

/* Words are parted by exactly one space; false at the end. */
static bool
next_field(struct slice *rest, struct slice *field)
{
	if (rest->size == 0)
		return false;
	*field = slice_first(*rest, slice_find(*rest, ' '));
	/* A space at the end leaves an empty word, which nothing is. */
	if (field->size + 1 == rest->size)
		return false;
	*rest = slice_from_offset(*rest, field->size + 1);
	return field->size > 0;
}

static int
parse_key(struct keyset *set, struct slice field, const char **why)
{
	if (set->scram.size > 0) {
		*why = "key set goes on after its SCRAM keys";
		return -1;
	}
	if (slice_starts_nocase(field, scram_word)) {
		set->scram = slice_from_offset(field, sizeof(scram_word) - 1);
		return 0;
	}
	if (set->key_count == KEYSET_KEYS_MAX) {
		*why = "key set has more than 16 keys";
		return -1;
	}
	if (!is_base64(field) || field.size / 4 * 3 > KEYSET_KEY_MAX) {
		*why = "key set's key is not base64 of at most 1024 octets";
		return -1;
	}
	set->keys[set->key_count++] = field;
	return 0;
}

int
keyset_parse(struct slice text, struct keyset *set, const char **why)
{
	struct slice rest = text, field;
	uint64_t kvno;

	*set = (struct keyset){ .text = text };
	if (text.size > KEYSET_SIZE_MAX) {
		*why = "key set has more than 8192 octets";
		return -1;
	}
	if (!next_field(&rest, &field) ||
	    timestamp_parse(field, &set->time_us) < 0) {
		*why = "key set's time is not generalized time in UTC";
		return -1;
	}
	if (!next_field(&rest, &field) ||
	    slice_to_uint(field, KEYSET_KVNO_MAX, &kvno) < 0 || kvno == 0) {
		*why = "key set's version is not 1 to 2147483647";
		return -1;
	}
	set->kvno = (uint32_t)kvno;
	while (next_field(&rest, &field))
		if (parse_key(set, field, why) < 0)
			return -1;
	if (rest.size > 0 || set->key_count == 0) {
		*why = "key set is not TIME KVNO KEY ...";
		return -1;
	}
	return 0;
}

int
keyset_format(struct buf *out, const struct keyset *set)
{
	if (timestamp_format(out, set->time_us) < 0 ||
	    buf_printf(out, " %u", set->kvno) < 0)
		return -1;
	for (size_t i = 0; i < set->key_count; i++) {
		buf_add_char(out, ' ');
		buf_add_slice(out, set->keys[i]);
	}
	if (set->scram.size > 0) {
		buf_add_char(out, ' ');
		buf_add_string(out, scram_word);
		buf_add_slice(out, set->scram);
	}
	return out->failed ? -1 : 0;
}

int
keyset_compare(const struct keyset *a, const struct keyset *b)
{
	if (a->time_us != b->time_us)
		return a->time_us < b->time_us ? -1 : 1;
	return slice_compare(a->text, b->text);
}

int
keyset_compare_any(const void *a, const void *b)
{
	return keyset_compare(a, b);
}

int
keyset_key(const struct keyset *set, size_t index, struct buf *out)
{
	return base64_decode(out, set->keys[index]);
}

const struct keyset *
keyset_newest(const struct keyset *sets, size_t count)
{
	const struct keyset *newest = NULL;

	for (size_t i = 0; i < count; i++)
		if (!newest || keyset_compare(newest, &sets[i]) < 0)
			newest = &sets[i];
	return newest;
}

const struct keyset *
keyset_of_kvno(const struct keyset *sets, size_t count, uint32_t kvno)
{
	const struct keyset *newest = NULL;

	for (size_t i = 0; i < count; i++)
		if (sets[i].kvno == kvno &&
		    (!newest || keyset_compare(newest, &sets[i]) < 0))
			newest = &sets[i];
	return newest;
}

/* The largest moment that can be written. */
#define TIME_MAX_US (INT64_C(253402300800) * TIMESTAMP_SECOND - 1)

int
keyset_change_make(struct keyset_change *change, const struct keyset *sets,
    size_t count, uint32_t kvno_before, int64_t now_us, int64_t keep_us,
    const char **why)
{
	*change = (struct keyset_change){ .time_us = now_us };
	if (count > 0 && sets[count - 1].time_us >= now_us)
		change->time_us = sets[count - 1].time_us + 1;
	change->kvno = kvno_before;
	for (size_t i = 0; i < count; i++)
		if (sets[i].kvno > change->kvno)
			change->kvno = sets[i].kvno;
	if (change->kvno >= KEYSET_KVNO_MAX) {
		*why = "key version cannot grow any more";
		return -1;
	}
	if (change->time_us > TIME_MAX_US) {
		*why = "time of the newest keys lies at the end of time";
		return -1;
	}
	change->kvno++;
	while (change->superseded + 1 < count &&
	       (sets[change->superseded + 1].time_us <= now_us - keep_us ||
		   count - change->superseded >= KEYSET_VALUES_MAX))
		change->superseded++;
	return 0;
}
