#include "slapd-overlay/made.h"

#include <stdlib.h>

#include "lib/password.h"

#define SETS_MAX (KEYSET_VALUES_MAX * 2)

bool
passwords_managed(Entry *entry)
{
	return entry_is(entry, CLASS_ACCOUNT) || entry_is(entry, CLASS_LOGIN) ||
	       entry_is(entry, CLASS_OLD_ENTRY);
}

size_t
passwords_sets(Entry *entry, struct keyset *sets, size_t most)
{
	BerVarray values = entry_values(entry, attribute(ATTRIBUTE_KEYS));
	size_t count = 0;
	const char *why;

	for (size_t i = 0; values && values[i].bv_val && count < most; i++)
		if (keyset_parse(bv_slice(&values[i]), &sets[count], &why) == 0)
			count++;
	qsort(sets, count, sizeof(sets[0]), keyset_compare_any);
	return count;
}

static bool
is_key_text(struct slice value)
{
	return slice_starts_nocase(value, SCHEME_TEXT);
}

/* `{SCHEME}...` with a scheme that slapd knows: no password but a hash. */
static bool
is_hash(struct slice value)
{
	size_t end = slice_find(value, '}');
	char name[64];

	if (value.size == 0 || value.data[0] != '{' || end >= sizeof(name) - 1)
		return false;
	memcpy(name, value.data, end + 1);
	name[end + 1] = '\0';
	return lutil_passwd_scheme(name) != 0;
}

/* ---- modify ---- */

/* What a modify says about passwords. */
struct asked {
	bool changes;         /* userPassword is in it */
	bool is_exop;         /* Password Modify */
	Modifications *added; /* the one that brings a value */
	size_t values;        /* how many values are brought */
	bool raw_keys;        /* postcellKeys is in it */
	bool replaces_keys;
	bool classes;          /* objectClass is in it */
	bool ends;             /* krb5PasswordEnd is in it */
	struct slice password; /* the new one */
	struct slice key_set;  /* the newest that is added; empty for none */
};

static bool
adds(const Modifications *mod)
{
	return (mod->sml_op == LDAP_MOD_ADD ||
		   mod->sml_op == LDAP_MOD_REPLACE) &&
	       mod->sml_values && mod->sml_values[0].bv_val;
}

/* passwd.c leaves the request where the modify that it makes can find it. */
static req_pwdexop_s *
find_exop(Operation *op)
{
	for (slap_callback *each = op->o_callback; each; each = each->sc_next)
		if (each->sc_response == slap_null_cb && each->sc_private)
			return each->sc_private;
	return NULL;
}

/* LDAP_SUCCESS, or why the keys that somebody brings are none. */
static int
read_raw_keys(struct asked *asked, const Modifications *mod, const char **text)
{
	struct keyset newest = { .time_us = -1 }, set;

	asked->raw_keys = true;
	asked->replaces_keys |=
	    mod->sml_op != LDAP_MOD_ADD &&
	    (mod->sml_op != LDAP_MOD_DELETE || !mod->sml_values);
	if (!adds(mod))
		return LDAP_SUCCESS;
	for (size_t i = 0; mod->sml_values[i].bv_val; i++) {
		if (keyset_parse(bv_slice(&mod->sml_values[i]), &set, text) < 0)
			return LDAP_INVALID_SYNTAX;
		if (keyset_compare(&newest, &set) < 0)
			newest = set;
	}
	asked->key_set = newest.text;
	return LDAP_SUCCESS;
}

static int
read_asked(struct asked *asked, Operation *op, const char **text)
{
	req_pwdexop_s *exop = find_exop(op);

	*asked = (struct asked){ .is_exop = exop != NULL };
	for (Modifications *mod = op->orm_modlist; mod; mod = mod->sml_next) {
		int code = LDAP_SUCCESS;

		if (mod->sml_desc == attribute(ATTRIBUTE_KEYS))
			code = read_raw_keys(asked, mod, text);
		if (code != LDAP_SUCCESS)
			return code;
		asked->classes |= mod->sml_desc == attribute_class();
		asked->ends |=
		    mod->sml_desc == attribute(ATTRIBUTE_PASSWORD_END);
		if (mod->sml_desc != attribute_password())
			continue;
		asked->changes = true;
		if (!adds(mod))
			continue;
		asked->added = mod;
		asked->values += mod->sml_numvals;
		asked->password = bv_slice(&mod->sml_values[0]);
	}
	/* There may be a hash for each configured scheme; we need none. */
	if (exop && asked->added) {
		asked->password = bv_slice(&exop->rs_new);
		asked->values = 1;
	}
	return LDAP_SUCCESS;
}

