/*
 * intake: what entries pass on their way into the store, whether they come
 * from a provider or from an LDIF file.
 *
 * A source announces a refresh, hands over entries, deletions and ids that
 * are still present, and ends it; afterwards (RFC 4533's persist phase) it
 * hands over changes as they come. Intake sees to it that
 *
 *   - accounts of a refresh are committed in batches, pools and hosts in one
 *     transaction; what is gone is pruned last, and the cookie comes after
 *     all that;
 *   - nothing goes backwards: an entry older than the stored one is ignored,
 *     and what a provider does not know yet is not pruned, as its own vector
 *     tells. A provider that does cover the stored entry's CSN and shows an
 *     older one has lost that change for good, and is believed;
 *   - what was deleted does not come back from a provider that is behind. Such
 *     a refresh stays provisional: the next one goes without a cookie again;
 *   - a refresh that would prune too much prunes nothing.
 *
 * Functions that return int return 0, or -1 with *why, valid until the next
 * call; what was not committed then is undone, and intake_fault() tells the
 * kind of failure. One thread.
 */
#ifndef REPLICA_INTAKE_H
#define REPLICA_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "replica/csn.h"
#include "replica/entry.h"
#include "replica/status.h"
#include "replica/store.h"

struct intake;

enum intake_fault {
	INTAKE_FAULT_STORE,  /* the database failed */
	INTAKE_FAULT_SOURCE, /* the source does not show what it must */
};

enum intake_outcome {
	INTAKE_IN_STEP,
	INTAKE_PROVISIONAL, /* the source is behind of what was seen before */
	INTAKE_STOPPED,     /* too much would have been pruned: nothing was */
	INTAKE_FAILED
};

struct intake_refresh {
	bool whole; /* everything is sent: it goes without a cookie */
	bool trust; /* take the source for the truth, whatever is lost */
	/* The source's vector from before; NULL for a file, which is trusted
	 * but for prune_max. Copied. */
	const struct csn_vector *vector;
};

/* NULL without memory. prune_max: percent. The rest is borrowed. */
struct intake *intake_new(
    struct store *store, struct status *status, unsigned prune_max);
void intake_free(struct intake **intake);
/* Takes what KDCs need besides (entry.h), from the next entry on. */
void intake_keep_keys(struct intake *intake);

/* Where the content stands. Borrowed, until the next call. */
const struct store_cookie *intake_cookie(const struct intake *intake);
/* Makes the next refresh go without a cookie, even after a restart. */
int intake_forget_cookie(struct intake *intake, const char **why);

/*
 * Says where the content comes from: kind of the source, its scope (suffix)
 * and what is chosen of it (filter). Another scope makes the next refresh
 * whole and forgets what was seen; another choice makes it whole. *moved: it
 * was another kind or scope, so that most of the content may be dropped.
 */
int intake_set_origin(struct intake *intake, const char *kind,
    const char *scope, const char *choice, bool *moved, const char **why);

void intake_begin(struct intake *intake, const struct intake_refresh *refresh);
int intake_entry(
    struct intake *intake, const struct entry *entry, const char **why);
int intake_present(struct intake *intake, struct slice id, const char **why);
int intake_delete(struct intake *intake, struct slice id, const char **why);
/*
 * Ends the refresh. vector: of the source's cookie, empty for none. present:
 * what was neither sent nor present is gone (so it is after a whole one).
 */
enum intake_outcome intake_end(struct intake *intake,
    const struct csn_vector *vector, bool present, const char **why);

/* CSNs of a cookie in the persist phase. */
void intake_advance(struct intake *intake, const struct csn_vector *vector);
/* All that arrived together was handed over. */
int intake_turn(struct intake *intake, const char **why);
/* The source is gone; undoes what was not committed. */
void intake_abandon(struct intake *intake);

/* After -1. */
enum intake_fault intake_fault(const struct intake *intake);
/* A container went away from above of accounts: only a whole refresh tells
 * what became of them. */
bool intake_wants_reload(const struct intake *intake);

#endif
