/*
 * hosts: looking at servers, proxies and other hosts, as the replica has them.
 */
#ifndef CTL_HOSTS_H
#define CTL_HOSTS_H

#include <jansson.h>

#include "ctl/ctl.h"
#include "ctl/view.h"

/* Of the kind that main's row says. */
ctl_verb hosts_list;
ctl_verb hosts_show; /* NAME */

/*
 * One object for each host of the kind, servers with the users that are placed
 * there now. The caller owns it; NULL after a complaint.
 */
json_t *hosts_describe(
    const struct view *view, enum host_kind kind, int64_t now_us);
/* As a table, one line each, and so many lines are returned. */
size_t hosts_print(const json_t *hosts, enum host_kind kind, const char *end);

/* The newest transition that has begun; NULL: none, the wish holds. */
const struct transition *hosts_newest(const struct host *host, int64_t now_us);

#endif
