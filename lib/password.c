#include "lib/password.h"

#include <utf8proc.h>

static bool
is_utf8(struct slice text)
{
	utf8proc_int32_t point;

	while (text.size > 0) {
		utf8proc_ssize_t used =
		    utf8proc_iterate((const utf8proc_uint8_t *)text.data,
			(utf8proc_ssize_t)text.size, &point);

		if (used < 1)
			return false;
		text = slice_from_offset(text, (size_t)used);
	}
	return true;
}

const char *
password_fault(struct slice password, size_t size_max)
{
	if (password.size == 0)
		return "password is empty";
	if (password.size > size_max)
		return "password is too long";
	if (slice_find(password, '\0') != SIZE_MAX)
		return "password has a NUL in it";
	if (!is_utf8(password))
		return "password is not UTF-8";
	return NULL;
}
