/*
 * clock: the two clocks of a daemon. Any thread.
 */
#ifndef REPLICA_CLOCK_H
#define REPLICA_CLOCK_H

#include <stdint.h>

/* Microseconds since 1970 in UTC; jumps when the host's clock is set. */
int64_t clock_realtime_us(void);
/* Milliseconds since some moment; never goes back. */
int64_t clock_monotonic_ms(void);

#endif
