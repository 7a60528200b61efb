/*
 * check: what is wrong with the cell's data, as the replica has it.
 */
#ifndef CTL_CHECK_H
#define CTL_CHECK_H

#include "ctl/ctl.h"

/* One line a fault; CTL_NO when there is any. */
ctl_verb ctl_check;

#endif
