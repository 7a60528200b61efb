/*
 * view: the replica as the looking verbs see it, and who is placed where.
 *
 * Everything here is computed by the same placement() as in the proxies, from
 * the replica on this host; it needs neither a proxy nor a directory.
 */
#ifndef CTL_VIEW_H
#define CTL_VIEW_H

#include <stdint.h>

#include "ctl/ctl.h"
#include "lib/account.h"
#include "lib/buf.h"
#include "lib/cell.h"
#include "replica/reader.h"

struct view {
	const char *path; /* of the replica; borrowed */
	struct replica *replica;
	struct cell *cell;
	uint64_t generation;
};

/* EX_OK; or an exit status after a complaint. view_close() in both cases. */
int view_open(struct view *view, const struct ctl *ctl);
void view_close(struct view *view);
/* Takes up a newer map, if there is one; pointers into the old one are void. */
int view_refresh(struct view *view);

/* Calls `each` for every account that can be read. EX_OK, or as above. */
typedef void view_each(void *context, const struct account *account);
int view_accounts(const struct view *view, view_each *each, void *context);

/*
 * The account of that name. EX_OK; or an exit status after a complaint. The
 * account borrows from `store`, an empty buffer of VIEW_RECORD_MAX.
 */
#define VIEW_RECORD_MAX ((size_t)1024 * 1024)
int view_find(const struct view *view, const char *name, struct buf *store,
    struct account *account);

#endif
