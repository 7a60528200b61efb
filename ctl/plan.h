/*
 * plan: what a change of a server does to the accounts, before it is made.
 *
 * Pure. Accounts are placed twice, on the map of the cell as it is and on one
 * to which the change was made, and counted by where they are and where they
 * will be. The two maps hold the same hosts in the same order.
 */
#ifndef CTL_PLAN_H
#define CTL_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "lib/account.h"
#include "lib/cell.h"
#include "lib/change.h"

/*
 * Where an account is: position of the server among cell_hosts(), or, counted
 * from the number of hosts on, one of these.
 */
enum plan_place {
	PLAN_NOBODY,    /* nobody serves it */
	PLAN_ELSEWHERE, /* at a pinned host that is no server of the cell */
	PLAN_SPREAD,    /* anywhere: its pool has no affinity */
	PLAN_PLACES
};

/* Waiting for the guard counts as being where it goes to. */
size_t plan_place(
    const struct cell *cell, const struct account *account, int64_t now_us);

/*
 * The map with the change made to `host`, which belongs to it, by change_make()
 * and as often as that asks for; *change is the last step, a WRITE. The caller
 * owns the map; NULL without memory.
 */
struct cell *plan_cell(const struct cell *cell, const struct host *host,
    uint32_t guard_ms, int64_t now_us, const struct transition *wanted,
    struct change *change);

struct plan {
	const struct cell *before, *after; /* borrowed */
	int64_t before_us, after_us; /* when accounts are placed on them */
	size_t place_count;          /* hosts and PLAN_PLACES */
	uint64_t *moves;             /* owned: [from * place_count + to] */
	uint64_t accounts, moving;
};

/* 0, or -1 without memory. */
int plan_open(struct plan *plan, const struct cell *before, int64_t before_us,
    const struct cell *after, int64_t after_us);
void plan_close(struct plan *plan);
void plan_count(struct plan *plan, const struct account *account);
uint64_t plan_moves(const struct plan *plan, size_t from, size_t to);

/* "mbox1", "nobody", ...; borrowed from the cell, or static. */
struct slice plan_place_name(const struct cell *cell, size_t place);

#endif
