/*
 * metrics: what Prometheus is told of a replica, by whoever reads or writes it.
 */
#ifndef REPLICA_METRICS_H
#define REPLICA_METRICS_H

#include "lib/buf.h"
#include "replica/reader.h"

/* NULL: there is no replica to be read. */
void replica_metrics_add(struct buf *out, struct replica *replica);

/*
 * NULL when it is complete and its provider was seen within stale_us; else why
 * not (static text).
 */
const char *replica_is_stale(struct replica *replica, int64_t stale_us);

#endif
