/*
 * record: entries of the directory as they lie in the replica's database.
 *
 * A record is a list of fields: tag (1 octet), size (4 octets, little endian),
 * value. A tag may come several times. Readers skip tags they do not know, so
 * that programs of different versions can share a database. The tags of
 * accounts, pools and hosts stand in the headers of those.
 */
#ifndef LIB_RECORD_H
#define LIB_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/slice.h"

/* 0, or -1 when the buffer is full or the value has 4 GiB. */
int record_add(struct buf *out, uint8_t tag, struct slice value);
/* As eight octets, little endian. */
int record_add_uint(struct buf *out, uint8_t tag, uint64_t number);

struct record_field {
	uint8_t tag;
	struct slice value; /* borrowed from the record */
};

/*
 * Takes the next field off *rest. False at the end and on a malformed record;
 * these differ in *rest, which is empty at a proper end.
 */
bool record_next(struct slice *rest, struct record_field *field);
/* The first value of a tag; empty when there is none. */
struct slice record_value(struct slice record, uint8_t tag);
/* Value of record_add_uint; 0, or -1 when it is not eight octets. */
int record_uint(struct slice value, uint64_t *number);

#endif
