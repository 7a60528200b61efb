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
buf_printf(struct buf *buf, const char *format, ...)
{
	va_list arguments;
	int size;

	va_start(arguments, format);
	/* va_start was called, which the analyser misses. */
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	size = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
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

int
buf_add_quoted(struct buf *buf, struct slice text)
{
	buf_add_char(buf, '"');
	for (size_t i = 0; i < text.size; i++) {
		unsigned char octet = (unsigned char)text.data[i];

		if (octet == '"' || octet == '\\')
			buf_add_char(buf, '\\');
		if (octet >= 0x20 && octet <= 0x7e)
			buf_add_char(buf, (char)octet);
		else
			buf_printf(buf, "\\x%02x", octet);
	}
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
