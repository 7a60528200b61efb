/*
 * base64: RFC 4648 section 4, with padding, as SASL uses it (RFC 4422).
 *
 * No table lookups and no branches on the octets, so secrets leave no trace
 * in caches or timing. Any thread.
 */
#ifndef LIB_BASE64_H
#define LIB_BASE64_H

#include "lib/buf.h"
#include "lib/slice.h"

/* Adds the encoded form; 0, or -1 when it does not fit. */
int base64_encode(struct buf *out, struct slice data);

/*
 * Adds the decoded form. Strict: length a multiple of four, padding only at
 * the end, unused bits zero, no white space. 0, or -1 (malformed, or it does
 * not fit); on -1 nothing was added.
 */
int base64_decode(struct buf *out, struct slice text);

#endif
