/*
 * watch: the servers, live, once a second, on a terminal.
 */
#ifndef CTL_WATCH_H
#define CTL_WATCH_H

#include "ctl/ctl.h"

/* Until q or the interrupt key; with --once a single time. */
ctl_verb ctl_watch;

#endif
