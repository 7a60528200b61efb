#include "slapd-overlay/overlay.h"

#include "lib/change.h"
#include "lib/name.h"
#include "lib/timestamp.h"

#define VALUE_MAX 256

static const struct pool *
pool_of(const struct cell *cell, const struct host *host)
{
	if (host->kind != HOST_SERVER)
		return NULL;
	return host->pool.size > 0 ? cell_pool(cell, host->pool)
				   : cell_default_pool(cell);
}

/* ---- transitions ---- */

/* What is wished once the modify is done. */
struct wish {
	bool changes;
	bool has_transition; /* whoever writes it knows what he does */
	enum host_state state;
	uint32_t weight;
};

/* 0, or -1 for what cannot be a wish. */
static int
take_state(struct wish *wish, struct slice text)
{
	if (text.size == 0) {
		wish->state = HOST_UP;
		return 0;
	}
	return host_state_parse(text, &wish->state) == 0 &&
		       wish->state != HOST_FAILED
		   ? 0
		   : -1;
}

static int
take_weight(struct wish *wish, struct slice text)
{
	uint64_t number = TRANSITION_WEIGHT_DEFAULT;

	if (text.size > 0 &&
	    slice_to_uint(text, TRANSITION_WEIGHT_MAX, &number) < 0)
		return -1;
	wish->weight = (uint32_t)number;
	return 0;
}

static int
read_wish(struct wish *wish, const Modifications *mods)
{
	for (; mods; mods = mods->sml_next) {
		bool sets = mods->sml_op != LDAP_MOD_DELETE &&
			    mods->sml_values && mods->sml_values[0].bv_val;
		struct slice text =
		    sets ? bv_slice(&mods->sml_values[0]) : slice_from("");

		if (mods->sml_desc == attribute(ATTRIBUTE_TRANSITION))
			wish->has_transition = true;
		if (mods->sml_desc == attribute(ATTRIBUTE_STATE)) {
			wish->changes = true;
			if (take_state(wish, text) < 0)
				return -1;
		}
		if (mods->sml_desc == attribute(ATTRIBUTE_WEIGHT)) {
			wish->changes = true;
			if (take_weight(wish, text) < 0)
				return -1;
		}
	}
	return 0;
}

static void
append_change(
    Modifications **mods, const struct host *host, const struct change *change)
{
	AttributeDescription *transition = attribute(ATTRIBUTE_TRANSITION);
	struct buf text = buf_bounded(VALUE_MAX);
	size_t count = host->transitions ? host->transition_count : 0;

	if (change->step == CHANGE_WAIT ||
	    transition_format(&text, &change->value) < 0)
		goto done;
	mods_append(mods, mod_new(transition, LDAP_MOD_ADD, buf_slice(&text)));
	for (size_t i = 0; change->step == CHANGE_WRITE && i < count; i++)
		if (i < change->passed || i >= count - change->ahead)
			mods_append(mods, mod_new(transition, LDAP_MOD_DELETE,
					      host->transitions[i].text));
done:
	buf_free(&text);
}

/*
 * The transition of a wish that was edited by hand, as lib/change.h wants it.
 * Where only a base can be written, or nothing yet, deciders bring the wish
 * about a guard later.
 */
static void
follow_wish(Operation *op, const struct cell *cell, const struct host *host,
    const struct wish *wish)
{
	const struct pool *pool = pool_of(cell, host);
	const struct transition *newest =
	    host->transition_count > 0
		? &host->transitions[host->transition_count - 1]
		: NULL;
	struct change change;

	if (newest && newest->state == wish->state &&
	    newest->weight == wish->weight)
		return;
	/* Of a failed host the weight alone is wished for its return. */
	if (newest && newest->state == HOST_FAILED &&
	    host->state == wish->state)
		return;
	change_make(&change, host, pool ? pool->guard_ms : POOL_GUARD,
	    clock_us(), wish->state, wish->weight,
	    pool && wish->state != HOST_DOWN ? pool->ramp : 0);
	append_change(&op->orm_modlist, host, &change);
}

/* ---- references ---- */

static bool
find_any(Entry *entry, void *data)
{
	(void)entry;
	*(bool *)data = true;
	return false;
}

