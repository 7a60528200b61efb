#include "slapd-overlay/overlay.h"

#include <stdarg.h>
#include <time.h>

#include "lib/buf.h"
#include "lib/timestamp.h"

#define LOG_LINE_MAX 1024

/* ---- attributes and classes ---- */

enum need {
	NEED_ALWAYS,
	NEED_KERBEROS,
	NEED_NEVER
};

static const struct {
	const char *name;
	enum need need;
} attribute_rows[ATTRIBUTE_COUNT] = {
	[ATTRIBUTE_CN] = { "cn", NEED_ALWAYS },
	[ATTRIBUTE_UID] = { "uid", NEED_ALWAYS },
	[ATTRIBUTE_MAIL] = { "mail", NEED_ALWAYS },
	[ATTRIBUTE_MAIL_HOST] = { "mailHost", NEED_ALWAYS },
	[ATTRIBUTE_ADDRESS] = { "mailLocalAddress", NEED_ALWAYS },
	[ATTRIBUTE_POOL] = { "postcellPoolName", NEED_ALWAYS },
	[ATTRIBUTE_GROUP] = { "postcellGroup", NEED_ALWAYS },
	[ATTRIBUTE_MOVED] = { "postcellMoved", NEED_ALWAYS },
	[ATTRIBUTE_STATUS] = { "postcellStatus", NEED_ALWAYS },
	[ATTRIBUTE_RAMP] = { "postcellRamp", NEED_ALWAYS },
	[ATTRIBUTE_GUARD] = { "postcellGuard", NEED_ALWAYS },
	[ATTRIBUTE_FAILBACK] = { "postcellFailback", NEED_ALWAYS },
	[ATTRIBUTE_MAX_DOWN] = { "postcellMaxDown", NEED_ALWAYS },
	[ATTRIBUTE_AFFINITY] = { "postcellAffinity", NEED_ALWAYS },
	[ATTRIBUTE_DEFAULT] = { "postcellDefault", NEED_ALWAYS },
	[ATTRIBUTE_SERVICE] = { "postcellService", NEED_ALWAYS },
	[ATTRIBUTE_SITE] = { "postcellSite", NEED_ALWAYS },
	[ATTRIBUTE_STATE] = { "postcellState", NEED_ALWAYS },
	[ATTRIBUTE_WEIGHT] = { "postcellWeight", NEED_ALWAYS },
	[ATTRIBUTE_TRANSITION] = { "postcellTransition", NEED_ALWAYS },
	[ATTRIBUTE_PRINCIPAL] = { "krb5PrincipalName", NEED_KERBEROS },
	[ATTRIBUTE_KEYS] = { "postcellKeys", NEED_KERBEROS },
	[ATTRIBUTE_LOCKED] = { "postcellLocked", NEED_KERBEROS },
	[ATTRIBUTE_LAST_LOGIN] = { "postcellLastLogin", NEED_KERBEROS },
	[ATTRIBUTE_VALID_START] = { "krb5ValidStart", NEED_KERBEROS },
	[ATTRIBUTE_VALID_END] = { "krb5ValidEnd", NEED_KERBEROS },
	[ATTRIBUTE_PASSWORD_END] = { "krb5PasswordEnd", NEED_KERBEROS },
	[ATTRIBUTE_OLD_KEY] = { "krb5Key", NEED_KERBEROS },
	[ATTRIBUTE_OLD_KVNO] = { "krb5KeyVersionNumber", NEED_KERBEROS },
	[ATTRIBUTE_PWD_CHANGED] = { "pwdChangedTime", NEED_NEVER },
	[ATTRIBUTE_PWD_HISTORY] = { "pwdHistory", NEED_NEVER },
	[ATTRIBUTE_PWD_RESET] = { "pwdReset", NEED_NEVER },
};

static const char *const class_names[CLASS_COUNT] = {
	[CLASS_ACCOUNT] = "postcellAccount",
	[CLASS_POOL] = "postcellPool",
	[CLASS_SERVER] = "postcellServer",
	[CLASS_PROXY] = "postcellProxy",
	[CLASS_HOST] = "postcellHost",
	[CLASS_LOGIN] = "postcellLogin",
	[CLASS_PRINCIPAL] = "postcellPrincipal",
	[CLASS_OLD_ENTRY] = "krb5KDCEntry",
};

