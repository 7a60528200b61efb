/*
 * tls_names: which certificate for which name, by SNI (RFC 6066 section 3).
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

struct tls_name {
	char text[TLS_NAMES_SIZE_MAX + 1]; /* in lower case */
	unsigned certificate;
};

struct tls_names {
	struct tls_name *names; /* owned; in order after tls_names_seal() */
	size_t count;
};

/* 0; or -1 for what is no name of a host, or has its `*` elsewhere. */
int tls_names_add(
    struct tls_names *names, struct slice name, unsigned certificate);
/*
 * All are there: brings them in order. NULL; or the first name that two
 * certificates claim, which is the next one's name as well.
 */
const struct tls_name *tls_names_seal(struct tls_names *names);
/* False when nobody has that name. */
bool tls_names_find(
    const struct tls_names *names, const char *name, unsigned *certificate);
void tls_names_free(struct tls_names *names);

#endif
