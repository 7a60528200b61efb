/*
 * layout: how a replica lies in its LMDB environment; what the one writer and
 * all readers share.
 *
 *   accounts    id -> record (lib/account.h)
 *   names       normalised name, NUL, kind octet -> ids of the accounts
 *               (DUPSORT); the kinds of one name lie side by side
 *   cell        id -> record (lib/cell.h)
 *   containers  id -> record: entries that accounts lie below
 *   journal     number (uint64_t of this machine) -> id of an account that
 *               changed then; the last LAYOUT_JOURNAL_MAX of them
 *   meta        word -> see below
 *
 * An id is the 16 octets of entryUUID. The tables but meta carry the format's
 * number in their names, so that a reader that was opened before the format
 * changed fails instead of misreading.
 */
#ifndef REPLICA_LAYOUT_H
#define REPLICA_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include <lmdb.h>

#include "lib/buf.h"
#include "lib/name.h"
#include "lib/slice.h"

#define LAYOUT_FORMAT      "2"
#define LAYOUT_ID_SIZE     16
#define LAYOUT_NAME_TAIL   2 /* octets of a name's key behind the name */
#define LAYOUT_RECORD_MAX  ((size_t)1 << 20) /* octets */
#define LAYOUT_READERS_MAX 1024
#define LAYOUT_TABLES      6
#define LAYOUT_JOURNAL_MAX 65536

#define LAYOUT_ACCOUNTS   "accounts." LAYOUT_FORMAT
#define LAYOUT_NAMES      "names." LAYOUT_FORMAT
#define LAYOUT_CELL       "cell." LAYOUT_FORMAT
#define LAYOUT_CONTAINERS "containers." LAYOUT_FORMAT
#define LAYOUT_JOURNAL    "journal." LAYOUT_FORMAT
#define LAYOUT_META       "meta"

/* Keys of meta. */
#define META_FORMAT     "format"     /* LAYOUT_FORMAT */
#define META_GENERATION "generation" /* record: GENERATION_COUNT */
#define META_GATE       "gate"       /* record: what each look-up obeys */
#define META_STATUS     "status"     /* record: what replicad says of itself */
#define META_COOKIE     "cookie"     /* record: see struct store_cookie */
#define META_ORIGIN     "origin"     /* text: where the content came from */
#define META_SHORTCUT   "shortcut"   /* record: SHORTCUT_NONCE */

/* Tags of the records in meta. */
enum meta_tag {
	GATE_COMPLETE = 1,    /* 1 once the replica was filled whole */
	GATE_CONTACT = 2,     /* us: last seen in step with a provider */
	GATE_STALE_AFTER = 3, /* us: refuse so long after it; 0 never */

	STATUS_SOURCE = 1,
	STATUS_CSN = 2, /* each value */
	STATUS_STATE = 3,
	STATUS_FILLED = 4, /* us */
	STATUS_LAG = 5,    /* us, two's complement */

	COOKIE_CSN = 1,    /* each value */
	COOKIE_RELOAD = 2, /* 1: the next refresh goes without it */

	GENERATION_COUNT = 1,

	SHORTCUT_NONCE = 1 /* of the shortcut (shortcut.h) that belongs to it */
};

/* Tags of a container's record. */
enum container_tag {
	CONTAINER_ID = 1,
	CONTAINER_DN = 2,
	CONTAINER_CSN = 3
};

/* The gate: what each look-up obeys. */
struct layout_gate {
	bool complete;
	int64_t contact_us;
	int64_t stale_after_us; /* 0: never */
};

MDB_val layout_value(struct slice slice);
MDB_val layout_string(const char *string);
struct slice layout_slice(MDB_val value);

/* The text of an LMDB or errno code; static, or libc's own. Never NULL. */
const char *layout_error(int code);

/*
 * Adds the key of a name in the table of names. 0; or -1 with *why when the
 * name has no normalised form, which has no NUL in it.
 */
int layout_name_key(
    struct buf *out, enum name_kind kind, struct slice name, const char **why);
/* The same without the kind: what the keys of all kinds begin with. */
int layout_name_start(
    struct buf *out, enum name_kind kind, struct slice name, const char **why);
/* Is that the key of a name of one of the kinds? Bits: 1 << enum name_kind. */
bool layout_key_is(struct slice key, unsigned kinds);

/*
 * Takes the next name, as spelled, off the rest of an account's record. False
 * at the end.
 */
bool layout_next_name(
    struct slice *rest, enum name_kind *kind, struct slice *name);

/* Absent fields are 0. */
struct layout_gate layout_read_gate(struct slice record);

#endif
