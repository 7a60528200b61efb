/*
 * catchup: a proxy that starts waits until its replica is in step.
 *
 * After a boot the replica holds what the directory said when the host went
 * down. To route by that while others already route by what came since would
 * put accounts on two servers, so nobody is served until replicad has caught
 * up, or start_wait is over: without a directory old data are all there is.
 * A reload does not wait.
 */
#ifndef PROXY_CATCHUP_H
#define PROXY_CATCHUP_H

#include "daemon/log.h"
#include "proxy/config.h"

/*
 * Blocks for config->start_wait s at most, and no longer once stop_fd can be
 * read. The parent calls it, before it has children.
 */
void catchup_wait(
    const struct config *config, const struct log *log, int stop_fd);

#endif
