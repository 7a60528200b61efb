#include "lib/record.h"

#include <endian.h>
#include <string.h>

#define RECORD_HEAD 5 /* tag and size */

int
record_add(struct buf *out, uint8_t tag, struct slice value)
{
	uint32_t size = (uint32_t)value.size;
	unsigned char head[RECORD_HEAD] = { tag, (unsigned char)size,
		(unsigned char)(size >> 8), (unsigned char)(size >> 16),
		(unsigned char)(size >> 24) };

	if (value.size > UINT32_MAX)
		return -1;
	buf_add(out, head, sizeof(head));
	return buf_add_slice(out, value);
}

int
record_add_uint(struct buf *out, uint8_t tag, uint64_t number)
{
	unsigned char octets[8];

	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (unsigned char)(number >> 8 * i);
	return record_add(out, tag, slice_of(octets, sizeof(octets)));
}

bool
record_next(struct slice *rest, struct record_field *field)
{
	uint32_t size;

	if (rest->size < RECORD_HEAD)
		return false;
	memcpy(&size, rest->data + 1, sizeof(size));
	size = le32toh(size);
	if (size > rest->size - RECORD_HEAD)
		return false;
	field->tag = (uint8_t)rest->data[0];
	field->value = slice_of(rest->data + RECORD_HEAD, size);
	*rest = slice_from_offset(*rest, RECORD_HEAD + size);
	return true;
}

struct slice
record_value(struct slice record, uint8_t tag)
{
	struct record_field field;

	while (record_next(&record, &field))
		if (field.tag == tag)
			return field.value;
	return slice_from("");
}

int
record_uint(struct slice value, uint64_t *number)
{
	if (value.size != 8)
		return -1;
	memcpy(number, value.data, sizeof(*number));
	*number = le64toh(*number);
	return 0;
}