/* "(&FIXED(ATTRIBUTE=VALUE))" finds something. */
static bool
exists(
    Operation *op, const char *fixed, enum attribute which, struct slice value)
{
	struct buf filter = buf_bounded(4096);
	bool found = false;

	buf_add_string(&filter, "(&");
	buf_add_string(&filter, fixed);
	buf_add_char(&filter, '(');
	buf_add_slice(&filter, bv_slice(&attribute(which)->ad_cname));
	buf_add_char(&filter, '=');
	name_escape_filter(&filter, value);
	buf_add_string(&filter, "))");
	if (!filter.failed)
		(void)directory_search(
		    op, buf_string(&filter), 1, find_any, &found);
	buf_free(&filter);
	return found;
}

static bool
is_server_name(const struct host *host, struct slice name)
{
	if (host->kind != HOST_SERVER)
		return false;
	if (slice_equal_nocase(host->name, name))
		return true;
	for (size_t i = 0; i < host->service_count; i++)
		if (slice_equal_nocase(host->services[i].host, name))
			return true;
	return false;
}

/* A pin names a server, unless the cell has none. */
static bool
is_pin_known(Operation *op, struct slice name)
{
	struct cell *cell = map_read(op);
	bool known = false, any = false;
	const struct host *hosts;
	size_t count;

	if (!cell)
		return true;
	hosts = cell_hosts(cell, &count);
	for (size_t i = 0; i < count; i++) {
		any |= hosts[i].kind == HOST_SERVER;
		known |= is_server_name(&hosts[i], name);
	}
	cell_free(&cell);
	return known || !any;
}

static int
check_reference(Operation *op, SlapReply *rs, AttributeDescription *description,
    BerVarray values)
{
	if (!values || !values[0].bv_val)
		return SLAP_CB_CONTINUE;
	if (description == attribute(ATTRIBUTE_POOL) &&
	    !exists(op, "(objectClass=postcellPool)", ATTRIBUTE_CN,
		bv_slice(&values[0]))) {
		rs->sr_text = "there is no pool of that name";
		return LDAP_CONSTRAINT_VIOLATION;
	}
	if (description == attribute(ATTRIBUTE_MAIL_HOST) &&
	    !is_pin_known(op, bv_slice(&values[0]))) {
		rs->sr_text = "there is no server of that name";
		return LDAP_CONSTRAINT_VIOLATION;
	}
	return SLAP_CB_CONTINUE;
}

static int
check_references(Operation *op, SlapReply *rs)
{
	int code = SLAP_CB_CONTINUE;

	for (Modifications *mod = op->orm_modlist;
	     mod && code == SLAP_CB_CONTINUE; mod = mod->sml_next)
		if (mod->sml_op == LDAP_MOD_ADD ||
		    mod->sml_op == LDAP_MOD_REPLACE)
			code = check_reference(
			    op, rs, mod->sml_desc, mod->sml_values);
	return code;
}

static bool
changes_pool(const Modifications *mods)
{
	for (; mods; mods = mods->sml_next)
		if (mods->sml_desc == attribute(ATTRIBUTE_POOL))
			return true;
	return false;
}

static int
refuse_unsettled(SlapReply *rs, const struct host *host)
{
	if (host->kind != HOST_SERVER || change_is_settled(host, clock_us()))
		return SLAP_CB_CONTINUE;
	rs->sr_text =
	    "the server has to be down, and to have been for two minutes";
	return LDAP_UNWILLING_TO_PERFORM;
}

/* ---- hooks ---- */

static int
modify_host(Operation *op, SlapReply *rs, const struct cell *cell,
    const struct host *host, bool relaxed)
{
	const struct overlay *overlay = overlay_of(op);
	struct wish wish = { .state = host->state, .weight = host->weight };

	if (overlay->check_references && !relaxed &&
	    changes_pool(op->orm_modlist) &&
	    refuse_unsettled(rs, host) != SLAP_CB_CONTINUE)
		return LDAP_UNWILLING_TO_PERFORM;
	if (!overlay->keep_transitions)
		return SLAP_CB_CONTINUE;
	if (read_wish(&wish, op->orm_modlist) < 0) {
		if (relaxed)
			return SLAP_CB_CONTINUE;
		rs->sr_text =
		    "postcellState is up, drain or down, postcellWeight 0 to 10000";
		return LDAP_CONSTRAINT_VIOLATION;
	}
	if (wish.changes && !wish.has_transition)
		follow_wish(op, cell, host, &wish);
	return SLAP_CB_CONTINUE;
}

