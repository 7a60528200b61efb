/*
 * proxy: what the proxy on this host says of itself, over its control socket.
 */
#ifndef CTL_PROXY_H
#define CTL_PROXY_H

#include "ctl/ctl.h"

ctl_verb ctl_status; /* processes, counters, and the replica it routes by */
ctl_verb ctl_who;    /* its sessions, all or one user's */
ctl_verb ctl_reload; /* a new generation with the configuration as it is now */

#endif
