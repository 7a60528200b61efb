/*
 * shortcut: from a name straight to its account's record, in a file beside the
 * database that one process makes (shortcut_make.h) and all readers map.
 *
 * The database finds an account by two descents of its trees, each of which
 * ends in memory that no cache has. The shortcut is a hash table: one look at
 * the slot, one at the record. It knows only some of the truth and never
 * contradicts the rest: it answers "this is the one account of that name", or
 * "ask the database".
 *
 *   head     struct shortcut_head, in a page of its own
 *   slots    2^slot_bits numbers of 8 octets: above, 32 bits of the name's
 *            hash; below, where the record lies, in units of 8 octets from
 *            the head, or SHORTCUT_ASK. 0: empty. Open addressing, one after
 *            the other
 *   records  size (4 octets of this machine), record (lib/record.h); each
 *            account's once, whatever names it has
 *
 * A name is its normalised text and the NUL after it (layout_name_start()),
 * whatever its kind: its slot leads to a record only while no other account
 * has that text under any kind. Names that are not there, that are ambiguous,
 * or whose account has changed since, have no slot or one that says ASK.
 *
 * Why that is never older than the reader's view of the database. A change of
 * an account sets the slots of its names, old and new, to ASK, and writes the
 * number of its transaction to `covered`; only then it commits. So whoever has
 * begun a view that contains the change finds ASK. No slot ever goes from ASK
 * back to a record, and no record is changed: instead the whole is made anew.
 * While that lasts `generation` is odd; readers look at it before and after,
 * and take nothing that they read when it was odd or has changed.
 *
 * Why one that was left behind does no harm. Views beyond `covered` were
 * written by somebody who knows nothing of shortcuts: it says nothing of them.
 * After a fall of the machine the file may lack slots that were set to ASK: it
 * counts only in the boot that it was made in. And the database names the
 * shortcut that belongs to it (META_SHORTCUT), so that neither can be put
 * beside another one.
 */
#ifndef REPLICA_SHORTCUT_H
#define REPLICA_SHORTCUT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/slice.h"

#define SHORTCUT_FILE      "shortcut"
#define SHORTCUT_MAGIC     UINT64_C(0x31747563746f6873)
#define SHORTCUT_HEAD_SIZE 4096 /* octets, before the slots */
#define SHORTCUT_UNIT      8    /* octets; what positions of records count */
#define SHORTCUT_ASK       UINT32_MAX
#define SHORTCUT_BOOT_SIZE 40
#define SHORTCUT_BITS_MAX  31

struct shortcut_head {
	uint64_t magic;
	char boot[SHORTCUT_BOOT_SIZE]; /* of Linux: its boot_id, with a NUL */
	uint64_t nonce;                /* what the database calls it */
	uint64_t slot_bits;
	uint64_t size;               /* of the whole, in octets */
	_Atomic uint64_t generation; /* odd: it is being made; 0: never was */
	_Atomic uint64_t covered;    /* number of a transaction */
};

_Static_assert(sizeof(struct shortcut_head) <= SHORTCUT_HEAD_SIZE, "one page");

typedef _Atomic uint64_t shortcut_slot;

/* One that is read. Zero with fd -1: there is none. */
struct shortcut {
	int fd; /* owned */
	char boot[SHORTCUT_BOOT_SIZE];
	const struct shortcut_head *head; /* owned: mapped alone */
	const char *map;                  /* owned: the whole */
	size_t map_size;
	uint64_t generation; /* what of the head is copied here belongs to */
	uint64_t nonce;
	unsigned slot_bits;
	size_t size;     /* 0: that generation is of no use */
	struct buf name; /* owned scratch */
};

/* The view of the database that the caller has open. */
struct shortcut_view {
	size_t number;  /* of its transaction */
	uint64_t nonce; /* META_SHORTCUT; 0: none belongs to it */
};

/*
 * folder: of the replica. Never fails: without a file look-ups find nothing.
 * shortcut_find() needs no file system then, so a jail may follow.
 */
void shortcut_open(struct shortcut *shortcut, const char *folder);
void shortcut_close(struct shortcut *shortcut);

/*
 * Copies the record of the account whose name that is, of one of the kinds
 * (bits: 1 << enum name_kind), into `store`. False: ask the database. name: as
 * layout_name_start() writes it.
 */
bool shortcut_find(struct shortcut *shortcut, const struct shortcut_view *view,
    unsigned kinds, struct slice name, struct buf *store);

/* ---- shared with shortcut_make.c ---- */

/* 0, or -1 where the system does not tell. */
int shortcut_read_boot(char boot[SHORTCUT_BOOT_SIZE]);

/* The first slot of a name, and what the upper half of its slots holds. */
struct shortcut_place {
	size_t slot;
	uint32_t mark;
};
struct shortcut_place shortcut_place(
    uint64_t nonce, unsigned slot_bits, struct slice name);
/*
 * Has the record that name, under one of the kinds? `scratch` is overwritten.
 */
bool shortcut_has_name(struct slice record, unsigned kinds, struct slice name,
    struct buf *scratch);

#endif