bool
hosts_concern(const Modifications *mods)
{
	for (; mods; mods = mods->sml_next)
		if (mods->sml_desc == attribute(ATTRIBUTE_STATE) ||
		    mods->sml_desc == attribute(ATTRIBUTE_WEIGHT))
			return true;
	return false;
}

int
hosts_modify(Operation *op, SlapReply *rs, Entry *entry)
{
	const struct overlay *overlay = overlay_of(op);
	int code = SLAP_CB_CONTINUE;
	const struct host *host;
	enum host_kind kind;
	struct slice name;
	struct cell *cell;
	bool relaxed = directory_is_relaxed(op, entry);

	if (overlay->check_references && !relaxed)
		code = check_references(op, rs);
	if (code != SLAP_CB_CONTINUE || !map_host(entry, &kind, &name) ||
	    (!overlay->keep_transitions && !overlay->check_references))
		return code;
	cell = map_read(op);
	host = cell ? cell_host(cell, kind, name) : NULL;
	if (host)
		code = modify_host(op, rs, cell, host, relaxed);
	cell_free(&cell);
	return code;
}

/* In a new entry the first value stands for itself, lib/change.h. */
static int
add_transition(Operation *op, SlapReply *rs)
{
	Entry *entry = op->ora_e;
	struct wish wish = { 0 };
	struct transition value = { .time_us = clock_us() };
	struct buf text = buf_bounded(VALUE_MAX);
	struct berval octets;

	if (take_state(&wish, entry_first(entry, ATTRIBUTE_STATE)) < 0 ||
	    take_weight(&wish, entry_first(entry, ATTRIBUTE_WEIGHT)) < 0) {
		rs->sr_text =
		    "postcellState is up, drain or down, postcellWeight 0 to 10000";
		return LDAP_CONSTRAINT_VIOLATION;
	}
	value.state = wish.state;
	value.weight = wish.weight;
	if (transition_format(&text, &value) == 0) {
		octets = (struct berval){ text.size, text.data };
		(void)attr_merge_normalize_one(
		    entry, attribute(ATTRIBUTE_TRANSITION), &octets, NULL);
	}
	buf_free(&text);
	return SLAP_CB_CONTINUE;
}

int
hosts_add(Operation *op, SlapReply *rs)
{
	const struct overlay *overlay = overlay_of(op);
	Entry *entry = op->ora_e;
	bool checks =
	    overlay->check_references && !directory_is_relaxed(op, NULL);
	int code = SLAP_CB_CONTINUE;
	enum host_kind kind;
	struct slice name;

	for (Attribute *each = entry->e_attrs;
	     each && checks && code == SLAP_CB_CONTINUE; each = each->a_next)
		code = check_reference(op, rs, each->a_desc, each->a_vals);
	if (code == SLAP_CB_CONTINUE && overlay->keep_transitions &&
	    map_host(entry, &kind, &name) &&
	    !entry_values(entry, attribute(ATTRIBUTE_TRANSITION)))
		code = add_transition(op, rs);
	return code;
}

static int
remove_pool(Operation *op, SlapReply *rs, Entry *entry)
{
	struct slice name = entry_first(entry, ATTRIBUTE_CN);
	bool found = exists(op, "", ATTRIBUTE_POOL, name);

	if (!found &&
	    slice_is_nocase(entry_first(entry, ATTRIBUTE_DEFAULT), "TRUE"))
		(void)directory_search(op,
		    "(&(objectClass=postcellServer)(!(postcellPoolName=*)))", 1,
		    find_any, &found);
	if (!found)
		return SLAP_CB_CONTINUE;
	rs->sr_text = "accounts or servers belong to the pool";
	return LDAP_UNWILLING_TO_PERFORM;
}

int
hosts_remove(Operation *op, SlapReply *rs, Entry *entry)
{
	int code = SLAP_CB_CONTINUE;
	const struct host *host;
	struct slice name;
	enum host_kind kind;
	struct cell *cell;

	if (!overlay_of(op)->check_references ||
	    directory_is_relaxed(op, entry))
		return SLAP_CB_CONTINUE;
	if (entry_is(entry, CLASS_POOL))
		return remove_pool(op, rs, entry);
	if (!entry_is(entry, CLASS_SERVER) || !map_host(entry, &kind, &name))
		return SLAP_CB_CONTINUE;
	cell = map_read(op);
	host = cell ? cell_host(cell, kind, name) : NULL;
	if (host)
		code = refuse_unsettled(rs, host);
	cell_free(&cell);
	return code;
}
