/*
 * shortcut_make: the one process that makes a shortcut (shortcut.h), and keeps
 * it from ever telling what is no longer so. store.c drives it: a caller of
 * the store need not know.
 *
 * It is made in steps, between which accounts may change. It can be killed at
 * any moment. One thread.
 */
#ifndef REPLICA_SHORTCUT_MAKE_H
#define REPLICA_SHORTCUT_MAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/slice.h"

struct shortcut_maker;

/*
 * folder: descriptor of the replica's, with the writer's lock. What another
 * process left standing there is of no use from here on. 0, or -1 with *why.
 */
int shortcut_maker_open(
    struct shortcut_maker **maker, int folder, const char **why);
void shortcut_maker_free(struct shortcut_maker **maker);

/*
 * Before a change of an account is committed: look-ups of all its names ask
 * the database from now on.
 */
void shortcut_maker_ask(struct shortcut_maker *maker, struct slice record);
/* Before any commit: of the transaction with that number. */
void shortcut_maker_cover(struct shortcut_maker *maker, uint64_t transaction);

/* Whether it wants to be made, for the first time or anew. */
bool shortcut_maker_is_due(const struct shortcut_maker *maker);
/*
 * Begins it, while no look-up finds anything. At most so many names, and
 * records that fill so many pages of the database. 0, or -1 with *why.
 */
int shortcut_maker_begin(struct shortcut_maker *maker, uint64_t names,
    uint64_t record_octets, const char **why);
bool shortcut_maker_has_begun(const struct shortcut_maker *maker);
/* Each account, as the database has it. 0, or -1 with *why: give it up. */
int shortcut_maker_add(
    struct shortcut_maker *maker, struct slice record, const char **why);
/* What the database shall call it, by META_SHORTCUT, before the end. */
uint64_t shortcut_maker_nonce(const struct shortcut_maker *maker);
void shortcut_maker_finish(struct shortcut_maker *maker);
void shortcut_maker_give_up(struct shortcut_maker *maker);

#endif
