/*
 * entry: what the directory says of an entry, made into a record.
 *
 * Pure: it knows neither connections nor files, so that an entry from a
 * provider and one from an LDIF file become the same record. Names are kept
 * as spelled (the store normalises them for look-up) where people see them,
 * and folded where lib/account.h and lib/cell.h say so.
 */
#ifndef REPLICA_ENTRY_H
#define REPLICA_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/slice.h"
#include "replica/layout.h"

/*
 * What to ask a directory for; ends in NULL. The second list is what KDCs need
 * besides: sealed keys, which no other host must see.
 */
extern const char *const entry_attributes[];
extern const char *const entry_key_attributes[];

/* Class of the entries that KDCs follow besides; they become accounts. */
#define ENTRY_PRINCIPAL_CLASS "postcellPrincipal"

/* Classes of entries that we follow besides accounts; ends in NULL. */
extern const char *const entry_cell_classes[];
extern const char *const entry_container_classes[];

enum entry_kind {
	ENTRY_OTHER, /* none of ours */
	ENTRY_ACCOUNT,
	ENTRY_CELL,
	ENTRY_CONTAINER
};

struct entry_value {
	struct slice attribute; /* options (";lang-de") may follow */
	struct slice value;
};

/* All borrowed. */
struct entry {
	struct slice dn;
	struct slice id; /* LAYOUT_ID_SIZE octets; empty: from entryUUID, else
			    from the DN */
	const struct entry_value *values;
	size_t value_count;
	bool keys; /* for a KDC: keep keys, and take principals */
};

/*
 * Adds the entry's record to out (nothing for ENTRY_OTHER) and writes its id
 * to `id`. 0; or -1 with *why (static text) when the entry is malformed.
 */
int entry_make(const struct entry *entry, struct buf *out,
    uint8_t id[LAYOUT_ID_SIZE], enum entry_kind *kind, const char **why);

/* entryCSN; empty when there is none. */
struct slice entry_csn(const struct entry *entry);

/* The CSN and the DN of a record of any kind; empty when it has none. */
struct slice entry_record_csn(struct slice record);
struct slice entry_record_dn(struct slice record);

/*
 * Adds the record with another DN and all else as it was. 0, or -1 when it
 * does not fit.
 */
int entry_record_move(struct buf *out, struct slice record, struct slice dn);

/* Whether `dn` lies below `base`; compared without case. */
bool entry_dn_below(struct slice dn, struct slice base);

#endif
