/*
 * progress: waiting for a transition to reach everybody.
 */
#ifndef CTL_PROGRESS_H
#define CTL_PROGRESS_H

#include "ctl/ctl.h"
#include "lib/transition.h"

/*
 * Returns when the host's transition has reached every account and the last
 * guard is over; shows on a terminal how many users still have to move. EX_OK;
 * EX_TEMPFAIL after a complaint when the replica does not get the change, or
 * when a newer change took over.
 */
int progress_wait(const struct ctl *ctl, const char *name,
    const struct transition *value, uint32_t guard_ms);

#endif
