/*
 * store_state: what store.c (transactions and records), store_names.c,
 * store_meta.c (what stands beside them) and store_shortcut.c (when the
 * shortcut is made) share.
 */
#ifndef REPLICA_STORE_STATE_H
#define REPLICA_STORE_STATE_H

#include "replica/shortcut_make.h"
#include "replica/store.h"

struct store_listener {
	store_cell_changed *changed; /* NULL: free */
	void *context;
};

struct store {
	MDB_env *env; /* owned */
	MDB_txn *txn; /* owned; NULL between transactions */
	MDB_dbi meta, names, journal;
	MDB_dbi tables[STORE_TABLE_COUNT];
	/* Of the transaction, and gone with it; NULL until needed. They stay
	 * where they are, for what is near is found at once from there. */
	MDB_cursor *names_cursor, *cursors[STORE_TABLE_COUNT];
	bool complete;     /* was filled once: others may follow its changes */
	bool cell_changed; /* in this transaction, for readers */
	bool cell_touched; /* in whatever way */
	int failure;       /* the last code of LMDB that was not good */
	int folder;        /* descriptor that holds the writer's lock */
	struct shortcut_maker *maker;    /* owned */
	uint8_t reached[LAYOUT_ID_SIZE]; /* by the shortcut being made */
	bool any_reached;
	store_ambiguous *ambiguous;
	void *context;
	struct store_listener listeners[STORE_LISTENERS_MAX];
	struct buf old_names, new_names, key, scratch;
};

/* Notes the code of LMDB or libc, and returns -1. */
int store_fail(struct store *store, int code, const char **why);

/* All below: 0, or a code of LMDB or libc. */

/* Opens it for the rest of the transaction, unless it is. */
int store_cursor(struct store *store, MDB_dbi table, MDB_cursor **cursor);

/* Brings the names from what the old record has to what the new one has. */
int store_move_names(struct store *store, struct slice id,
    struct slice old_record, struct slice new_record);

/* *value is empty when there is none. */
int store_meta_get(struct store *store, const char *name, struct slice *value);
int store_meta_put(struct store *store, const char *name, struct slice value);

#endif
