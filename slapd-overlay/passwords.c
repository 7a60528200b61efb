#include "slapd-overlay/overlay.h"

#include <stdlib.h>

#include "lib/base64.h"
#include "lib/password.h"
#include "lib/timestamp.h"

#define SETS_MAX (KEYSET_VALUES_MAX * 2)

static const char scheme_text[] = "{K5KEY}";

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
	return slice_starts_nocase(value, scheme_text);
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

/* ---- what is written ---- */

/* A new password as it goes into the entry. Owned. */
struct made {
	struct buf keys;     /* the value of postcellKeys */
	struct buf password; /* the value of userPassword */
};

static void
made_free(struct made *made)
{
	buf_wipe(&made->keys);
	buf_wipe(&made->password);
}

/* What stands in userPassword can be checked by itself: the first key. */
static int
make_text(struct made *made, const struct keyset *set)
{
	made->password = buf_bounded(KEYSET_SIZE_MAX);
	buf_add_string(&made->password, scheme_text);
	return buf_add_slice(&made->password, set->keys[0]);
}

static uint32_t
old_kvno(Entry *entry)
{
	uint64_t number;

	return slice_to_uint(entry_first(entry, ATTRIBUTE_OLD_KVNO),
		   KEYSET_KVNO_MAX, &number) == 0
		   ? (uint32_t)number
		   : 0;
}

/*
 * Makes keys for the entry, which has these sets. `change` says what else is
 * to be done. 0; or -1 with *why (static text).
 */
static int
make(struct made *made, Operation *op, Entry *entry, const struct keyset *sets,
    size_t count, struct slice password, struct keyset_change *change,
    const char **why)
{
	const struct overlay *overlay = overlay_of(op);
	struct buf store = buf_bounded(KEYSET_SIZE_MAX);
	struct keyset set = { 0 };
	int result = -1;

	made->keys = buf_bounded(KEYSET_SIZE_MAX);
	made->password = buf_bounded(0);
	if (keyset_change_make(change, sets, count, old_kvno(entry), clock_us(),
		overlay->ticket_life * TIMESTAMP_SECOND, why) < 0)
		goto done;
	if (keys_make(overlay->keys, entry_first(entry, ATTRIBUTE_PRINCIPAL),
		entry_first(entry, ATTRIBUTE_UID), password, &set, &store,
		why) < 0)
		goto done;
	set.time_us = change->time_us;
	set.kvno = change->kvno;
	*why = "keys are too long";
	if (keyset_format(&made->keys, &set) == 0)
		result = make_text(made, &set);
done:
	buf_wipe(&store);
	return result;
}

/* Deletes, by value, all that stands in userPassword. */
static void
append_deletions(Modifications **mods, Entry *entry)
{
	BerVarray values = entry_values(entry, attribute_password());

	for (size_t i = 0; values && values[i].bv_val; i++)
		mods_append(mods, mod_new(attribute_password(), LDAP_MOD_DELETE,
				      bv_slice(&values[i])));
}