/* The schema is one for the whole of slapd, and so are these. */
static AttributeDescription *found[ATTRIBUTE_COUNT];
static ObjectClass *classes[CLASS_COUNT];

int
attributes_find(bool needs_kerberos, char *why, size_t size)
{
	for (size_t i = 0; i < ATTRIBUTE_COUNT; i++) {
		enum need need = attribute_rows[i].need;
		const char *text;

		if (found[i] || slap_str2ad(attribute_rows[i].name, &found[i],
				    &text) == LDAP_SUCCESS)
			continue;
		found[i] = NULL;
		if (need == NEED_NEVER ||
		    (need == NEED_KERBEROS && !needs_kerberos))
			continue;
		(void)snprintf(why, size,
		    "the schema has no %s: include misc.schema and postcell.schema%s",
		    attribute_rows[i].name,
		    need == NEED_KERBEROS
			? ", hdb.schema and postcell-kerberos.schema"
			: "");
		return -1;
	}
	for (size_t i = 0; i < CLASS_COUNT; i++)
		classes[i] = oc_find(class_names[i]);
	return 0;
}

AttributeDescription *
attribute(enum attribute which)
{
	return found[which];
}

AttributeDescription *
attribute_password(void)
{
	return slap_schema.si_ad_userPassword;
}

AttributeDescription *
attribute_class(void)
{
	return slap_schema.si_ad_objectClass;
}

bool
entry_is(Entry *entry, enum class which)
{
	return classes[which] && is_entry_objectclass(entry, classes[which], 0);
}

struct slice class_name(enum class which)
{
	return slice_from(class_names[which]);
}

struct slice
bv_slice(const struct berval *value)
{
	return slice_of(value->bv_val, value->bv_len);
}

BerVarray
entry_values(Entry *entry, AttributeDescription *description)
{
	Attribute *values =
	    description ? attr_find(entry->e_attrs, description) : NULL;

	return values ? values->a_vals : NULL;
}

struct slice
entry_first(Entry *entry, enum attribute which)
{
	BerVarray values = entry_values(entry, found[which]);

	return values ? bv_slice(&values[0]) : slice_from("");
}

int
entry_complete(Entry *entry)
{
	const char *text;
	char *rest;
	LDAPRDN rdn = NULL;
	int code = ldap_bv2rdn_x(
	    &entry->e_name, &rdn, &rest, LDAP_DN_FORMAT_LDAP, NULL);

	for (int i = 0; code == LDAP_SUCCESS && rdn[i]; i++) {
		AttributeDescription *description = NULL;

		code = slap_bv2ad(&rdn[i]->la_attr, &description, &text);
		if (code == LDAP_SUCCESS && !entry_values(entry, description))
			code = attr_merge_normalize_one(
			    entry, description, &rdn[i]->la_value, NULL);
	}
	if (rdn)
		ldap_rdnfree_x(rdn, NULL);
	return code;
}

struct slice
entry_id(Entry *entry)
{
	Attribute *id = attr_find(entry->e_attrs, slap_schema.si_ad_entryUUID);

	return id && id->a_nvals[0].bv_len == ACCOUNT_ID_SIZE
		   ? bv_slice(&id->a_nvals[0])
		   : slice_from("");
}

/* ---- reading and writing ---- */

static slap_overinst *
instance_of(Operation *op)
{
	return (slap_overinst *)(void *)op->o_bd->bd_info;
}

struct overlay *
overlay_of(Operation *op)
{
	return instance_of(op)->on_bi.bi_private;
}

Entry *
directory_read(Operation *op, struct berval *ndn)
{
	slap_overinst *instance = instance_of(op);
	BackendInfo *kept = op->o_bd->bd_info;
	Entry *entry = NULL, *copy = NULL;

	op->o_bd->bd_info = (BackendInfo *)(void *)instance->on_info;
	if (be_entry_get_rw(op, ndn, NULL, NULL, 0, &entry) == LDAP_SUCCESS &&
	    entry) {
		copy = entry_dup(entry);
		be_entry_release_r(op, entry);
	}
	op->o_bd->bd_info = kept;
	return copy;
}

