/*
 * keys: Kerberos keys made of passwords, and passwords checked against them,
 * by Heimdal's libraries. Knows nothing of slapd.
 *
 * Any thread may call anything: each thread has a Kerberos context and a copy
 * of the master key of its own, for neither can be shared, and gives them back
 * when it ends. Passwords are octets; who calls has asked password_fault().
 */
#ifndef SLAPD_OVERLAY_KEYS_H
#define SLAPD_OVERLAY_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/keyset.h"
#include "lib/slice.h"

#define KEYS_ENCTYPES_MAX     KEYSET_KEYS_MAX
#define KEYS_DIGEST_SIZE      32
#define KEYS_ITERATIONS_MIN   4096
#define KEYS_ITERATIONS_MAX   1000000
#define KEYS_ENCTYPES_DEFAULT "aes256-cts-hmac-sha1-96 aes128-cts-hmac-sha1-96"

struct keys_settings {
	const char *realm;
	const char *master_key; /* file; NULL: keys are stored unsealed */
	const char *enctypes;   /* names parted by spaces */
	uint32_t scram; /* iterations of SCRAM-SHA-256 keys; 0: none are made */
};

struct keys;

/*
 * Reads the master key once, so that a missing one shows at once. NULL, and a
 * line in *why that free() takes, when that or anything else fails.
 */
struct keys *keys_new(const struct keys_settings *settings, char **why);
void keys_free(struct keys **keys);

/*
 * Makes all keys of a password for an account. `principal` as it is spelled in
 * krb5PrincipalName, else empty; then `uid` at the realm. Fills keys, key_count
 * and scram of *set, which borrow from store. 0; or -1 with *why (static).
 */
int keys_make(struct keys *keys, struct slice principal, struct slice uid,
    struct slice password, struct keyset *set, struct buf *store,
    const char **why);

enum keys_verdict {
	KEYS_RIGHT,
	KEYS_WRONG,
	KEYS_UNUSABLE /* no key could be read: corrupt, or another master key */
};

/*
 * Checks a password against a set, by its first key that can be used; compares
 * in constant time. principal and uid serve keys that hold no salt.
 */
enum keys_verdict keys_check(struct keys *keys, const struct keyset *set,
    struct slice principal, struct slice uid, struct slice password);
/* The same for one key, DER. */
enum keys_verdict keys_check_one(struct keys *keys, struct slice der,
    struct slice principal, struct slice uid, struct slice password);

/* The work of a check, for nobody. */
void keys_pretend(struct keys *keys, struct slice password);
/* How many keys this thread has derived of passwords by now. */
uint64_t keys_derived(struct keys *keys);

/* A salted, sealed key of a password by itself: base64 of its DER. 0 or -1. */
int keys_make_one(struct keys *keys, struct slice password, struct buf *out);

/* HMAC-SHA-256 of the parts, each counted with its size. */
void keys_digest(struct slice key, const struct slice *parts, size_t count,
    unsigned char digest[KEYS_DIGEST_SIZE]);
/* Octets that nobody can guess. */
void keys_random(void *octets, size_t size);

#endif
