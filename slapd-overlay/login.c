#include "slapd-overlay/overlay.h"

#include "lib/buf.h"
#include "lib/password.h"
#include "lib/timestamp.h"

/* ---- verifying ---- */

/* Keys as Heimdal's own back end for LDAP keeps them. */
static enum keys_verdict
check_old_keys(
    const struct overlay *overlay, Entry *entry, struct slice password)
{
	BerVarray values = entry_values(entry, attribute(ATTRIBUTE_OLD_KEY));
	enum keys_verdict verdict = KEYS_UNUSABLE;

	for (size_t i = 0; values[i].bv_val && verdict == KEYS_UNUSABLE; i++)
		verdict = keys_check_one(overlay->keys, bv_slice(&values[i]),
		    entry_first(entry, ATTRIBUTE_PRINCIPAL),
		    entry_first(entry, ATTRIBUTE_UID), password);
	return verdict;
}

/* A right password is remembered for a while under what it was right for. */
static enum keys_verdict
check_set(const struct overlay *overlay, Entry *entry, const struct keyset *set,
    struct slice password)
{
	const struct slice parts[] = { bv_slice(&entry->e_nname), set->text,
		password };
	unsigned char digest[KEYS_DIGEST_SIZE];
	enum keys_verdict verdict;

	if (overlay->memory) {
		keys_digest(
		    slice_of(overlay->memory_key, sizeof(overlay->memory_key)),
		    parts, ARRAY_SIZE(parts), digest);
		if (memory_knows(overlay->memory, digest, clock_ms()))
			return KEYS_RIGHT;
	}
	verdict = keys_check(overlay->keys, set,
	    entry_first(entry, ATTRIBUTE_PRINCIPAL),
	    entry_first(entry, ATTRIBUTE_UID), password);
	if (verdict == KEYS_RIGHT && overlay->memory)
		memory_learn(overlay->memory, digest, clock_ms());
	return verdict;
}

/* *by_hash: the account has no keys of ours yet. */
static enum keys_verdict
check_password(
    Operation *op, Entry *entry, struct berval *password, bool *by_hash)
{
	const struct overlay *overlay = overlay_of(op);
	struct keyset sets[KEYSET_VALUES_MAX * 2];
	size_t count = passwords_sets(entry, sets, ARRAY_SIZE(sets));

	*by_hash = false;
	if (count > 0)
		return check_set(
		    overlay, entry, &sets[count - 1], bv_slice(password));
	*by_hash = true;
	if (entry_values(entry, attribute(ATTRIBUTE_OLD_KEY)))
		return check_old_keys(overlay, entry, bv_slice(password));
	return hashes_check(op, entry, password);
}

/* The same, counted: no more than the limit are ever looked at. */
static enum keys_verdict
check_counted(Operation *op, Entry *entry, struct berval *password,
    int64_t forgiven_us, bool *by_hash)
{
	const struct overlay *overlay = overlay_of(op);
	struct lockout_policy policy = {
		overlay->lockout_memory ? overlay->lockout_limit : 0,
		overlay->lockout_window * (uint64_t)TIMESTAMP_SECOND
	};
	struct lockout_attempt attempt = { 0 };
	struct slice id = entry_id(entry);
	int64_t now_us = clock_us();
	enum keys_verdict verdict;

	*by_hash = false;
	if (overlay->lockout_memory && id.size > 0 &&
	    !lockout_reserve(&overlay->lockout, lockout_key(id), &policy,
		now_us, forgiven_us, &attempt))
		return KEYS_WRONG;
	verdict = check_password(op, entry, password, by_hash);
	if (verdict != KEYS_WRONG)
		lockout_release(&overlay->lockout, &attempt);
	else if (attempt.counted &&
		 lockout_fail(&overlay->lockout, &policy, &attempt))
		standing_lock(op, entry, now_us);
	return verdict;
}

/* ---- after it was right ---- */

/* The day alone, so that a busy account is written once a day. */
static void
note_login(Operation *op, Entry *entry)
{
	struct slice last = entry_first(entry, ATTRIBUTE_LAST_LOGIN);
	struct buf day = buf_bounded(32);
	Modifications *mods = NULL;

	/* Of one form, so that text compares as time does. */
	if (clock_day(&day, clock_us()) == 0 &&
	    slice_compare(last, buf_slice(&day)) < 0) {
		mods_append(&mods, mod_new(attribute(ATTRIBUTE_LAST_LOGIN),
				       LDAP_MOD_REPLACE, buf_slice(&day)));
		(void)directory_modify(
		    op, &entry->e_name, &entry->e_nname, mods);
	}
	buf_free(&day);
}

/*
 * Whoever is refused without a key having been made of the password waits as
 * long as if one had, so that the time tells nobody who has an account, and in
 * which state. `derived` is what keys_derived() was.
 */
