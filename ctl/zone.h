/*
 * zone: verbs that ask the publisher of the zones on this host.
 */
#ifndef CTL_ZONE_H
#define CTL_ZONE_H

#include "ctl/ctl.h"

/* No words: hosts, zones and what is the matter with them. */
ctl_verb ctl_zone_show;
/* No words: what would be changed, CTL_NO when there is something. */
ctl_verb ctl_zone_diff;

#endif
