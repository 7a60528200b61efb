/*
 * map: where an account is served now, and why.
 *
 * Computed here from the replica by the same placement() as in the proxies, so
 * it needs no proxy and no directory.
 */
#ifndef CTL_MAP_H
#define CTL_MAP_H

#include "ctl/ctl.h"

ctl_verb ctl_map;

#endif
