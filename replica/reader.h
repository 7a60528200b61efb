/*
 * reader: look-ups in a replica, for any process on the host.
 *
 * A replica is an LMDB environment (store.h has its tables) that one
 * postcell-replicad writes and any number of processes read, without locks
 * and without LDAP. Look-ups take about a microsecond, by the shortcut beside
 * it (shortcut.h), or some while that is being made.
 *
 * A process opens the replica once, after its last fork and before its jail;
 * look-ups need no file system then. One thread at a time for each struct.
 */
#ifndef REPLICA_READER_H
#define REPLICA_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/account.h"
#include "lib/buf.h"
#include "lib/cell.h"
#include "lib/name.h"

struct replica;

enum replica_result {
	REPLICA_FOUND,
	REPLICA_UNKNOWN,   /* no such name, and the replica is complete */
	REPLICA_AMBIGUOUS, /* several entries have that name: a temporary error
			    */
	REPLICA_EMPTY,     /* the replica was never filled: a temporary error */
	REPLICA_FAILED     /* LMDB failed: a temporary error */
};

/*
 * path: folder of the replica. 0; or -1 with *why (static text). *replica is
 * NULL on failure. A replica that replicad has not made yet fails: wait for it.
 */
int replica_open(struct replica **replica, const char *path, const char **why);
void replica_free(struct replica **replica);

/*
 * Finds the account that has this name, normalising it first. The record is
 * copied into `store` (cleared before), and *account borrows from there. *why
 * is set for every result but FOUND (static text).
 */
enum replica_result replica_find(struct replica *replica, enum name_kind kind,
    struct slice name, struct buf *store, struct account *account,
    const char **why);

/*
 * As a login names an account: by uid, else by address. Ambiguous when the two
 * lead to different accounts.
 */
enum replica_result replica_find_login(struct replica *replica,
    struct slice name, struct buf *store, struct account *account,
    const char **why);

/* The same for the account with this id (ACCOUNT_ID_SIZE octets). */
enum replica_result replica_find_by_id(struct replica *replica, struct slice id,
    struct buf *store, struct account *account, const char **why);

/*
 * Calls `changed` with the id of every account that was added, changed or
 * deleted after *since, perhaps several times, and moves *since on; `changed`
 * may look into the replica. 0; 1 when
 * that is not known, at the first call (*since 0) or because too much has
 * happened, so that any account may have changed; -1 with *why.
 */
typedef void replica_changed(void *context, struct slice id);
int replica_changes(struct replica *replica, uint64_t *since,
    replica_changed *changed, void *context, const char **why);

/*
 * Counts each change of pools and hosts; equal counts mean equal maps, but for
 * observers' votes and signs of life, which place nobody. 0 on failure.
 */
uint64_t replica_cell_generation(struct replica *replica);
/*
 * The cell map as of now; the caller owns *cell. *generation is the count that
 * belongs to it. 0; or -1 with *why.
 */
int replica_cell(struct replica *replica, struct cell **cell,
    uint64_t *generation, const char **why);

/* What replicad last said of itself, and what the replica holds. */
struct replica_status {
	uint64_t accounts, names, pools, hosts;
	uint64_t cell_generation;
	bool complete;       /* filled at least once */
	int64_t filled_us;   /* when it was last filled whole; 0 for never */
	int64_t contact_us;  /* when a provider (or the file) last was seen in
				step; 0 for never */
	int64_t lag_us;      /* how far the last change came late; -1 unknown */
	struct slice source; /* URL of the provider, or path of the LDIF file;
				in store */
	struct slice csn;    /* contextCSN values, parted by spaces; in store */
	struct slice state;  /* "connected", "connected: WHY" (the
				provider is behind), "refreshing",
				"disconnected: WHY", "stopped: WHY"; in
				store */
	uint64_t size, size_max; /* octets of the file in use, and its bound */
};

/* Text is copied into `store`. 0; or -1 with *why. */
int replica_status(struct replica *replica, struct buf *store,
    struct replica_status *status, const char **why);

/*
 * Calls `each` for every record, accounts first, then pools and hosts, in one
 * consistent view; stops when it returns false. `record` lives for the call.
 * 0; or -1 with *why.
 */
typedef bool replica_each(void *context, bool is_account, struct slice record);
int replica_walk(struct replica *replica, replica_each *each, void *context,
    const char **why);

#endif