bool
passwords_concern(const Modifications *mods)
{
	for (; mods; mods = mods->sml_next)
		if (mods->sml_desc == attribute_password() ||
		    mods->sml_desc == attribute(ATTRIBUTE_KEYS))
			return true;
	return false;
}

/*
 * Two providers that make keys at one moment add the same class, and with
 * ppolicy the same old hash to the history. slapd takes a value that is there
 * already for an error, and leaves the whole of such a write out; one that is
 * gone already it lets pass. The two attributes are those that only grow.
 */
void
passwords_soften(Modifications *mods)
{
	for (; mods; mods = mods->sml_next)
		if (mods->sml_op == LDAP_MOD_ADD &&
		    (mods->sml_desc == attribute_class() ||
			mods->sml_desc == attribute(ATTRIBUTE_PWD_HISTORY)))
			mods->sml_op = SLAP_MOD_SOFTADD;
}

/* Whether the value stands in the entry as it is. */
static bool
stands_there(Entry *entry, const struct berval *value)
{
	BerVarray values = entry_values(entry, attribute_password());

	for (size_t i = 0; values && values[i].bv_val; i++)
		if (slice_equal(bv_slice(&values[i]), bv_slice(value)))
			return true;
	return false;
}

/* A value that is deleted by itself is the old password, or its stored form. */
static int
check_deletions(Operation *op, Entry *entry, const char **text)
{
	for (Modifications *mod = op->orm_modlist; mod; mod = mod->sml_next) {
		if (mod->sml_desc != attribute_password() ||
		    mod->sml_op != LDAP_MOD_DELETE || !mod->sml_values)
			continue;
		for (size_t i = 0; mod->sml_values[i].bv_val; i++) {
			int code;

			if (stands_there(entry, &mod->sml_values[i]))
				continue;
			code = login_check_old(
			    op, entry, bv_slice(&mod->sml_values[i]), text);
			if (code != LDAP_SUCCESS)
				return code;
		}
	}
	return LDAP_SUCCESS;
}

/* A session may be older than the reason for which nobody would get in now. */
static int
check_own(Operation *op, Entry *entry, const char **text)
{
	struct standing standing;

	if (!dn_match(&op->o_ndn, &entry->e_nname))
		return LDAP_SUCCESS;
	standing = standing_find(op, entry, STANDING_CHANGE, clock_us());
	if (!standing.why)
		return LDAP_SUCCESS;
	overlay_log_dn("refused", &entry->e_name, standing.why);
	*text = standing.said ? standing.said : standing.why;
	return LDAP_INSUFFICIENT_ACCESS;
}

/* LDAP_SUCCESS when the modify may go on to have keys made. */
static int
judge(const struct asked *asked, Operation *op, Entry *entry, bool has_keys,
    const char **text)
{
	const struct overlay *overlay = overlay_of(op);

	if (asked->raw_keys) {
		*text = "userPassword is written with postcellKeys by itself";
		return LDAP_CONSTRAINT_VIOLATION;
	}
	if (!asked->added) {
		*text =
		    "an account with keys keeps its password: set postcellStatus";
		return LDAP_UNWILLING_TO_PERFORM;
	}
	if (asked->values != 1) {
		*text = "an account has one password";
		return LDAP_CONSTRAINT_VIOLATION;
	}
	if (!asked->is_exop && is_hash(asked->password)) {
		*text = has_keys
			    ? "keys cannot be made of a hash: give the password"
			    : "{K5KEY} is written by the directory itself";
		return LDAP_CONSTRAINT_VIOLATION;
	}
	*text = password_fault(asked->password, overlay->password_max);
	if (*text)
		return LDAP_CONSTRAINT_VIOLATION;
	return check_deletions(op, entry, text);
}

/* Takes what the client said of userPassword out of the list, but for `kept`.
 */
static void
drop_passwords(Modifications **list, const Modifications *kept)
{
	while (*list) {
		Modifications *mod = *list;

		if (mod->sml_desc != attribute_password() || mod == kept) {
			list = &mod->sml_next;
			continue;
		}
		*list = mod->sml_next;
		mod->sml_next = NULL;
		slap_mods_free(mod, 1);
	}
}

/*
 * The value that the client brought becomes ours, and is added: access control
 * looks at it as at the client's. Its octets are a secret.
 */
