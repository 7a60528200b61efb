/*
 * route: from a user's name to the server that serves it now.
 *
 * The answer is a copy: the cell map may be replaced by a newer one before the
 * session has used it.
 */
#ifndef PROXY_ROUTE_H
#define PROXY_ROUTE_H

#include <stdint.h>

#include "lib/cell.h"
#include "lib/service.h"
#include "proxy/config.h"
#include "replica/reader.h"

#define ROUTE_HOST_SIZE 254 /* a host name and its NUL */

enum route_result {
	ROUTE_FOUND,
	ROUTE_WAIT,       /* ask again at wait_until_us */
	ROUTE_UNKNOWN,    /* no such user */
	ROUTE_NOLOGIN,    /* the account may not log in; why is its reason, in
			     store */
	ROUTE_DISABLED,   /* the same, to be said like a wrong password */
	ROUTE_UNAVAILABLE /* a temporary error */
};

struct route {
	char server[ROUTE_HOST_SIZE]; /* its name in the cell, or the pinned
					 host */
	char host[ROUTE_HOST_SIZE];   /* what to connect to */
	uint16_t port;
	enum service_tls tls;
	enum service_kind service; /* what it is that is connected to */
	bool proxy_header; /* the host wants one of the PROXY protocol */
	int64_t wait_until_us;
	const char *why; /* static text: how it was placed, or why not */
};

/* What a process needs to route: its replica and the newest map of the cell. */
struct router {
	struct replica *replica; /* owned */
	struct cell *cell;       /* owned; NULL until the first look-up */
	uint64_t generation;
	uint64_t digest;                      /* of the map: cell_digest() */
	const struct config_backend *backend; /* borrowed */
};

/* 0; or -1 with *why. After the last fork, before the jail. */
int router_open(struct router *router, const char *replica,
    const struct config_backend *backend, const char **why);
void router_close(struct router *router);

/* Reads the map again when it changed. 0; or -1 with *why when there is none.
 */
int router_refresh(struct router *router, const char **why);

/*
 * Must this account leave the server or host of that name? NULL when it may
 * stay, else why (static text). logged_in: it also leaves when it may not log
 * in any more. Needs router_refresh() before.
 */
const char *route_lost(const struct router *router,
    const struct account *account, const char *server, bool logged_in,
    int64_t now_us);

/*
 * The same for mail to an address: with and without what stands behind
 * `delimiter` in its local part (*detail, borrowed from address), and followed
 * by way of mailRoutingAddress; to the server's LMTP or, where it has none, its
 * SMTP. Accounts that may not log in get their mail.
 */
enum route_result route_mail(struct router *router, struct slice address,
    char delimiter, int64_t now_us, struct buf *store, struct account *account,
    struct slice *detail, struct route *found);

/*
 * store: gets the account's record; *account borrows from it and is set on all
 * results but UNKNOWN and UNAVAILABLE.
 */
enum route_result route(struct router *router, enum service_kind service,
    struct slice user, int64_t now_us, struct buf *store,
    struct account *account, struct route *found);

#endif
