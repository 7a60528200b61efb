/*
 * scratch: a folder of a test's own, and records to put in it.
 */
#ifndef TESTS_REPLICA_SCRATCH_H
#define TESTS_REPLICA_SCRATCH_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/slice.h"
#include "replica/layout.h"

/* The path of a new, empty folder; the caller frees it. */
char *scratch_new(void);
/* Removes the folder, the files in it, and frees the path. */
void scratch_free(char *path);

/* The id whose octets are all that. `id` owns what is handed out. */
struct slice scratch_id(uint8_t id[LAYOUT_ID_SIZE], uint8_t octet);
/*
 * The record of an account. names: `u:NAME`, `a:ADDRESS`, `p:PRINCIPAL`
 * parted by spaces. csn may be NULL.
 */
void scratch_account(
    struct buf *out, uint8_t octet, const char *names, const char *csn);

#endif
