/*
 * hook: runs a program of the administrator's and forgets it, on the loop.
 *
 * At most HOOK_MAX run at a time; one that takes longer than HOOK_TIME_MS is
 * killed. What it did is logged at its end. One struct in a process, for it
 * takes SIGCHLD.
 */
#ifndef REPLICA_HOOK_H
#define REPLICA_HOOK_H

#include "daemon/log.h"

#define HOOK_MAX     16
#define HOOK_TIME_MS 60000

struct event_base;
struct hook;

/* NULL without memory. All is borrowed. */
struct hook *hook_new(struct event_base *base, const struct log *log);
/* Programs that run go on. */
void hook_free(struct hook **hook);

/* argv: ends in NULL; argv[0] is the path. Failures are logged. */
void hook_run(struct hook *hook, char *const argv[]);

#endif
