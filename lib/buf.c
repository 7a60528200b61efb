#include "lib/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_CAPACITY_MIN 64
#define BUF_SIZE_MAX     (SIZE_MAX / 4) /* doubling stays within size_t */

struct buf
buf_bounded(size_t size_max)
{
	return (struct buf){
		.size_max = size_max < BUF_SIZE_MAX ? size_max : BUF_SIZE_MAX
	};
}

void
buf_free(struct buf *buf)
{
	free(buf->data);
	*buf = buf_bounded(buf->size_max);
}

void
buf_wipe(struct buf *buf)
{
	if (buf->data)
		explicit_bzero(buf->data, buf->capacity);
	buf_free(buf);
}

void
buf_clear(struct buf *buf)
{
	buf->size = 0;
	buf->failed = false;
	if (buf->data)
		buf->data[0] = '\0';
}

/*
 * Room for `more` octets and the NUL. Grows by doubling into fresh memory and
 * overwrites the old, since realloc would leave secrets behind in the heap.
 */
static int
make_room(struct buf *buf, size_t more)
{
	size_t capacity = buf->capacity ? buf->capacity : BUF_CAPACITY_MIN;
	char *data;

	if (buf->failed || more > buf->size_max - buf->size) {
		buf->failed = true;
		return -1;
	}
	if (buf->size + more < buf->capacity)
		return 0;
	while (capacity <= buf->size + more)
		capacity *= 2;
	if (capacity > buf->size_max + 1)
		capacity = buf->size_max + 1;
	data = malloc(capacity);
	if (!data) {
		buf->failed = true;
		return -1;
	}
	if (buf->data) {
		memcpy(data, buf->data, buf->size);
		explicit_bzero(buf->data, buf->capacity);
		free(buf->data);
	}
	buf->data = data;
	buf->capacity = capacity;
	return 0;
}

int
buf_add(struct buf *buf, const void *data, size_t size)
{
	if (make_room(buf, size) < 0)
		return -1;
	if (size > 0)
		memcpy(buf->data + buf->size, data, size);
	buf->size += size;
	buf->data[buf->size] = '\0';
	return 0;
}

int
buf_add_slice(struct buf *buf, struct slice text)
{
	return buf_add(buf, text.data, text.size);
}

int
buf_add_string(struct buf *buf, const char *string)
{
	return buf_add(buf, string, strlen(string));
}

int
buf_add_char(struct buf *buf, char c)
{
	return buf_add(buf, &c, 1);
}

int
buf_add_number(struct buf *buf, int64_t number)
{
	char digits[20]; /* of the longest: -2^63 */
	size_t at = sizeof(digits);
	uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

	do {
		digits[--at] = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	if (number < 0)
		digits[--at] = '-';
	return buf_add(buf, digits + at, sizeof(digits) - at);
}

/* Printed at once where there is room, which is nearly always. */
int
buf_printf(struct buf *buf, const char *format, ...)
{
	size_t room = buf->failed ? 0 : buf->capacity - buf->size;
	va_list arguments;
	int size;

	va_start(arguments, format);
	/* va_start was called, which the analyser misses. */
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	size = vsnprintf(
	    room > 0 ? buf->data + buf->size : NULL, room, format, arguments);
	va_end(arguments);
	if (size >= 0 && (size_t)size < room) {
		buf->size += (size_t)size;
		return 0;
	}
	if (room > 0)
		buf->data[buf->size] = '\0';
	if (size < 0 || make_room(buf, (size_t)size) < 0) {
		buf->failed = true;
		return -1;
	}
	va_start(arguments, format);
	(void)vsnprintf(
	    buf->data + buf->size, (size_t)size + 1, format, arguments);
	va_end(arguments);
	buf->size += (size_t)size;
	return 0;
}

static bool
is_plain(char c)
{
	return c >= 0x20 && c <= 0x7e && c != '"' && c != '\\';
}

int
buf_add_quoted(struct buf *buf, struct slice text)
{
	size_t plain = 0; /* of what is passed by and not added yet */

	buf_add_char(buf, '"');
	for (size_t i = 0; i < text.size; i++) {
		char octet = text.data[i];

		if (is_plain(octet)) {
			plain++;
			continue;
		}
		buf_add(buf, text.data + i - plain, plain);
		plain = 0;
		if (octet == '"' || octet == '\\') {
			buf_add_char(buf, '\\');
			plain = 1;
		} else {
			buf_printf(buf, "\\x%02x", (unsigned char)octet);
		}
	}
	if (plain > 0)
		buf_add(buf, text.data + text.size - plain, plain);
	return buf_add_char(buf, '"');
}

char *
buf_reserve(struct buf *buf, size_t size)
{
	return make_room(buf, size) < 0 ? NULL : buf->data + buf->size;
}

void
buf_grow(struct buf *buf, size_t size)
{
	buf->size += size;
	buf->data[buf->size] = '\0';
}

void
buf_consume(struct buf *buf, size_t size)
{
	if (size == 0)
		return;
	memmove(buf->data, buf->data + size, buf->size - size);
	buf->size -= size;
	buf->data[buf->size] = '\0';
}

struct slice
buf_slice(const struct buf *buf)
{
	return (struct slice){ buf->data, buf->size };
}

const char *
buf_string(const struct buf *buf)
{
	return buf->data ? buf->data : "";
}
