/*
 * module: what slapd loads, and where its operations come in.
 */
#include "slapd-overlay/overlay.h"

#include <stdlib.h>

#include <slapd_upstream.h>

#define WHY_MAX 512

/* slapd's name for where a module begins. */
__attribute__((visibility("default"))) int init_module(int argc, char *argv[]);

/* An answer of ours, sent to the client. */
static int
answer(Operation *op, SlapReply *rs, int code)
{
	slap_overinst *instance = (slap_overinst *)(void *)op->o_bd->bd_info;
	const char *text = rs->sr_text;

	op->o_bd->bd_info = (BackendInfo *)(void *)instance->on_info;
	send_ldap_error(op, rs, (ber_int_t)code, text);
	return rs->sr_err;
}

static int
on_bind(Operation *op, SlapReply *rs)
{
	int code = login_bind(op, rs);

	if (code == SLAP_CB_CONTINUE)
		return SLAP_CB_CONTINUE;
	/* slapd itself tells of success. */
	if (code == LDAP_SUCCESS)
		return rs->sr_err = LDAP_SUCCESS;
	return answer(op, rs, code);
}

static bool
is_not_ours(Operation *op)
{
	return directory_is_replicated(op) || directory_is_own(op);
}

typedef int hook(Operation *op, SlapReply *rs, Entry *entry);

/* Each looks at the entry as it is before the operation. */
static int
run(Operation *op, SlapReply *rs, hook *const *hooks, size_t count)
{
	int code = SLAP_CB_CONTINUE;
	Entry *entry;

	if (is_not_ours(op))
		return SLAP_CB_CONTINUE;
	entry = directory_read(op, &op->o_req_ndn);
	if (!entry)
		return SLAP_CB_CONTINUE;
	for (size_t i = 0; i < count && code == SLAP_CB_CONTINUE; i++)
		code = hooks[i](op, rs, entry);
	entry_free(entry);
	return code == SLAP_CB_CONTINUE ? code : answer(op, rs, code);
}

static int
on_modify(Operation *op, SlapReply *rs)
{
	static hook *const hooks[] = { hosts_modify, passwords_modify,
		names_modify };
	int code = SLAP_CB_CONTINUE;

	if (directory_is_replicated(op)) {
		passwords_soften(op->orm_modlist);
		return SLAP_CB_CONTINUE;
	}
	if (directory_is_own(op))
		return SLAP_CB_CONTINUE;
	if (passwords_concern(op->orm_modlist) ||
	    hosts_concern(op->orm_modlist))
		code = turns_take(op, rs);
	if (code != SLAP_CB_CONTINUE)
		return answer(op, rs, code);
	code = run(op, rs, hooks, ARRAY_SIZE(hooks));
	if (code == SLAP_CB_CONTINUE)
		mods_soften(op->orm_modlist);
	return code;
}

static int
on_delete(Operation *op, SlapReply *rs)
{
	static hook *const hooks[] = { hosts_remove };

	return run(op, rs, hooks, ARRAY_SIZE(hooks));
}

static int
on_rename(Operation *op, SlapReply *rs)
{
	static hook *const hooks[] = { hosts_remove, names_rename };

	return run(op, rs, hooks, ARRAY_SIZE(hooks));
}

static int
on_add(Operation *op, SlapReply *rs)
{
	int code;

	if (is_not_ours(op))
		return SLAP_CB_CONTINUE;
	code = entry_complete(op->ora_e);
	if (code == LDAP_SUCCESS)
		code = hosts_add(op, rs);
	if (code == SLAP_CB_CONTINUE)
		code = passwords_add(op, rs);
	if (code == SLAP_CB_CONTINUE)
		code = names_add(op, rs);
	return code == SLAP_CB_CONTINUE ? code : answer(op, rs, code);
}

/* Extended operations are answered by slapd. */
static int
on_extended(Operation *op, SlapReply *rs)
{
	int code = passwords_extended(op, rs);

	if (code != SLAP_CB_CONTINUE)
		rs->sr_err = code;
	return code;
}