/* Marks what we do ourselves. */
static int
ignore_reply(Operation *op, SlapReply *rs)
{
	(void)op;
	(void)rs;
	return 0;
}

struct search {
	directory_each *each;
	void *data;
	bool ended;
};

static int
take_entry(Operation *op, SlapReply *rs)
{
	struct search *search = op->o_callback->sc_private;

	if (rs->sr_type != REP_SEARCH || search->ended)
		return 0;
	search->ended = !search->each(rs->sr_entry, search->data);
	return search->ended ? LDAP_SIZELIMIT_EXCEEDED : 0;
}

bool
directory_is_own(Operation *op)
{
	for (slap_callback *each = op->o_callback; each; each = each->sc_next)
		if (each->sc_response == ignore_reply ||
		    each->sc_response == take_entry)
			return true;
	return false;
}

bool
directory_is_replicated(Operation *op)
{
	return SLAPD_SYNC_IS_SYNCCONN(op->o_connid);
}

bool
directory_has_overlay(Operation *op, const char *name)
{
	return overlay_is_inst(instance_of(op)->on_info->oi_origdb, name) != 0;
}

bool
directory_is_relaxed(Operation *op, Entry *entry)
{
	if (get_relax(op) <= SLAP_CONTROL_IGNORED)
		return false;
	if (!entry)
		return be_isroot(op);
	return access_allowed(op, entry, slap_schema.si_ad_entry, NULL,
		   ACL_MANAGE, NULL) != 0;
}

/* An operation of the directory itself, within that of a client. */
static void
start_own(Operation *own, Operation *op)
{
	slap_overinst *instance = instance_of(op);

	*own = *op;
	own->o_bd = instance->on_info->oi_origdb;
	own->o_dn = own->o_bd->be_rootdn;
	own->o_ndn = own->o_bd->be_rootndn;
	own->o_callback = NULL;
	own->o_ctrls = NULL;
	memset(own->o_ctrlflag, 0, sizeof(own->o_ctrlflag));
	own->o_managedsait = SLAP_CONTROL_NONCRITICAL;
	own->o_dont_replicate = 0;
}

int
directory_modify(
    Operation *op, struct berval *dn, struct berval *ndn, Modifications *mods)
{
	slap_callback callback = { NULL, ignore_reply, NULL, NULL, NULL };
	SlapReply rs = { .sr_type = REP_RESULT };
	Operation own;
	int code;

	start_own(&own, op);
	own.o_tag = LDAP_REQ_MODIFY;
	own.o_callback = &callback;
	own.o_req_dn = *dn;
	own.o_req_ndn = *ndn;
	memset(&own.o_request, 0, sizeof(own.o_request));
	own.orm_modlist = mods;
	code = own.o_bd->be_modify(&own, &rs);
	slap_mods_free(own.orm_modlist, 1);
	return code;
}

int
directory_search(Operation *op, const char *filter, size_t most,
    directory_each *each, void *data)
{
	struct search search = { each, data, false };
	slap_callback callback = { NULL, take_entry, NULL, &search, NULL };
	SlapReply rs = { .sr_type = REP_RESULT };
	Operation own;
	int code;

	start_own(&own, op);
	own.o_tag = LDAP_REQ_SEARCH;
	own.o_callback = &callback;
	own.o_req_dn = own.o_bd->be_suffix[0];
	own.o_req_ndn = own.o_bd->be_nsuffix[0];
	memset(&own.o_request, 0, sizeof(own.o_request));
	own.ors_scope = LDAP_SCOPE_SUBTREE;
	own.ors_deref = LDAP_DEREF_NEVER;
	own.ors_slimit = most > 0 ? (int)most : SLAP_NO_LIMIT;
	own.ors_tlimit = SLAP_NO_LIMIT;
	own.ors_filter = str2filter_x(&own, filter);
	if (!own.ors_filter)
		return LDAP_OTHER;
	ber_str2bv(filter, 0, 0, &own.ors_filterstr);
	code = own.o_bd->be_search(&own, &rs);
	filter_free_x(&own, own.ors_filter, 1);
	if (search.ended || code == LDAP_SIZELIMIT_EXCEEDED)
		return LDAP_SUCCESS;
	return code;
}

