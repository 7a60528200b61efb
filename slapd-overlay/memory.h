/*
 * memory: passwords that were right a moment ago, so that a mail program that
 * logs in every few seconds does not cost a key derivation each time.
 *
 * What is kept of one is a digest under a key of this process (keys_digest) of
 * account, key set and password: a change of the password makes another. The
 * table has a fixed size; a new digest takes the place of one that ended, or
 * of the oldest near its own. Any thread.
 */
#ifndef SLAPD_OVERLAY_MEMORY_H
#define SLAPD_OVERLAY_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slapd-overlay/keys.h"

#define MEMORY_SIZE_MAX 1048576 /* digests */

struct memory;

/* NULL without memory. A digest is good for keep_ms. */
struct memory *memory_new(size_t size, int64_t keep_ms);
void memory_free(struct memory **memory);

bool memory_knows(struct memory *memory,
    const unsigned char digest[KEYS_DIGEST_SIZE], int64_t now_ms);
void memory_learn(struct memory *memory,
    const unsigned char digest[KEYS_DIGEST_SIZE], int64_t now_ms);

#endif
