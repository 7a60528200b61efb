/*
 * sync_value: the values that RFC 4533 adds to LDAP, written and read; pure.
 *
 * Functions return 0, or -1 when the value is malformed or memory is short.
 * What was read is freed in both cases.
 */
#ifndef REPLICA_SYNC_VALUE_H
#define REPLICA_SYNC_VALUE_H

#include <stdbool.h>

#include <ldap.h>

#include "lib/slice.h"
#include "replica/csn.h"

/* Sync State Value, section 2.3: what an entry is about. */
struct sync_state {
	int change;      /* LDAP_SYNC_PRESENT, _ADD, _MODIFY, _DELETE */
	struct slice id; /* entryUUID; within `ber` */
	bool has_cookie;
	struct csn_vector cookie;
	BerElement *ber; /* owned */
};

/* Sync Info Value, section 2.5. */
enum sync_info_kind {
	SYNC_NEW_COOKIE,
	SYNC_PHASE_END, /* refreshDelete or refreshPresent */
	SYNC_ID_SET
};

struct sync_info {
	enum sync_info_kind kind;
	bool has_cookie;
	struct csn_vector cookie;
	bool present;  /* PHASE_END: refreshPresent */
	bool done;     /* PHASE_END: it was the last phase */
	bool deletes;  /* ID_SET: these are gone, not present */
	BerVarray ids; /* ID_SET, owned: NULL for none, else ends in NULL */
};

/* refreshAndPersist, section 2.2; cookie: NULL asks for everything. The caller
 * frees *value, ber_bvfree(). */
int sync_value_request(struct berval **value, const struct csn_vector *cookie);

/* Leaves one that can be freed. */
void sync_value_state_clear(struct sync_state *state);
int sync_value_state(struct sync_state *state, struct berval *value);
void sync_value_state_free(struct sync_state *state);
int sync_value_info(struct sync_info *info, struct berval *value);
void sync_value_info_free(struct sync_info *info);

#endif
