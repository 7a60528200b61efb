/*
 * directory: the LDAP server that changes are written to.
 *
 * One connection, synchronous, every wait bounded. The servers of the
 * configuration are tried in their order until one is reached; what one that
 * was reached answers is final. Referrals are not followed.
 *
 * What a change is computed from is read here, not in the replica, which may
 * be behind; and a change is bound to what was read (RFC 4528 assertion of the
 * entry's entryCSN), so that two writers cannot overlook each other.
 */
#ifndef CTL_DIRECTORY_H
#define CTL_DIRECTORY_H

#include "ctl/ctl.h"
#include "lib/account.h"
#include "lib/buf.h"
#include "lib/cell.h"
#include "replica/entry.h"

struct directory;

enum directory_result {
	DIRECTORY_DONE,
	DIRECTORY_RACE, /* the entry is not as it was read: read it again */
	DIRECTORY_ABSENT,
	DIRECTORY_EXISTS,
	DIRECTORY_REFUSED, /* no access, or against a rule of the directory */
	DIRECTORY_LOST     /* no server, or none that answers */
};

/* One attribute of a change; several may name the same one. */
struct directory_part {
	enum {
		DIRECTORY_ADD,
		DIRECTORY_DELETE,
		DIRECTORY_REPLACE
	} kind;

	const char *attribute;
	struct slice value; /* empty: all values; borrowed for the call */
};

/* EX_OK; or an exit status after a complaint, and *out NULL. */
int directory_open(struct directory **out, const struct ctl *ctl);
void directory_free(struct directory **directory);
const char *directory_suffix(const struct directory *directory);
/* The DN below which accounts stand. */
const char *directory_people(const struct directory *directory);

/* Pools and hosts as they are there now; the caller owns *out. */
enum directory_result directory_cell(
    struct directory *directory, struct cell **out);
/*
 * An entry as an account, and whether it has the class postcellAccount. The
 * account borrows from `record`, an empty buffer.
 */
enum directory_result directory_account(struct directory *directory,
    struct slice dn, struct buf *record, struct account *account,
    bool *has_class);

/* More of one entry are not read. */
#define DIRECTORY_VALUES_MAX 4096

/* An entry as it stands there, operational attributes included. */
struct directory_entry {
	char *dn;                         /* owned */
	const struct entry_value *values; /* owned */
	size_t count;
	struct values *kept; /* owned: what the values borrow from */
};

/* The value of that number, counted from 0; false when there are not so many.
 * It lives as long as the entry.
 */
bool directory_value(const struct directory_entry *entry, const char *attribute,
    size_t index, struct slice *value);
void directory_entry_free(struct directory_entry **entry);

/*
 * Entries at and below `base` (`alone`: at it only) that the filter matches:
 * how many, at most two being counted, and the first one, NULL for none; the
 * caller owns it.
 */
enum directory_result directory_find(struct directory *directory,
    const char *base, bool alone, const char *filter, size_t *count,
    struct directory_entry **first);

/* False: enough. */
typedef bool directory_take(void *context, const struct directory_entry *entry);
/* Gives all entries at and below `base` that the filter matches, as they come.
 */
enum directory_result directory_each(struct directory *directory,
    const char *base, const char *filter, directory_take *take, void *context);

/* RFC 3062, as an administrator: without the old password. */
enum directory_result directory_password(
    struct directory *directory, struct slice dn, struct slice password);

/* `csn`: what the entry's entryCSN has to be; empty: no matter. */
enum directory_result directory_modify(struct directory *directory,
    struct slice dn, struct slice csn, const struct directory_part *parts,
    size_t count);
enum directory_result directory_add(struct directory *directory,
    struct slice dn, const struct directory_part *parts, size_t count);
enum directory_result directory_delete(
    struct directory *directory, struct slice dn, struct slice csn);
enum directory_result directory_rename(struct directory *directory,
    struct slice dn, struct slice csn, struct slice rdn);

/*
 * The exit status for the last call's result, after a complaint that names
 * server, entry and reason. EX_OK for DONE, without one.
 */
int directory_exit(struct directory *directory, enum directory_result result);
/* The two by themselves: the status, and the text until the next call. */
int directory_status(enum directory_result result);
const char *directory_why(const struct directory *directory);

#endif