/* ---- modifications ---- */

static BerVarray
one_value(struct slice value)
{
	BerVarray values = ch_calloc(2, sizeof(struct berval));
	struct berval borrowed = { value.size, NULL };

	/* Only read; slapd's interface has no const. */
	memcpy(&borrowed.bv_val, &value.data, sizeof(borrowed.bv_val));
	ber_dupbv(&values[0], &borrowed);
	return values;
}

static int
normalise(Modifications *mod)
{
	AttributeType *type = mod->sml_desc->ad_type;
	MatchingRule *equality = type->sat_equality;

	if (!equality || !equality->smr_normalize)
		return 0;
	mod->sml_nvalues = ch_calloc(2, sizeof(struct berval));
	return ordered_value_normalize(SLAP_MR_VALUE_OF_ATTRIBUTE_SYNTAX,
		   mod->sml_desc, equality, &mod->sml_values[0],
		   &mod->sml_nvalues[0], NULL) == LDAP_SUCCESS
		   ? 0
		   : -1;
}

Modifications *
mod_new(AttributeDescription *description, int kind, struct slice value)
{
	Modifications *mod = ch_calloc(1, sizeof(*mod));

	mod->sml_op = (short)kind;
	mod->sml_flags = SLAP_MOD_INTERNAL;
	mod->sml_desc = description;
	mod->sml_type = description->ad_cname;
	if (!value.data)
		return mod;
	mod->sml_values = one_value(value);
	mod->sml_numvals = 1;
	if (normalise(mod) == 0)
		return mod;
	slap_mods_free(mod, 1);
	return NULL;
}

void
mods_append(Modifications **list, Modifications *mod)
{
	while (*list)
		list = &(*list)->sml_next;
	*list = mod;
}

void
mods_soften(Modifications *mods)
{
	for (; mods; mods = mods->sml_next) {
		if (!(mods->sml_flags & SLAP_MOD_INTERNAL))
			continue;
		if (mods->sml_op == LDAP_MOD_ADD)
			mods->sml_op = SLAP_MOD_SOFTADD;
		else if (mods->sml_op == LDAP_MOD_DELETE)
			mods->sml_op = SLAP_MOD_SOFTDEL;
	}
}

/* ---- clocks and log ---- */

int64_t
clock_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * TIMESTAMP_SECOND + now.tv_nsec / 1000;
}

int64_t
clock_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

int
clock_day(struct buf *out, int64_t moment_us)
{
	struct buf text = buf_bounded(32);
	int result = timestamp_format(&text, moment_us);

	if (result == 0) {
		buf_add_slice(out, slice_first(buf_slice(&text), 8));
		buf_add_string(out, "000000Z");
	}
	buf_free(&text);
	return result;
}

void
overlay_log(const char *format, ...)
{
	char line[LOG_LINE_MAX];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	Debug(LDAP_DEBUG_ANY, "postcell: %s\n", line);
}

static struct buf
make_line(const char *event, struct berval *dn, const char *why)
{
	struct buf line = buf_bounded(LOG_LINE_MAX - 32);

	(void)buf_printf(&line, "event=%s dn=", event);
	(void)buf_add_quoted(&line, bv_slice(dn));
	(void)buf_printf(&line, " why=\"%s\"", why);
	return line;
}

void
overlay_log_dn(const char *event, struct berval *dn, const char *why)
{
	struct buf line = make_line(event, dn, why);

	overlay_log("%s", buf_string(&line));
	buf_free(&line);
}

void
overlay_detail_dn(const char *event, struct berval *dn, const char *why)
{
	struct buf line;

	if (!LogTest(LDAP_DEBUG_STATS2))
		return;
	line = make_line(event, dn, why);
	Debug(LDAP_DEBUG_STATS2, "postcell: %s\n", buf_string(&line));
	buf_free(&line);
}
