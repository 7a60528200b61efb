/*
 * replica: verbs that look into the replica on this host.
 */
#ifndef CTL_REPLICA_H
#define CTL_REPLICA_H

#include "ctl/ctl.h"

/* No words. */
ctl_verb ctl_replica_status;
/* USER: as a login names an account, or a principal. */
ctl_verb ctl_replica_get;
/* No words; with --json one object a line. */
ctl_verb ctl_replica_dump;

#endif
