/*
 * csv: tables as text (RFC 4180).
 *
 * Pure. Fields are parted by commas, rows by CRLF or LF. A field in double
 * quotes may hold commas, line ends, and double quotes written twice. Rows that
 * are empty are passed over, and so is a byte order mark at the beginning.
 * After a row that is none, reading goes on at the next line.
 */
#ifndef CTL_CSV_H
#define CTL_CSV_H

#include "lib/buf.h"
#include "lib/slice.h"

#define CSV_FIELDS_MAX 64
#define CSV_ROW_MAX    65536 /* octets of one row's fields */

struct csv {
	struct slice rest; /* borrowed: what was not read yet */
	size_t line;       /* where the row at hand begins, counted from 1 */
	size_t next;       /* where the next one does */
	struct buf text;   /* the row's fields; wiped, they may be secrets */
	struct slice fields[CSV_FIELDS_MAX]; /* borrow from text */
	size_t ends[CSV_FIELDS_MAX];         /* of each field in text */
	size_t count;
};

enum csv_result {
	CSV_ROW,
	CSV_END,
	CSV_BAD
};

/* text is borrowed. */
void csv_init(struct csv *csv, struct slice text);
void csv_free(struct csv *csv);
/*
 * The next row, valid until the next call. BAD: *why (static text), in
 * csv->line.
 */
enum csv_result csv_next(struct csv *csv, const char **why);

#endif
