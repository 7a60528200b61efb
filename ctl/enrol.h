/*
 * enrol: servers join the cell, leave it, and change name or pool.
 *
 * A new server's first transition is written with its entry. What has no guard
 * (deletion, name, pool) is refused until nobody can be there any more:
 * change_is_settled() in lib/change.h.
 */
#ifndef CTL_ENROL_H
#define CTL_ENROL_H

#include "ctl/ctl.h"

ctl_verb enrol_add;    /* NAME, with --pool, --service, --site, --weight */
ctl_verb enrol_remove; /* NAME */
ctl_verb enrol_rename; /* NAME NEW */
ctl_verb enrol_pool;   /* NAME POOL */

#endif
