/*
 * listen: the sockets on which clients arrive, and the control socket.
 *
 * Opened by the parent alone. A socket that the generation before has open
 * already is taken over instead, so that no connection is refused in between.
 */
#ifndef PROXY_LISTEN_H
#define PROXY_LISTEN_H

#include "lib/buf.h"
#include "proxy/config.h"
#include "proxy/handover.h"
#include "proxy/relay.h"

/*
 * A listener for each address of each listen section, in *listeners (owned by
 * the caller). `before` has the sockets to take over. 0; or -1 with lines
 * "FILE:LINE: text" in errors; then nothing that was opened anew stays open.
 */
int listen_open(const struct config *config, const struct handover *before,
    struct listener **listeners, size_t *count, struct buf *errors);

/*
 * The socket on which metrics are asked for; its descriptor is -1 when the
 * configuration has none. 0; or -1 with a line in errors.
 */
int listen_metrics(const struct config *config, const struct handover *before,
    struct handover_listener *metrics, struct buf *errors);

/* The control socket below run_dir, which is made when missing. -1 with a line
 * in errors. */
int listen_control(
    const struct config *config, const struct jail *jail, struct buf *errors);

#endif
