/*
 * cell: the map of the cell, all pools and hosts at one moment.
 *
 * It is built from records (lib/record.h), one for each entry, owns copies of
 * all that it needs, and does not change once cell_finish() was called; a
 * newer map is a new one. Malformed values are left out and reported by
 * cell_faults(), never fatal: one bad entry must not take the cell down.
 *
 * Neither the order of the entries nor that of an entry's values makes a
 * difference, since two programs may see others: where one value is asked for
 * and several are there, the smallest in octet order counts, and of two
 * entries of one name the one whose record is the smaller comes first.
 */
#ifndef LIB_CELL_H
#define LIB_CELL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/account.h"
#include "lib/record.h"
#include "lib/service.h"
#include "lib/slice.h"
#include "lib/transition.h"

/* Tags of a pool's or host's record. Frozen: numbers are never used again. */
enum cell_tag {
	CELL_ID = 1, /* entryUUID */
	CELL_DN = 2,
	CELL_CSN = 3,
	CELL_KIND = 4, /* "pool", "server", "proxy", "host" */
	CELL_NAME = 5, /* cn, lower case */
	CELL_POOL = 6, /* postcellPoolName, lower case, once for each value */
	CELL_SITE = 7,
	CELL_SERVICE = 8,     /* each postcellService */
	CELL_STATE = 9,       /* postcellState */
	CELL_WEIGHT = 10,     /* postcellWeight */
	CELL_TRANSITION = 11, /* each postcellTransition */
	CELL_RAMP = 12,
	CELL_GUARD = 13,
	CELL_FAILBACK = 14,
	CELL_MAX_DOWN = 15,
	CELL_AFFINITY = 16,
	CELL_DEFAULT = 17, /* postcellDefault */
	CELL_VOTE = 18,
	CELL_ALIVE = 19
};

#define POOL_GUARD     1000 /* ms; postcellGuard where nothing is said */
#define POOL_GUARD_MAX 60000

enum host_kind {
	HOST_SERVER, /* a back end of a pool */
	HOST_PROXY,  /* a proxy or observer */
	HOST_OTHER   /* KDC, kpasswd, LDAP, DNS */
};

struct host {
	struct slice record; /* borrowed from the cell: the whole */
	enum host_kind kind;
	struct slice name; /* lower case */
	struct slice
	    pool; /* servers: name of the pool, empty: the default one */
	struct slice site;
	enum host_state state; /* the wish */
	uint32_t weight;       /* the wish */
	struct service *services;
	size_t service_count;
	struct transition *transitions; /* sorted */
	size_t transition_count;
	uint64_t seed;       /* hash of the name, for placement */
	struct slice *votes; /* observers: names they hold down, "NAME down" */
	size_t vote_count;
	int64_t alive_us; /* observers: postcellAlive, 0 for none */
};

struct pool {
	struct slice record; /* borrowed from the cell: the whole */
	struct slice name;   /* lower case */
	bool is_default;
	uint32_t ramp; /* s */
	uint32_t guard_ms;
	bool failback_auto;
	uint32_t max_down; /* 0: a third of the servers, at least 1 */
	bool affinity;     /* false: spread, an account may be anywhere */
	const struct host *
	    *servers; /* sorted by name; borrowed from the cell */
	size_t server_count;
};

struct cell;

/* NULL without memory. */
struct cell *cell_new(void);
void cell_free(struct cell **cell);
/* Takes one entry; copies it. 0, or -1 without memory. */
int cell_add(struct cell *cell, struct slice record);
/* Sorts and links; nothing may be added afterwards. 0, or -1 without memory. */
int cell_finish(struct cell *cell);

/* Borrowed from the cell. Names are compared without case. NULL: not there. */
const struct pool *cell_pool(const struct cell *cell, struct slice name);
/* The pool marked postcellDefault, else the only one there is, else NULL. */
const struct pool *cell_default_pool(const struct cell *cell);
const struct pool *cell_account_pool(
    const struct cell *cell, const struct account *account);
const struct host *cell_host(
    const struct cell *cell, enum host_kind kind, struct slice name);
/* All of them, sorted by kind and name. */
const struct host *cell_hosts(const struct cell *cell, size_t *count);
const struct pool *cell_pools(const struct cell *cell, size_t *count);

/* The host's first service of that kind; NULL when it has none. */
const struct service *host_service(
    const struct host *host, enum service_kind kind);

/*
 * A number for all that placement depends on: two maps with the same one place
 * every account alike. Votes and signs of life do not count.
 */
uint64_t cell_digest(const struct cell *cell);

/* "server", "proxy", "host"; static. */
const char *host_kind_text(enum host_kind kind);

/*
 * One line for each fault found while building ("server mbox1: postcellWeight
 * \"-3\": ..."), each ending in a newline; empty when the map is sound.
 */
struct slice cell_faults(const struct cell *cell);

#endif
