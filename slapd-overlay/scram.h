/*
 * scram: what a server of SCRAM-SHA-256 has to keep of a password, RFC 5802
 * section 3 and RFC 7677. Any thread.
 */
#ifndef SLAPD_OVERLAY_SCRAM_H
#define SLAPD_OVERLAY_SCRAM_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/slice.h"

/*
 * Adds ITERATIONS:SALT:STOREDKEY:SERVERKEY with a new salt. 0; or -1 with *why
 * (static text) for a password that SASLprep (RFC 4013) forbids, or without
 * memory.
 */
int scram_make(struct buf *out, struct slice password, uint32_t iterations,
    const char **why);

#endif