static void
append_keys(Modifications **mods, Entry *entry, const struct made *made,
    const struct keyset *sets, size_t superseded)
{
	AttributeDescription *keys = attribute(ATTRIBUTE_KEYS);

	if (!entry_is(entry, CLASS_LOGIN))
		mods_append(mods, mod_new(attribute_class(), LDAP_MOD_ADD,
				      class_name(CLASS_LOGIN)));
	mods_append(mods, mod_new(keys, LDAP_MOD_ADD, buf_slice(&made->keys)));
	for (size_t i = 0; i < superseded; i++)
		mods_append(mods, mod_new(keys, LDAP_MOD_DELETE, sets[i].text));
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

	append_deletions(&mods, entry);
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

	if (make(&made, op, entry, sets, count, asked->password, &step, text) ==
	    0) {
		drop_passwords(&op->orm_modlist, asked->added);
		put_deletions(op, entry);
		rewrite(asked->added, buf_slice(&made.password));
		append_keys(
		    &op->orm_modlist, entry, &made, sets, step.superseded);
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
	if (make_text(&made, &set) == 0) {
		append_deletions(&op->orm_modlist, entry);
		mods_append(&op->orm_modlist,
		    mod_new(attribute_password(), LDAP_MOD_ADD,
			buf_slice(&made.password)));
	}
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
	    make_text(&made, &newest) == 0) {
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
	if (make(&made, op, entry, NULL, 0, bv_slice(&values[0]), &step,
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

/* ---- migration ---- */

/*
 * It is no change of the password, so ppolicy, which takes it for one, must
 * neither ask for a new one nor count its age anew: what it finds written
 * already it leaves alone.
 */
static void
append_policy(Modifications **mods, Operation *op, Entry *entry)
{
	struct slice changed = entry_first(entry, ATTRIBUTE_PWD_CHANGED);
	struct slice reset = entry_first(entry, ATTRIBUTE_PWD_RESET);

	if (!directory_has_overlay(op, "ppolicy"))
		return;
	if (changed.size > 0)
		mods_append(mods, mod_new(attribute(ATTRIBUTE_PWD_CHANGED),
				      LDAP_MOD_REPLACE, changed));
	if (attribute(ATTRIBUTE_PWD_RESET))
		mods_append(mods,
		    mod_new(attribute(ATTRIBUTE_PWD_RESET), LDAP_MOD_REPLACE,
			reset.size > 0 ? reset : slice_from("FALSE")));
}

void
passwords_migrate(Operation *op, Entry *entry, struct slice password)
{
	struct keyset_change step;
	Modifications *mods = NULL;
	struct made made;
	const char *why;

	if (make(&made, op, entry, NULL, 0, password, &step, &why) < 0) {
		overlay_log_dn("migration_failed", &entry->e_name, why);
		made_free(&made);
		return;
	}
	append_deletions(&mods, entry);
	mods_append(&mods, mod_new(attribute_password(), LDAP_MOD_ADD,
			       buf_slice(&made.password)));
	append_keys(&mods, entry, &made, NULL, 0);
	append_policy(&mods, op, entry);
	/* Two first binds at one moment: the second finds no hash to delete. */
	if (directory_modify(op, &entry->e_name, &entry->e_nname, mods) ==
	    LDAP_SUCCESS)
		overlay_log_dn("migrated", &entry->e_name,
		    "keys were made at a bind by a hash");
	made_free(&made);
}

/* ---- the scheme ---- */

/* slapd asks for it without saying for which database. */
static struct keys *scheme_keys;

void
passwords_set_scheme_keys(struct keys *keys)
{
	scheme_keys = keys;
}

static int
check_scheme(const struct berval *scheme, const struct berval *stored,
    const struct berval *password, const char **text)
{
	struct buf der = buf_bounded(KEYSET_KEY_MAX);
	int code = LUTIL_PASSWD_ERR;

	(void)scheme;
	(void)text;
	if (scheme_keys &&
	    !password_fault(bv_slice(password), PASSWORD_SIZE_BOUND) &&
	    base64_decode(&der, bv_slice(stored)) == 0 &&
	    keys_check_one(scheme_keys, buf_slice(&der), slice_from(""),
		slice_from("-"), bv_slice(password)) == KEYS_RIGHT)
		code = LUTIL_PASSWD_OK;
	buf_wipe(&der);
	return code;
}

static int
hash_scheme(const struct berval *scheme, const struct berval *password,
    struct berval *hash, const char **text)
{
	struct buf value = buf_bounded(KEYSET_SIZE_MAX);
	struct berval made;
	int code = LUTIL_PASSWD_ERR;

	(void)scheme;
	*text = "no key can be made of the password";
	buf_add_string(&value, scheme_text);
	if (scheme_keys &&
	    !password_fault(bv_slice(password), PASSWORD_SIZE_BOUND) &&
	    keys_make_one(scheme_keys, bv_slice(password), &value) == 0) {
		made = (struct berval){ value.size, value.data };
		ber_dupbv(hash, &made);
		*text = NULL;
		code = LUTIL_PASSWD_OK;
	}
	buf_wipe(&value);
	return code;
}

int
passwords_register_scheme(void)
{
	static char name[sizeof(scheme_text)];
	static struct berval scheme = { sizeof(name) - 1, name };

	memcpy(name, scheme_text, sizeof(name));
	return lutil_passwd_add(&scheme, check_scheme, hash_scheme);
}
