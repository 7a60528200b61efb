/*
 * director: the verb `import-director`.
 */
#ifndef CTL_DIRECTOR_H
#define CTL_DIRECTOR_H

#include "ctl/ctl.h"

ctl_verb director_import; /* FILE ("-": stdin), with --suffix and --proxyd */

#endif