static void
even_out(
    Operation *op, struct slice password, struct berval *dn, uint64_t derived)
{
	struct keys *keys = overlay_of(op)->keys;

	if (keys_derived(keys) != derived) {
		overlay_detail_dn("derived", dn, "to be compared");
		return;
	}
	keys_pretend(keys, password);
	overlay_detail_dn("derived", dn, "for nobody");
}

static int
answer(Operation *op, SlapReply *rs, Entry *entry, enum keys_verdict verdict,
    bool by_hash)
{
	const struct overlay *overlay = overlay_of(op);

	switch (verdict) {
	case KEYS_RIGHT:
		if (by_hash)
			migrate_hash(op, entry, bv_slice(&op->orb_cred));
		if (overlay->last_login && entry_is(entry, CLASS_LOGIN))
			note_login(op, entry);
		ber_dupbv(&op->orb_edn, &entry->e_name);
		return LDAP_SUCCESS;
	case KEYS_WRONG:
		return LDAP_INVALID_CREDENTIALS;
	case KEYS_UNUSABLE:
		break;
	}
	overlay_log_dn("unusable", &entry->e_name,
	    "what is stored of the password cannot be used");
	rs->sr_text = "password cannot be checked now";
	return LDAP_UNAVAILABLE;
}

static int
bind_entry(Operation *op, SlapReply *rs, Entry *entry, const char *fault)
{
	struct standing standing =
	    standing_find(op, entry, STANDING_LOGIN, clock_us());
	const char *why = standing.why ? standing.why : fault;
	bool by_hash;
	enum keys_verdict verdict;

	if (!why && !access_allowed(
			op, entry, attribute_password(), NULL, ACL_AUTH, NULL))
		why = "access control gives no right to authenticate";
	if (why) {
		overlay_log_dn("refused", &entry->e_name, why);
		rs->sr_text = standing.said;
		return LDAP_INVALID_CREDENTIALS;
	}
	verdict = check_counted(
	    op, entry, &op->orb_cred, standing.forgiven_us, &by_hash);
	return answer(op, rs, entry, verdict, by_hash);
}

/* slapd itself answers for all others, and at once where it finds nothing. */
static bool
is_refused(int code, Entry *entry)
{
	if (code == SLAP_CB_CONTINUE)
		return !entry || !entry_values(entry, attribute_password());
	return code == LDAP_INVALID_CREDENTIALS;
}

int
login_bind(Operation *op, SlapReply *rs)
{
	const struct overlay *overlay = overlay_of(op);
	int code = SLAP_CB_CONTINUE;
	const char *fault;
	uint64_t derived;
	Entry *entry;

	if (!overlay->keys || op->orb_method != LDAP_AUTH_SIMPLE ||
	    be_isroot_dn(op->o_bd, &op->o_req_ndn))
		return SLAP_CB_CONTINUE;
	fault = password_fault(bv_slice(&op->orb_cred), overlay->password_max);
	derived = keys_derived(overlay->keys);
	entry = directory_read(op, &op->o_req_ndn);
	if (entry && passwords_managed(entry))
		code = bind_entry(op, rs, entry, fault);
	if (!fault && is_refused(code, entry))
		even_out(op, bv_slice(&op->orb_cred), &op->o_req_dn, derived);
	if (entry)
		entry_free(entry);
	return code;
}

int
login_check_old(
    Operation *op, Entry *entry, struct slice password, const char **text)
{
	const struct overlay *overlay = overlay_of(op);
	struct buf copy = buf_bounded(PASSWORD_SIZE_BOUND);
	int code = LDAP_INVALID_CREDENTIALS;
	uint64_t derived = keys_derived(overlay->keys);
	struct standing standing;
	struct berval value;
	bool by_hash;

	*text = "old password is wrong";
	if (password_fault(password, overlay->password_max) ||
	    buf_add_slice(&copy, password) < 0)
		return code;
	standing = standing_find(op, entry, STANDING_LOGIN, clock_us());
	if (standing.why) {
		if (standing.said)
			*text = standing.said;
		goto done;
	}
	value = (struct berval){ copy.size, copy.data };
	switch (
	    check_counted(op, entry, &value, standing.forgiven_us, &by_hash)) {
	case KEYS_RIGHT:
		*text = NULL;
		code = LDAP_SUCCESS;
		break;
	case KEYS_WRONG:
		break;
	case KEYS_UNUSABLE:
		*text = "password cannot be checked now";
		code = LDAP_UNAVAILABLE;
	}
done:
	if (code == LDAP_INVALID_CREDENTIALS)
		even_out(op, password, &entry->e_name, derived);
	buf_wipe(&copy);
	return code;
}