static void
rewrite(Modifications *mod, struct slice value)
{
	Modifications *ours =
	    mod_new(attribute_password(), LDAP_MOD_ADD, value);

	for (size_t i = 0; mod->sml_values[i].bv_val; i++)
		explicit_bzero(
		    mod->sml_values[i].bv_val, mod->sml_values[i].bv_len);
	ber_bvarray_free(mod->sml_values);
	if (mod->sml_nvalues)
		ber_bvarray_free(mod->sml_nvalues);
	mod->sml_values = ours->sml_values;
	mod->sml_nvalues = NULL;
	mod->sml_numvals = 1;
	mod->sml_op = LDAP_MOD_ADD;
	ours->sml_values = NULL;
	slap_mods_free(ours, 1);
}

/* Puts deletions in front of the value that takes their place. */
static void
put_deletions(Operation *op, Entry *entry)
{
	Modifications *mods = NULL;

	made_append_deletions(&mods, entry);
	if (!mods)
		return;
	mods_append(&mods, op->orm_modlist);
	op->orm_modlist = mods;
}

static int
change(Operation *op, Entry *entry, const struct asked *asked,
    const struct keyset *sets, size_t count, const char **text)
{
	struct keyset_change step;
	int code = LDAP_OTHER;
	struct made made;

	if (made_make(&made, op, entry, sets, count, asked->password, &step,
		text) == 0) {
		drop_passwords(&op->orm_modlist, asked->added);
		put_deletions(op, entry);
		rewrite(asked->added, buf_slice(&made.password));
		made_append_keys(
		    &op->orm_modlist, entry, &made, sets, step.superseded);
		if (!asked->ends)
			made_append_end(&op->orm_modlist, op, entry);
		code = SLAP_CB_CONTINUE;
	}
	made_free(&made);
	return code;
}

/* Whoever brings keys, a KDC, leaves the rest of the entry to us. */
static int
follow_keys(Operation *op, Entry *entry, const struct asked *asked)
{
	struct made made = { .keys = buf_bounded(0) };
	struct keyset set;
	const char *why;

	if (asked->key_set.size == 0 || entry_is(entry, CLASS_PRINCIPAL) ||
	    keyset_parse(asked->key_set, &set, &why) < 0)
		return SLAP_CB_CONTINUE;
	if (!entry_is(entry, CLASS_LOGIN) && !asked->classes)
		mods_append(
		    &op->orm_modlist, mod_new(attribute_class(), LDAP_MOD_ADD,
					  class_name(CLASS_LOGIN)));
	if (made_text(&made, &set) == 0)
		made_append_text(&op->orm_modlist, entry, &made);
	made_free(&made);
	return SLAP_CB_CONTINUE;
}

int
passwords_modify(Operation *op, SlapReply *rs, Entry *entry)
{
	const struct overlay *overlay = overlay_of(op);
	struct keyset sets[SETS_MAX];
	struct asked asked;
	size_t count;
	int code;

	if (!overlay->keys || !passwords_managed(entry))
		return SLAP_CB_CONTINUE;
	code = read_asked(&asked, op, &rs->sr_text);
	if (code == LDAP_SUCCESS && (asked.changes || asked.raw_keys))
		code = check_own(op, entry, &rs->sr_text);
	if (code != LDAP_SUCCESS)
		return code;
	if (asked.replaces_keys) {
		rs->sr_text =
		    "postcellKeys is changed by adding and deleting values";
		return LDAP_UNWILLING_TO_PERFORM;
	}
	if (asked.raw_keys && !asked.changes)
		return follow_keys(op, entry, &asked);
	if (!asked.changes)
		return SLAP_CB_CONTINUE;
	count = passwords_sets(entry, sets, ARRAY_SIZE(sets));
	/* Without keys a hash may come, for a first bind to make keys of, and
	 * go. */
	if (count == 0 && !asked.raw_keys && !asked.is_exop &&
	    (!asked.added ||
		(is_hash(asked.password) && !is_key_text(asked.password))))
		return SLAP_CB_CONTINUE;
	code = judge(&asked, op, entry, count > 0, &rs->sr_text);
	if (code != LDAP_SUCCESS)
		return code;
	return change(op, entry, &asked, sets, count, &rs->sr_text);
}

/* ---- Password Modify ---- */

