/*
 * children: the processes that a generation is made of: one that watches and
 * answers, one that writes votes where the proxy observes, those that verify
 * logins, and the relays; who is missing is started, and who is new made known
 * to those that have to do with it.
 */
#ifndef PROXY_CHILDREN_H
#define PROXY_CHILDREN_H

#include <stdbool.h>
#include <sys/types.h>

#include "proxy/parent_state.h"

#define CHILDREN_RESTART_DELAY                                                 \
	1000 /* ms, for a child that died within that time */

/* The one of this generation; NULL when there is none. */
struct child *children_find(const struct parent *parent, enum child_role role);
/* Nobody of this generation is missing. */
bool children_are_whole(const struct parent *parent);
/* Starts whoever is missing, unless it is too early to try again. */
void children_start_missing(struct parent *parent);
/* One of them ended; another pid is ignored. status: of waitpid(). */
void children_take_dead(struct parent *parent, pid_t pid, int status);
void children_signal(const struct parent *parent, int number);

#endif
