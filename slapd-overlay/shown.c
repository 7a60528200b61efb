#include "slapd-overlay/overlay.h"

#include <stdlib.h>

#include "lib/placement.h"

#define RECORD_MAX ((size_t)1 << 20)
#define MAP_AGE_MS 1000 /* people can wait that long for what is new */

/* The map as it was a moment ago. */
struct shown {
	pthread_mutex_t mutex;
	struct cell *cell; /* owned; NULL: none yet */
	int64_t read_ms;
};

static AttributeDescription *server;

int
shown_register(void)
{
	return register_at(
	    "( " OVERLAY_ARC ".1.6 NAME 'postcellServer' "
	    "DESC 'Server that serves the account now, computed' "
	    "EQUALITY caseIgnoreMatch "
	    "SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE "
	    "NO-USER-MODIFICATION USAGE dSAOperation )",
	    &server, 0);
}

struct shown *
shown_new(void)
{
	struct shown *shown = calloc(1, sizeof(*shown));

	if (!shown)
		return NULL;
	if (pthread_mutex_init(&shown->mutex, NULL) == 0)
		return shown;
	free(shown);
	return NULL;
}

void
shown_free(struct shown **shown)
{
	if (!*shown)
		return;
	(void)pthread_mutex_destroy(&(*shown)->mutex);
	cell_free(&(*shown)->cell);
	free(*shown);
	*shown = NULL;
}

static bool
is_asked_for(const SlapReply *rs)
{
	return SLAP_OPATTRS(rs->sr_attr_flags) ||
	       ad_inlist(server, rs->sr_attrs);
}

/* Reads the map anew when it is old; the search is made without the lock. */
static void
refresh(Operation *op, struct shown *shown)
{
	int64_t now_ms = clock_ms();
	struct cell *cell;
	bool is_old;

	(void)pthread_mutex_lock(&shown->mutex);
	is_old = !shown->cell || now_ms - shown->read_ms >= MAP_AGE_MS;
	if (is_old)
		shown->read_ms = now_ms;
	(void)pthread_mutex_unlock(&shown->mutex);
	if (!is_old)
		return;
	cell = map_read(op);
	if (!cell)
		return;
	(void)pthread_mutex_lock(&shown->mutex);
	cell_free(&shown->cell);
	shown->cell = cell;
	(void)pthread_mutex_unlock(&shown->mutex);
}

static void
add_server(SlapReply *rs, struct slice name)
{
	Attribute **last = &rs->sr_operational_attrs;
	struct berval value = { name.size, NULL };

	if (name.size == 0)
		return;
	memcpy(&value.bv_val, &name.data, sizeof(value.bv_val));
	while (*last)
		last = &(*last)->a_next;
	*last = attr_alloc(server);
	(void)attr_valadd(*last, &value, NULL, 1);
}

static void
show(SlapReply *rs, const struct cell *cell, const struct account *account)
{
	struct placement found = placement(account, cell, clock_us());

	switch (found.kind) {
	case PLACEMENT_SERVER:
		add_server(rs, found.server->name);
		break;
	case PLACEMENT_HOST:
		add_server(rs, found.host);
		break;
	case PLACEMENT_WAIT:
	case PLACEMENT_NONE:
		break; /* nobody serves it at this moment */
	}
}

int
shown_operational(Operation *op, SlapReply *rs)
{
	struct shown *shown = overlay_of(op)->shown;
	struct buf record = buf_bounded(RECORD_MAX);
	struct account account;

	/* Replicas compute for themselves; our own searches never ask for it.
	 */
	if (!shown || !rs->sr_entry || op->o_sync > SLAP_CONTROL_IGNORED ||
	    directory_is_replicated(op) || !is_asked_for(rs) ||
	    !entry_is(rs->sr_entry, CLASS_ACCOUNT))
		return SLAP_CB_CONTINUE;
	refresh(op, shown);
	if (map_account(&account, rs->sr_entry, &record) == 0) {
		(void)pthread_mutex_lock(&shown->mutex);
		if (shown->cell)
			show(rs, shown->cell, &account);
		(void)pthread_mutex_unlock(&shown->mutex);
	}
	buf_free(&record);
	return SLAP_CB_CONTINUE;
}