static int
check_exop(Operation *op, req_pwdexop_s *exop, Entry *entry, const char **text)
{
	const struct overlay *overlay = overlay_of(op);
	int code;

	*text = password_fault(bv_slice(&exop->rs_new), overlay->password_max);
	if (*text)
		return LDAP_CONSTRAINT_VIOLATION;
	if (!exop->rs_old.bv_val)
		return SLAP_CB_CONTINUE;
	code = login_check_old(op, entry, bv_slice(&exop->rs_old), text);
	if (code != LDAP_SUCCESS)
		return code;
	/* slapd itself would look for it in userPassword and nowhere else. */
	if (!entry_values(entry, attribute_password()))
		BER_BVZERO(&exop->rs_old);
	return SLAP_CB_CONTINUE;
}

int
passwords_extended(Operation *op, SlapReply *rs)
{
	const struct overlay *overlay = overlay_of(op);
	int code = SLAP_CB_CONTINUE;
	Entry *entry;

	if (!overlay->keys ||
	    ber_bvcmp(&slap_EXOP_MODIFY_PASSWD, &op->ore_reqoid) != 0)
		return SLAP_CB_CONTINUE;
	entry = directory_read(op, &op->o_req_ndn);
	if (!entry)
		return SLAP_CB_CONTINUE;
	if (passwords_managed(entry))
		code = check_exop(op, &op->oq_pwdexop, entry, &rs->sr_text);
	entry_free(entry);
	return code;
}

/* ---- add ---- */

/* An entry that comes with keys, a backup or a KDC's, gets the text for them.
 */
static int
add_with_keys(Entry *entry, const char **text)
{
	BerVarray values = entry_values(entry, attribute(ATTRIBUTE_KEYS));
	struct made made = { .keys = buf_bounded(0) };
	struct keyset newest = { .time_us = -1 }, set;
	struct berval value;

	for (size_t i = 0; values[i].bv_val; i++) {
		if (keyset_parse(bv_slice(&values[i]), &set, text) < 0)
			return LDAP_INVALID_SYNTAX;
		if (keyset_compare(&newest, &set) < 0)
			newest = set;
	}
	/* A service has keys and no password. */
	if (!entry_is(entry, CLASS_PRINCIPAL) &&
	    made_text(&made, &newest) == 0) {
		value =
		    (struct berval){ made.password.size, made.password.data };
		(void)attr_delete(&entry->e_attrs, attribute_password());
		(void)attr_merge_one(entry, attribute_password(), &value, NULL);
	}
	made_free(&made);
	return SLAP_CB_CONTINUE;
}

static int
add_with_password(
    Operation *op, Entry *entry, BerVarray values, const char **text)
{
	const struct overlay *overlay = overlay_of(op);
	struct keyset_change step;
	struct berval value, keys;
	struct made made;
	int code = LDAP_OTHER;

	*text = password_fault(bv_slice(&values[0]), overlay->password_max);
	if (*text || values[1].bv_val) {
		if (!*text)
			*text = "an account has one password";
		return LDAP_CONSTRAINT_VIOLATION;
	}
	if (made_make(&made, op, entry, NULL, 0, bv_slice(&values[0]), &step,
		text) == 0) {
		value =
		    (struct berval){ made.password.size, made.password.data };
		keys = (struct berval){ made.keys.size, made.keys.data };
		explicit_bzero(values[0].bv_val, values[0].bv_len);
		ber_memfree(values[0].bv_val);
		ber_dupbv(&values[0], &value);
		(void)attr_merge_one(
		    entry, attribute(ATTRIBUTE_KEYS), &keys, NULL);
		code = SLAP_CB_CONTINUE;
	}
	made_free(&made);
	return code;
}

int
passwords_add(Operation *op, SlapReply *rs)
{
	Entry *entry = op->ora_e;
	BerVarray values;
	int code;

	if (!overlay_of(op)->keys || !passwords_managed(entry))
		return SLAP_CB_CONTINUE;
	if (entry_values(entry, attribute(ATTRIBUTE_KEYS)))
		return add_with_keys(entry, &rs->sr_text);
	values = entry_values(entry, attribute_password());
	if (!values || is_hash(bv_slice(&values[0])))
		return SLAP_CB_CONTINUE;
	code = add_with_password(op, entry, values, &rs->sr_text);
	if (code == SLAP_CB_CONTINUE && !entry_is(entry, CLASS_LOGIN)) {
		char name[32];
		struct slice class = class_name(CLASS_LOGIN);
		struct berval value = { class.size, name };

		memcpy(name, class.data, class.size + 1);
		(void)attr_merge_one(entry, attribute_class(), &value, NULL);
		entry->e_ocflags = 0;
	}
	return code;
}
