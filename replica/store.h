/*
 * store: the replica's database, written. layout.h says what lies where.
 *
 * One process has it open for writing (a lock on the folder sees to that), and
 * has one write transaction at a time; what was put in it becomes visible to
 * readers at once, at store_commit(). One thread.
 *
 * Functions that return int return 0, or -1 with *why (text of LMDB or libc).
 * After -1 within a transaction, abort it.
 */
#ifndef REPLICA_STORE_H
#define REPLICA_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/name.h"
#include "lib/slice.h"
#include "replica/csn.h"
#include "replica/layout.h"

#define STORE_FOLDER_MODE   0750
#define STORE_LISTENERS_MAX 2

struct store;

enum store_table {
	STORE_ACCOUNTS,
	STORE_CELL,
	STORE_CONTAINERS,
	STORE_TABLE_COUNT
};

/* What the folder held when it was opened. */
enum store_found {
	STORE_FOUND_NONE,   /* it was made */
	STORE_FOUND_FORMAT, /* another format: emptied */
	STORE_FOUND_GOOD
};

/*
 * Where in the provider's history the content stands. With `reload` the
 * vector is only what was seen once: the next refresh goes without a cookie.
 */
struct store_cookie {
	struct csn_vector vector;
	bool reload;
};

struct store_status {
	struct slice source, state;      /* borrowed from the caller */
	const struct csn_vector *vector; /* borrowed from the caller */
	int64_t filled_us;
	int64_t lag_us; /* -1 unknown */
};

/* A name that leads to more than one account now. `key` as in layout.h. */
typedef void store_ambiguous(void *context, struct slice key);
/* Pools or hosts have changed, votes included, and readers see it. */
typedef void store_cell_changed(void *context);

/* path: folder, made when missing. size_max in octets. */
int store_open(struct store **store, const char *path, size_t size_max,
    enum store_found *found, const char **why);
/* Aborts what is open. */
void store_free(struct store **store);
void store_on_ambiguous(
    struct store *store, store_ambiguous *ambiguous, void *context);
/* At most STORE_LISTENERS_MAX are told. They must not touch the store then. */
void store_on_cell(
    struct store *store, store_cell_changed *changed, void *context);
void store_off_cell(struct store *store, const void *context);

int store_begin(struct store *store, const char **why);
int store_commit(struct store *store, const char **why);
void store_abort(struct store *store);
bool store_is_open(const struct store *store);
/* Whether the last failure was for want of room. */
bool store_is_full(const struct store *store);
/* Frees what readers that died left behind; their number. */
int store_check_readers(struct store *store);

/*
 * The shortcut of readers (shortcut.h) is made from what is committed, in
 * steps of some milliseconds: whether there is reason to, and one step;
 * *more: it goes on. After -1 it may be begun anew later. The store keeps it
 * true by itself.
 */
bool store_wants_shortcut(const struct store *store);
int store_make_shortcut(struct store *store, bool *more, const char **why);

/*
 * All below need an open transaction. ids have LAYOUT_ID_SIZE octets.
 */

/* *record is empty when there is none; valid until the next write. */
int store_get(struct store *store, enum store_table table, struct slice id,
    struct slice *record, const char **why);

/* Where an id is: in one table at most. Its record is empty when in none. */
struct store_place {
	enum store_table table;
	struct slice record; /* valid until the next write */
};

int store_find(struct store *store, struct slice id, struct store_place *place,
    const char **why);
/*
 * Puts a record in place of what store_find() has just found, an account's
 * names with it. *changed: it was not there as such.
 */
int store_replace(struct store *store, const struct store_place *place,
    enum store_table table, struct slice id, struct slice record, bool *changed,
    const char **why);
/* Both. */
int store_put(struct store *store, enum store_table table, struct slice id,
    struct slice record, bool *changed, const char **why);
/* Takes an id out of all tables. *changed: it was in one. */
int store_delete(
    struct store *store, struct slice id, bool *changed, const char **why);
/* How many records a table has. */
int store_count(struct store *store, enum store_table table, uint64_t *count,
    const char **why);

/*
 * Takes the first record whose id is above `id` (empty: the very first). Both
 * slices are valid until the next write; *found_id is empty at the end.
 */
int store_next(struct store *store, enum store_table table, struct slice id,
    struct slice *found_id, struct slice *record, const char **why);

int store_put_cookie(
    struct store *store, const struct store_cookie *cookie, const char **why);
int store_get_cookie(
    struct store *store, struct store_cookie *cookie, const char **why);
int store_put_gate(
    struct store *store, const struct layout_gate *gate, const char **why);
int store_get_gate(
    struct store *store, struct layout_gate *gate, const char **why);
int store_put_status(
    struct store *store, const struct store_status *status, const char **why);
/* When it was last filled whole; 0 for never. */
int store_get_filled(struct store *store, int64_t *filled_us, const char **why);
int store_put_origin(
    struct store *store, struct slice origin, const char **why);
/* Valid until the next write; empty when none was put. */
int store_get_origin(
    struct store *store, struct slice *origin, const char **why);

#endif
