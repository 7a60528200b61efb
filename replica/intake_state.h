/*
 * intake_state: what intake.c (entries and changes as they come) and
 * intake_end.c (what the end of a refresh does) share.
 */
#ifndef REPLICA_INTAKE_STATE_H
#define REPLICA_INTAKE_STATE_H

#include "lib/buf.h"
#include "replica/intake.h"

#define INTAKE_WHY_SIZE 200

enum {
	INTAKE_HELD_ID = 1,
	INTAKE_HELD_RECORD = 2
};

struct intake_counts {
	uint64_t entries, changed, ignored, deleted, pruned, kept;
};

struct intake {
	struct store *store;   /* borrowed */
	struct status *status; /* borrowed */
	unsigned prune_max;
	bool keys; /* keep what KDCs need */
	struct store_cookie cookie;
	struct csn_vector source; /* of the provider, as far as we know it */
	bool has_source;          /* false for a file */
	bool refreshing, whole, trust;
	bool behind;      /* the source does not cover what we have seen */
	bool provisional; /* no cookie is kept until the next refresh */
	bool cookie_changed;
	bool wants_reload;
	enum intake_fault fault;
	size_t batch; /* changes in the open transaction */
	int64_t batch_since_ms;
	struct buf seen; /* ids of the refresh, LAYOUT_ID_SIZE octets each */
	size_t seen_at;  /* how far those have come that go through them */
	struct buf held; /* record of pools and hosts until the end */
	struct buf record, moved;
	/* To be written with the first refresh that it is true of: until then
	 * a restart has to find out again that the content is another's. */
	struct buf origin;
	struct intake_counts counts;
	char why[INTAKE_WHY_SIZE];
};

/* Notes the failure, undoes what was not committed, and returns -1. */
int intake_fail_store(struct intake *intake);
/* Opens a transaction unless there is one. */
int intake_open(struct intake *intake, const char **why);
/* Commits what is open, the cookie with it. */
int intake_commit(struct intake *intake, const char **why);
/* One change more; commits a batch that is large enough. */
int intake_count(struct intake *intake, const char **why);

#endif
