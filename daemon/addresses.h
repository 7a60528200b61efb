/*
 * addresses: what is known of the addresses of host names.
 *
 * The plan says which names it needs, the lookup (daemon/lookup.h) fills them
 * in. What was once found stays until a newer answer replaces it, so that a
 * name server that is down takes no host away. Owns its text.
 */
#ifndef DAEMON_ADDRESSES_H
#define DAEMON_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/slice.h"

#define ADDRESSES_NAMES_MAX 4096
#define ADDRESSES_EACH_MAX  16

struct addresses_name {
	char *name;   /* owned, lower case */
	bool tried;   /* an answer came, good or bad */
	char **texts; /* owned: numeric */
	size_t count;
};

struct addresses {
	struct addresses_name *names;
	size_t count;
};

void addresses_free(struct addresses *addresses);
/* NULL when it is not there. Borrowed until the next addresses_want(). */
struct addresses_name *addresses_find(
    const struct addresses *addresses, struct slice name);
/* The same, made when it is not there; NULL with ADDRESSES_NAMES_MAX names. */
struct addresses_name *addresses_want(
    struct addresses *addresses, struct slice name);
/* Replaces them; true when they are others than before, in any order. */
bool addresses_set(
    struct addresses_name *name, const char *const *texts, size_t count);

#endif
