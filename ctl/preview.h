/*
 * preview: the verb `plan`, what a change would do before it is made.
 */
#ifndef CTL_PREVIEW_H
#define CTL_PREVIEW_H

#include "ctl/ctl.h"

ctl_verb preview_server; /* drain|up|down|weight NAME [N] */

#endif
