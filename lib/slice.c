#include "lib/slice.h"

#include <string.h>

struct slice
slice_from(const char *string)
{
	return (struct slice){ string, string ? strlen(string) : 0 };
}

struct slice
slice_of(const void *data, size_t size)
{
	return (struct slice){ data, size };
}

static unsigned char
lower(char c)
{
	unsigned char octet = (unsigned char)c;

	return octet >= 'A' && octet <= 'Z' ? (unsigned char)(octet | 0x20)
					    : octet;
}

bool
slice_equal(struct slice a, struct slice b)
{
	return a.size == b.size &&
	       (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool
slice_equal_nocase(struct slice a, struct slice b)
{
	if (a.size != b.size)
		return false;
	for (size_t i = 0; i < a.size; i++)
		if (lower(a.data[i]) != lower(b.data[i]))
			return false;
	return true;
}

bool
slice_is(struct slice text, const char *string)
{
	return slice_equal(text, slice_from(string));
}

bool
slice_is_nocase(struct slice text, const char *string)
{
	return slice_equal_nocase(text, slice_from(string));
}

bool
slice_starts_nocase(struct slice text, const char *prefix)
{
	struct slice start = slice_from(prefix);

	return text.size >= start.size &&
	       slice_equal_nocase(slice_first(text, start.size), start);
}

int
slice_compare(struct slice a, struct slice b)
{
	size_t common = a.size < b.size ? a.size : b.size;
	int order = common ? memcmp(a.data, b.data, common) : 0;

	if (order != 0)
		return order;
	return (a.size > b.size) - (a.size < b.size);
}

size_t
slice_find(struct slice text, char c)
{
	const char *found = text.size ? memchr(text.data, c, text.size) : NULL;

	return found ? (size_t)(found - text.data) : SIZE_MAX;
}

size_t
slice_find_last(struct slice text, char c)
{
	const char *found = text.size ? memrchr(text.data, c, text.size) : NULL;

	return found ? (size_t)(found - text.data) : SIZE_MAX;
}

struct slice
slice_from_offset(struct slice text, size_t from)
{
	if (from >= text.size)
		return (struct slice){ NULL, 0 };
	return (struct slice){ text.data + from, text.size - from };
}

struct slice
slice_first(struct slice text, size_t size)
{
	return (struct slice){ text.data, size < text.size ? size : text.size };
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool
slice_has_control(struct slice text)
{
	for (size_t i = 0; i < text.size; i++)
		if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f)
			return true;
	return false;
}

struct slice
slice_trim(struct slice text)
{
	while (text.size > 0 && is_blank(text.data[0])) {
		text.data++;
		text.size--;
	}
	while (text.size > 0 && is_blank(text.data[text.size - 1]))
		text.size--;
	return text;
}

bool
slice_next_word(struct slice *rest, char c, struct slice *word)
{
	while (rest->size > 0 && rest->data[0] == c) {
		rest->data++;
		rest->size--;
	}
	if (rest->size == 0)
		return false;
	*word = slice_first(*rest, slice_find(*rest, c));
	*rest = slice_from_offset(*rest, word->size);
	return true;
}

int
slice_to_uint(struct slice text, uint64_t max, uint64_t *number)
{
	uint64_t sum = 0;

	if (text.size == 0)
		return -1;
	for (size_t i = 0; i < text.size; i++) {
		unsigned digit = (unsigned)(unsigned char)text.data[i] - '0';

		if (digit > 9 || digit > max || sum > (max - digit) / 10)
			return -1;
		sum = sum * 10 + digit;
	}
	*number = sum;
	return 0;
}

bool
slice_is_printable(struct slice text)
{
	for (size_t i = 0; i < text.size; i++)
		if (text.data[i] < 0x20 || text.data[i] > 0x7e)
			return false;
	return true;
}

bool
slice_equal_secret(struct slice a, struct slice b)
{
	unsigned char difference = 0;

	if (a.size != b.size)
		return false;
	for (size_t i = 0; i < a.size; i++)
		difference |= (unsigned char)(a.data[i] ^ b.data[i]);
	return difference == 0;
}
