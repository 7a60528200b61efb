/*
 * limits: the proxy's limits, and who has most of what they bound.
 */
#ifndef CTL_LIMITS_H
#define CTL_LIMITS_H

#include "ctl/ctl.h"

ctl_verb ctl_limits;

#endif
