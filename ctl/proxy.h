/*
 * proxy: what the proxy on this host says of itself, over its control socket.
 */
#ifndef CTL_PROXY_H
#define CTL_PROXY_H

#include <jansson.h>

#include "ctl/ctl.h"

ctl_verb ctl_status; /* processes, counters, and the replica it routes by */
ctl_verb ctl_who;    /* its sessions, all or one user's */
ctl_verb ctl_flush;  /* SERVER: ends the proxy's sessions there */
ctl_verb ctl_reload; /* a new generation with the configuration as it is now */

/* To its control socket; -1 with *why. */
int proxy_connect(const struct ctl *ctl, const char **why);
/* Asks the proxy; NULL after a complaint. Owned by the caller. */
json_t *proxy_ask(const struct ctl *ctl, const char *question);
/*
 * Asks the proxy to end sessions ("kick USER", "flush SERVER") and tells which
 * it did. The exit status; CTL_NO when there were none.
 */
int proxy_end_sessions(const struct ctl *ctl, const char *question);
/*
 * The sessions of this host's proxy, an array that the caller owns; NULL
 * without a complaint when the proxy does not answer, *why says why.
 */
json_t *proxy_sessions(const struct ctl *ctl, const char **why);

#endif
