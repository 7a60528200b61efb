/*
 * tls_names: which certificates for which name, by SNI (RFC 6066 section 3).
 *
 * A name may have a certificate for each kind of key; which of them a client is
 * shown depends on the signatures that it understands.
 *
 * Names are those of certificates: whole ones, or with `*` for the whole first
 * label and nothing else (RFC 9525 section 6.3). A whole name goes before a
 * wildcard. Pure; made by one, then read by many.
 */
#ifndef PROXY_TLS_NAMES_H
#define PROXY_TLS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/slice.h"

#define TLS_NAMES_SIZE_MAX 255 /* octets of a name */

enum tls_key {
	TLS_KEY_RSA,
	TLS_KEY_ECDSA,
	TLS_KEY_OTHER,
	TLS_KEY_COUNT
};

#define TLS_NO_CERTIFICATE (-1)

struct tls_name {
	char text[TLS_NAMES_SIZE_MAX + 1]; /* in lower case */
	int certificates[TLS_KEY_COUNT];   /* or TLS_NO_CERTIFICATE */
	unsigned context; /* for the owner's own use; 0 at first */
};

struct tls_names {
	struct tls_name *names; /* owned; in order after tls_names_seal() */
	size_t count;
};

/* 0; or -1 for what is no name of a host, or has its `*` elsewhere. */
int tls_names_add(struct tls_names *names, struct slice name, enum tls_key key,
    int certificate);

/* Two certificates with the same kind of key that claim one name. */
struct tls_names_clash {
	const char *name; /* of the names */
	int certificates[2];
};

/*
 * All are there: brings them in order, each name once. False when some of them
 * clash: the first that do.
 */
bool tls_names_seal(struct tls_names *names, struct tls_names_clash *clash);
/* NULL when nobody has that name. */
const struct tls_name *tls_names_find(
    const struct tls_names *names, const char *name);
void tls_names_free(struct tls_names *names);

#endif
