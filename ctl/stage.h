/*
 * stage: folders that come whole or not at all.
 *
 * Each is made beside the place where it is to be, filled there, and renamed
 * at the end. Signals that would end the program are held back meanwhile and
 * looked for between two steps, so that an interrupted one takes everything
 * away again, the folders on the way to it included.
 */
#ifndef CTL_STAGE_H
#define CTL_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/buf.h"

#define STAGE_PATH_MAX    4096
#define STAGE_PARENTS_MAX 16

struct stage {
	const char *target; /* borrowed */
	struct buf path;    /* where it is filled; empty: nowhere */
	bool placed;
	/* Folders on the way that were made for it, the first one first. */
	struct buf parents[STAGE_PARENTS_MAX];
	size_t parent_count;
};

/* Until the end of the program. */
void stage_hold_signals(void);
/* EX_OK, or EX_TEMPFAIL after a complaint when a signal waits. */
int stage_check_signals(void);

/* The target is vacant, or it says so: EX_OK or EX_CANTCREAT. */
int stage_check(const char *target);
/* The same, and makes the folder beside it, for its owner alone. */
int stage_open(struct stage *stage, const char *target);
/* Renames it to where it is to be, with that mode. */
int stage_place(struct stage *stage, mode_t mode);
/*
 * Ends it. `keep`: as it is placed; else all is taken away, from where it is
 * to be as well.
 */
void stage_close(struct stage *stage, bool keep);

#endif
