/*
 * keyset: the keys that were made of one password, a value of postcellKeys.
 *
 *   20260102030405.000000Z 7 MC+gAwIBAKEo... MB+gAwIBAKEY... scram-sha-256=...
 *
 * TIME as in lib/transition.h; KVNO, 1 to 2^31-1; each KEY the base64 of a DER
 * `Key` of Heimdal's hdb.asn1, opaque here; last, where it is wanted, what
 * RFC 5803 calls the authentication data of SCRAM-SHA-256, with its base64
 * parts parted by colons: ITERATIONS:SALT:STOREDKEY:SERVERKEY.
 *
 * Values are ordered by (TIME, text). The newest one holds: logins are checked
 * against it alone. Older ones are old keys, good for tickets that were sealed
 * by them, found by KVNO, and never for a login. Values that cannot be parsed
 * count for nobody and are left alone.
 *
 * Whoever changes a password ADDs one value and DELETEs, by value and in the
 * same modify, those that keyset_change_make() names. Nobody ever replaces:
 * two providers that change one account at one moment then end with both
 * values and agree on the newest. Both may bear one KVNO; the newer one has it.
 */
#ifndef LIB_KEYSET_H
#define LIB_KEYSET_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/slice.h"

#define KEYSET_KEYS_MAX   16         /* keys of one value */
#define KEYSET_KEY_MAX    1024       /* octets of one key, decoded */
#define KEYSET_SIZE_MAX   8192       /* octets of one value */
#define KEYSET_VALUES_MAX 32         /* values that a change leaves at most */
#define KEYSET_KVNO_MAX   2147483647 /* 2^31-1 */

struct keyset {
	int64_t time_us;
	uint32_t kvno;
	struct slice keys[KEYSET_KEYS_MAX]; /* base64; borrowed */
	size_t key_count;                   /* at least 1 */
	struct slice scram; /* after "scram-sha-256="; empty for none */
	struct slice text;  /* the value itself; borrowed */
};

/* 0; or -1 with *why (static text). Borrows from text. */
int keyset_parse(struct slice text, struct keyset *set, const char **why);
/* Adds the value's text, `text` being ignored; 0, or -1 when it does not fit.
 */
int keyset_format(struct buf *out, const struct keyset *set);
/* Order by (time, text): <0, 0, >0; the second one for qsort(). */
int keyset_compare(const struct keyset *a, const struct keyset *b);
int keyset_compare_any(const void *a, const void *b);

/* Adds the octets of a key; 0, or -1 when it does not fit. They are secrets
 * where no master key seals them.
 */
int keyset_key(const struct keyset *set, size_t index, struct buf *out);

/* Borrowed from sets, in any order; NULL when there are none. */
const struct keyset *keyset_newest(const struct keyset *sets, size_t count);
/* The newest one of that version; NULL when there is none. */
const struct keyset *keyset_of_kvno(
    const struct keyset *sets, size_t count, uint32_t kvno);

/* One modify of postcellKeys. */
struct keyset_change {
	int64_t time_us; /* of the value to add */
	uint32_t kvno;
	size_t superseded; /* delete so many of the first values */
};

/*
 * Makes a change of sets, which are sorted. A value goes when it was superseded
 * keep_us ago, the longest life of a ticket, or when more than
 * KEYSET_VALUES_MAX would stay. kvno_before is the version that the account has
 * from elsewhere (krb5KeyVersionNumber), 0 for none. 0; or -1 with *why (static
 * text) when time or version cannot grow any more.
 */
int keyset_change_make(struct keyset_change *change, const struct keyset *sets,
    size_t count, uint32_t kvno_before, int64_t now_us, int64_t keep_us,
    const char **why);

#endif
