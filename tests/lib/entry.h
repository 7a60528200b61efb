/* entry: records of entries for tests, from tags and texts. */
#ifndef TESTS_LIB_ENTRY_H
#define TESTS_LIB_ENTRY_H

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "lib/cell.h"
#include "lib/record.h"

struct entry_field {
	uint8_t tag;
	const char *text;
};

/* A list that ends in { 0, NULL }; fields without text are left out. */
static inline void
entry_record(struct buf *record, const struct entry_field *fields)
{
	*record = buf_bounded(65536);
	for (; fields->tag; fields++)
		if (fields->text)
			record_add(
			    record, fields->tag, slice_from(fields->text));
}

static inline void
entry_add(struct cell *cell, const struct entry_field *fields)
{
	struct buf record;

	entry_record(&record, fields);
	if (cell_add(cell, buf_slice(&record)) < 0)
		abort();
	buf_free(&record);
}

#define ENTRY(...) ((const struct entry_field[]){ __VA_ARGS__, { 0, NULL } })

#endif
