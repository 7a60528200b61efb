/*
 * found: `cell init`, which makes a cell's first host.
 */
#ifndef CTL_FOUND_H
#define CTL_FOUND_H

#include "ctl/ctl.h"

int ctl_cell_init(const struct ctl *ctl, int count, char **words);

#endif
