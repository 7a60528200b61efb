/*
 * ldif_source: an LDIF file in place of a directory.
 *
 * The file is the truth: it is read at start, on ldif_source_reload(), and
 * when it has changed and then stayed as it is for a second. A file with an
 * error in it changes nothing; the error is logged as FILE:LINE.
 */
#ifndef REPLICA_LDIF_SOURCE_H
#define REPLICA_LDIF_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "replica/intake.h"

struct event_base;
struct ldif_source;

#define LDIF_SOURCE_WHY_SIZE 512

/* NULL without memory. All is borrowed. trust: as in intake.h, for the first
 * reading. */
struct ldif_source *ldif_source_new(struct event_base *base, const char *path,
    bool trust, struct intake *intake, struct status *status);
void ldif_source_free(struct ldif_source **source);
void ldif_source_reload(struct ldif_source *source);

/*
 * Whether the file could be loaded. 0; or -1 with the reason, FILE:LINE
 * before it where there is one, in why.
 */
int ldif_source_check(const char *path, char *why, size_t size);

#endif
