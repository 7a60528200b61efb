/*
 * server: a host is drained, taken down, brought back, given another weight.
 *
 * The wish and the transition are written in one modify (lib/change.h), from
 * what the directory itself says, and only if it still says so. Of the kind
 * that main's row says: servers, proxies, other hosts.
 */
#ifndef CTL_SERVER_H
#define CTL_SERVER_H

#include "ctl/ctl.h"

ctl_verb server_drain;  /* NAME */
ctl_verb server_up;     /* NAME */
ctl_verb server_down;   /* NAME */
ctl_verb server_weight; /* NAME N */

/*
 * What a verb wants of a host that is so now: state, weight, ramp, as `plan`
 * and the verbs share it. `verb` is "drain", "up", "down" or "weight". EX_OK,
 * or an exit status after a complaint.
 */
struct server_wish {
	struct transition wanted; /* state, weight, ramp */
	bool hurried;             /* the ramp was given */
};

int server_wish_read(struct server_wish *wish, const struct ctl *ctl,
    const char *verb, int count, char **words);
/* Completes it by what the host has, and by its pool (NULL for none). */
void server_wish_complete(struct server_wish *wish, const struct host *host,
    const struct pool *pool, int64_t now_us);
/* The pool whose guard and ramp a host's changes have; NULL for none. */
const struct pool *server_pool(
    const struct cell *cell, const struct host *host);
uint32_t server_guard(const struct pool *pool);

#endif
