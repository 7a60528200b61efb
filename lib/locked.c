#include "lib/locked.h"

#include "lib/timestamp.h"

static int
parse_until(struct slice text, struct locked *locked)
{
	locked->until_us = INT64_MAX;
	if (slice_is(text, "-"))
		return 0;
	if (!locked->is_locked)
		return -1;
	return timestamp_parse(text, &locked->until_us);
}

int
locked_parse(struct slice text, struct locked *locked, const char **why)
{
	size_t first = slice_find(text, ' ');
	struct slice rest = first == SIZE_MAX
				? slice_from("")
				: slice_from_offset(text, first + 1);
	size_t second = slice_find(rest, ' ');
	struct slice word;

	*locked = (struct locked){ .text = text };
	if (second == SIZE_MAX) {
		*why = "lock is not TIME locked|unlocked UNTIL";
		return -1;
	}
	if (timestamp_parse(slice_first(text, first), &locked->time_us) < 0) {
		*why = "lock's time is not generalized time in UTC";
		return -1;
	}
	word = slice_first(rest, second);
	locked->is_locked = slice_is_nocase(word, "locked");
	if (!locked->is_locked && !slice_is_nocase(word, "unlocked")) {
		*why = "lock says neither locked nor unlocked";
		return -1;
	}
	if (parse_until(slice_from_offset(rest, second + 1), locked) < 0) {
		*why = "lock's end is neither generalized time in UTC nor -";
		return -1;
	}
	return 0;
}

int
locked_format(struct buf *out, const struct locked *locked)
{
	if (timestamp_format(out, locked->time_us) < 0)
		return -1;
	buf_add_string(out, locked->is_locked ? " locked " : " unlocked ");
	if (!locked->is_locked || locked->until_us == INT64_MAX)
		return buf_add_char(out, '-');
	return timestamp_format(out, locked->until_us);
}

int
locked_compare(const struct locked *a, const struct locked *b)
{
	if (a->time_us != b->time_us)
		return a->time_us < b->time_us ? -1 : 1;
	return slice_compare(a->text, b->text);
}

const struct locked *
locked_newest(const struct locked *values, size_t count)
{
	const struct locked *newest = NULL;

	for (size_t i = 0; i < count; i++)
		if (!newest || locked_compare(newest, &values[i]) < 0)
			newest = &values[i];
	return newest;
}

bool
locked_holds(const struct locked *newest, int64_t now_us)
{
	return newest && newest->is_locked && now_us < newest->until_us;
}

int64_t
locked_next_time(const struct locked *newest, int64_t now_us)
{
	return newest && newest->time_us >= now_us ? newest->time_us + 1
						   : now_us;
}
