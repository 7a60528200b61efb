/*
 * metrics_process: who answers Prometheus on a host that has a replica.
 *
 * A process of its own, which reads the replica as anybody does: what strangers
 * send to the metrics' port never reaches the process that holds the
 * directory's credentials. It is the same program executed anew, so that
 * nothing of its parent's memory is there. It ends with its parent, and is
 * started again when it dies.
 */
#ifndef REPLICA_METRICS_PROCESS_H
#define REPLICA_METRICS_PROCESS_H

#include "daemon/log.h"
#include "replica/config.h"

struct event_base;
struct metrics_process;

/*
 * Before root is given up: opens the socket. 0, and *process is NULL where none
 * is configured; or -1 with *why (static text). The configuration and the log
 * are borrowed.
 */
int metrics_process_new(struct metrics_process **process,
    const struct config *config, const struct log *log, const char **why);
/* Once, when root was given up. */
void metrics_process_start(
    struct metrics_process *process, struct event_base *base);
void metrics_process_free(struct metrics_process **process);

/* The first word of a program that is such a process. */
#define METRICS_PROCESS_WORD  "--metrics-process"
#define METRICS_PROCESS_WORDS 4 /* that follow it */
/* Its life; the exit status. */
int metrics_process_run(char **words);

#endif
