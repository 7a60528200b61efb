/*
 * status: what replicad says of itself, kept in the database for readers.
 *
 * It is written along with whatever is committed, and by itself when the state
 * changes or contact was long ago. One thread.
 */
#ifndef REPLICA_STATUS_H
#define REPLICA_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/log.h"
#include "replica/csn.h"
#include "replica/store.h"

#define STATUS_TEXT_SIZE 512

struct status {
	struct store *store;   /* borrowed */
	const struct log *log; /* borrowed; for all that know the status */
	char source[STATUS_TEXT_SIZE];
	char state[STATUS_TEXT_SIZE];
	struct csn_vector vector;
	bool complete;
	int64_t filled_us, contact_us, lag_us;
	int64_t stale_after_us;
	int64_t written_us; /* contact as last written */
};

/* Reads what the database says. 0, or -1 with *why. */
int status_init(struct status *status, struct store *store,
    const struct log *log, int64_t stale_after_us, const char **why);
/* Puts it into the open transaction. */
int status_put(struct status *status, const char **why);
/* Writes it now, in a transaction of its own unless one is open. */
void status_write(struct status *status);

/* Written with the next state. */
void status_set_source(struct status *status, const char *source);
/* Writes it when it changed. why may be NULL. */
void status_set_state(
    struct status *status, const char *state, const char *why);
/* Seen in step; written when the last time was some seconds ago. */
void status_contact(struct status *status);

#endif