static int
on_operational(Operation *op, SlapReply *rs)
{
	return shown_operational(op, rs);
}

/* ---- life of a database ---- */

static slap_overinst *
instance_of(BackendDB *db)
{
	return (slap_overinst *)(void *)db->bd_info;
}

static int
on_init(BackendDB *db, ConfigReply *reply)
{
	struct overlay *overlay = calloc(1, sizeof(*overlay));

	(void)reply;
	if (!overlay)
		return -1;
	config_init(overlay);
	instance_of(db)->on_bi.bi_private = overlay;
	return 0;
}

static int
on_open(BackendDB *db, ConfigReply *reply)
{
	slap_overinst *instance = instance_of(db);
	struct overlay *overlay = instance->on_bi.bi_private;
	BackendDB whole = *db;
	char why[WHY_MAX];
	int code;

	/* slapadd and its kin move entries as they are. */
	if (slapMode & SLAP_TOOL_MODE)
		return 0;
	whole.bd_info = (BackendInfo *)(void *)instance->on_info;
	code = overlay_open(overlay, &whole, why, sizeof(why));
	if (code == 0)
		return 0;
	overlay_log("%s", why);
	if (reply)
		(void)snprintf(reply->msg, sizeof(reply->msg), "%.200s", why);
	return -1;
}

static int
on_close(BackendDB *db, ConfigReply *reply)
{
	struct overlay *overlay = instance_of(db)->on_bi.bi_private;

	(void)reply;
	if (overlay->is_open)
		overlay_close(overlay);
	return 0;
}

static int
on_destroy(BackendDB *db, ConfigReply *reply)
{
	struct overlay *overlay = instance_of(db)->on_bi.bi_private;

	(void)reply;
	instance_of(db)->on_bi.bi_private = NULL;
	if (!overlay)
		return 0;
	if (overlay->is_open)
		overlay_close(overlay);
	config_free(overlay);
	free(overlay);
	return 0;
}

/* ---- being loaded ---- */

/*
 * Nothing else compares the structures that slapd and we share, so another
 * upstream version than the one whose headers we were built with is refused.
 * What the distribution appends to the version is its own.
 */
static bool
is_our_slapd(const char *version)
{
	static const char word[] = "slapd ";
	const char *found = strstr(version, word);
	size_t size = sizeof(SLAPD_UPSTREAM) - 1;
	char next;

	if (!found ||
	    strncmp(found + sizeof(word) - 1, SLAPD_UPSTREAM, size) != 0)
		return false;
	next = found[sizeof(word) - 1 + size];
	return next != '.' && (next < '0' || next > '9');
}

int
init_module(int argc, char *argv[])
{
	static slap_overinst postcell;
	static char name[] = "postcell";
	int code;

	(void)argc;
	(void)argv;
	if (!is_our_slapd(Versionstr)) {
		overlay_log("built for slapd %s, and this is%s", SLAPD_UPSTREAM,
		    Versionstr);
		return -1;
	}
	postcell.on_bi.bi_type = name;
	postcell.on_bi.bi_db_init = on_init;
	postcell.on_bi.bi_db_open = on_open;
	postcell.on_bi.bi_db_close = on_close;
	postcell.on_bi.bi_db_destroy = on_destroy;
	postcell.on_bi.bi_op_bind = on_bind;
	postcell.on_bi.bi_op_modify = on_modify;
	postcell.on_bi.bi_op_add = on_add;
	postcell.on_bi.bi_op_delete = on_delete;
	postcell.on_bi.bi_op_modrdn = on_rename;
	postcell.on_bi.bi_extended = on_extended;
	postcell.on_bi.bi_operational = on_operational;
	code = shown_register();
	if (code == 0)
		code = scheme_register();
	if (code == 0)
		code = config_register();
	if (code == 0) {
		/* The one type serves all databases. */
		postcell.on_bi.bi_cf_ocs = config_classes();
		code = overlay_register(&postcell);
	}
	return code;
}
