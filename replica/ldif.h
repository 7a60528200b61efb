/*
 * ldif: reads entries from LDIF text (RFC 2849, content records).
 *
 * Continuation lines, comments, base64 values and a version line are taken.
 * Change records are not content, but `changetype: add` is. Values by URL are
 * refused. Lines may end in LF or CRLF; values may be UTF-8 as they are.
 */
#ifndef REPLICA_LDIF_H
#define REPLICA_LDIF_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"
#include "lib/slice.h"
#include "replica/entry.h"

struct ldif {
	struct slice rest;          /* borrowed: what was not read yet */
	size_t line;                /* of what was read last, counted from 1 */
	struct buf text;            /* values of the entry at hand */
	struct entry_value *values; /* owned */
	size_t value_count, value_capacity;
	bool begun; /* the version line may come no more */
};

enum ldif_result {
	LDIF_ENTRY,
	LDIF_END,
	LDIF_BAD
};

/* text is borrowed. */
void ldif_init(struct ldif *ldif, struct slice text);
void ldif_free(struct ldif *ldif);
/*
 * The next entry, valid until the next call. BAD: *why (static text), in
 * ldif->line.
 */
enum ldif_result ldif_next(
    struct ldif *ldif, struct entry *entry, const char **why);

#endif
