/*
 * trace: writes down what one user's sessions say, as the proxy tells it.
 */
#ifndef CTL_TRACE_H
#define CTL_TRACE_H

#include "ctl/ctl.h"

ctl_verb ctl_trace; /* USER FOLDER [--for S] */

#endif
