#include "ctl/view.h"

#include <sysexits.h>

int
view_open(struct view *view, const struct ctl *ctl)
{
	const char *why;

	*view = (struct view){ .path = ctl->replica };
	if (replica_open(&view->replica, ctl->replica, &why) < 0) {
		ctl_complain(ctl->replica, why);
		return EX_NOINPUT;
	}
	return view_refresh(view);
}

int
view_refresh(struct view *view)
{
	struct cell *cell;
	uint64_t generation;
	const char *why;

	if (view->cell &&
	    replica_cell_generation(view->replica) == view->generation)
		return EX_OK;
	if (replica_cell(view->replica, &cell, &generation, &why) < 0) {
		ctl_complain(view->path, why);
		return EX_TEMPFAIL;
	}
	cell_free(&view->cell);
	view->cell = cell;
	view->generation = generation;
	return EX_OK;
}

void
view_close(struct view *view)
{
	cell_free(&view->cell);
	replica_free(&view->replica);
}

struct walk {
	view_each *each;
	void *context;
};

static bool
walk_record(void *context, bool is_account, struct slice record)
{
	struct walk *walk = context;
	struct account account;
	const char *why;

	/* Accounts come first. */
	if (!is_account)
		return false;
	if (account_read(&account, record, &why) == 0)
		walk->each(walk->context, &account);
	return true;
}

int
view_accounts(const struct view *view, view_each *each, void *context)
{
	struct walk walk = { each, context };
	const char *why;

	if (replica_walk(view->replica, walk_record, &walk, &why) == 0)
		return EX_OK;
	ctl_complain(view->path, why);
	return EX_TEMPFAIL;
}

int
view_find(const struct view *view, const char *name, struct buf *store,
    struct account *account)
{
	const char *why;
	enum replica_result result = replica_find_login(
	    view->replica, slice_from(name), store, account, &why);

	if (result == REPLICA_FOUND)
		return EX_OK;
	ctl_complain(name, why);
	if (result == REPLICA_UNKNOWN)
		return CTL_NO;
	return result == REPLICA_AMBIGUOUS ? EX_DATAERR : EX_TEMPFAIL;
}
