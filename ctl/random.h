/*
 * random: secrets that nobody types, and what the directory keeps of them.
 */
#ifndef CTL_RANDOM_H
#define CTL_RANDOM_H

#include "lib/buf.h"

/* Adds 160 bits in hexadecimal. */
void random_password(struct buf *out);
/* Adds userPassword of RFC 2307 ({SSHA}) for it, with a new salt. */
void random_hash(struct buf *out, struct slice password);

#endif
