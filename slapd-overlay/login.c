#include "slapd-overlay/overlay.h"

#include "lib/account.h"
#include "lib/buf.h"
#include "lib/locked.h"
#include "lib/password.h"
#include "lib/timestamp.h"

#define LOCKS_MAX 64 /* values of postcellLocked that are looked at */

/* Costs that a stored hash may ask for; beyond, it is a mistake or an attack.
 */
#define CRYPT_ROUNDS_MAX 1000000
#define BCRYPT_COST_MAX  14
#define YESCRYPT_N_MAX   'D'

#define NOT_ALLOWED "invalid credentials"

/* ---- status, expiry, locks ---- */

/* True when the attribute has a moment and cannot be read or is past it. */
static bool
is_after(Entry *entry, enum attribute which, int64_t now_us, bool *there)
{
	struct slice text = entry_first(entry, which);
	int64_t moment_us;

	*there = text.size > 0;
	return *there &&
	       (timestamp_parse(text, &moment_us) < 0 || now_us >= moment_us);
}

static bool
is_in_its_time(Entry *entry, int64_t now_us)
{
	bool there;

	if (!is_after(entry, ATTRIBUTE_VALID_START, now_us, &there) && there)
		return false;
	return !is_after(entry, ATTRIBUTE_VALID_END, now_us, &there) &&
	       !is_after(entry, ATTRIBUTE_PASSWORD_END, now_us, &there);
}

/* As lib/account.h reads it. */
static enum account_status
status_of(Entry *entry, struct slice *reason)
{
	struct slice text = entry_first(entry, ATTRIBUTE_STATUS);
	struct buf record = buf_bounded(text.size + 64);
	enum account_status status = ACCOUNT_DISABLED;
	struct account account;
	const char *why;

	*reason = slice_from("");
	if (text.size == 0)
		return ACCOUNT_ACTIVE;
	if (record_add(&record, ACCOUNT_UID, slice_from("x")) == 0 &&
	    record_add(&record, ACCOUNT_STATUS, text) == 0 &&
	    account_read(&account, buf_slice(&record), &why) == 0) {
		status = account.status;
		/* It is the end of the text, which outlives the record. */
		*reason = slice_from_offset(
		    text, text.size - account.status_reason.size);
	}
	buf_free(&record);
	return status;
}

static size_t
read_locks(Entry *entry, struct locked *locks, size_t most)
{
	BerVarray values = entry_values(entry, attribute(ATTRIBUTE_LOCKED));
	size_t count = 0;
	const char *why;

	for (size_t i = 0; values && values[i].bv_val && count < most; i++)
		if (locked_parse(bv_slice(&values[i]), &locks[count], &why) ==
		    0)
			count++;
	return count;
}

/* Before when failures do not count any more, lib/lockout.h. */
static int64_t
forgiven_until(const struct locked *newest)
{
	if (!newest)
		return 0;
	return newest->is_locked ? newest->until_us : newest->time_us;
}

/*
 * NULL when the account may try; else why not, for the log. What the client is
 * told goes to *said: never whether the password would have been right.
 */
static const char *
refusal(Operation *op, Entry *entry, int64_t now_us, int64_t *forgiven_us,
    const char **said)
{
	struct locked locks[LOCKS_MAX];
	const struct locked *newest =
	    locked_newest(locks, read_locks(entry, locks, LOCKS_MAX));
	enum account_status status;
	struct slice reason;

	*said = NOT_ALLOWED;
	*forgiven_us = forgiven_until(newest);
	status = status_of(entry, &reason);
	if (status == ACCOUNT_NOLOGIN && reason.size > 0) {
		char *copy = op->o_tmpalloc(reason.size + 1, op->o_tmpmemctx);

		memcpy(copy, reason.data, reason.size);
		copy[reason.size] = '\0';
		*said = copy;
	}
	if (status != ACCOUNT_ACTIVE)
		return account_status_text(status);
	if (!is_in_its_time(entry, now_us))
		return "account or password has expired, or is not valid yet";
	if (locked_holds(newest, now_us))
		return "account is locked";
	return NULL;
}

/* Tells the whole cell that an account is locked. */
static void
write_lock(Operation *op, Entry *entry, int64_t now_us)
{
	const struct overlay *overlay = overlay_of(op);
	struct locked locks[LOCKS_MAX];
	size_t count = read_locks(entry, locks, LOCKS_MAX);
	const struct locked *newest = locked_newest(locks, count);
	struct buf text = buf_bounded(LOCKED_SIZE_MAX);
	struct locked value = { .is_locked = true, .until_us = INT64_MAX };
	Modifications *mods = NULL;

	value.time_us = locked_next_time(newest, now_us);
	if (overlay->lockout_time > 0)
		value.until_us =
		    now_us + overlay->lockout_time * TIMESTAMP_SECOND;
	if (locked_format(&text, &value) == 0) {
		mods_append(&mods, mod_new(attribute(ATTRIBUTE_LOCKED),
				       LDAP_MOD_ADD, buf_slice(&text)));
		if (!entry_is(entry, CLASS_LOGIN))
			mods_append(
			    &mods, mod_new(attribute_class(), LDAP_MOD_ADD,
				       class_name(CLASS_LOGIN)));
		for (size_t i = 0; i < count; i++)
			if (&locks[i] != newest)
				mods_append(
				    &mods, mod_new(attribute(ATTRIBUTE_LOCKED),
					       LDAP_MOD_DELETE, locks[i].text));
		overlay_log_dn(
		    "locked", &entry->e_name, "too many wrong passwords");
		if (directory_modify(op, &entry->e_name, &entry->e_nname,
			mods) != LDAP_SUCCESS)
			overlay_log_dn("lock_failed", &entry->e_name,
			    "the directory refused it");
	}
	buf_free(&text);
}

/* ---- verifying ---- */

/* A crypt hash says itself how long it takes. */
static bool
is_bounded_crypt(struct slice hash)
{
	static const char rounds[] = "rounds=";
	struct slice rest = slice_from_offset(hash, 3);
	uint64_t number;

	if (hash.size < 4 || hash.data[0] != '$')
		return true;
	if (slice_starts_nocase(rest, rounds)) {
		rest = slice_from_offset(rest, sizeof(rounds) - 1);
		return slice_to_uint(slice_first(rest, slice_find(rest, '$')),
			   CRYPT_ROUNDS_MAX, &number) == 0;
	}
	if (hash.data[1] == '2')
		return slice_to_uint(slice_first(slice_from_offset(hash, 4), 2),
			   BCRYPT_COST_MAX, &number) == 0;
	/* yescrypt and its kin: $y$jN.., one letter for the logarithm of N. */
	if (hash.data[1] == 'y' || hash.data[1] == '7' ||
	    slice_starts_nocase(hash, "$gy$")) {
		size_t at = hash.data[1] == 'g'   ? 5
			    : hash.data[1] == 'y' ? 4
						  : 3;

		return at < hash.size && (hash.data[at] <= YESCRYPT_N_MAX);
	}
	return true;
}

static bool
is_usable_hash(struct slice value)
{
	static const char crypt_scheme[] = "{CRYPT}";

	if (slice_starts_nocase(value, "{K5KEY}"))
		return false;
	if (!slice_starts_nocase(value, crypt_scheme))
		return true;
	return is_bounded_crypt(
	    slice_from_offset(value, sizeof(crypt_scheme) - 1));
}

static enum keys_verdict
check_hashes(Operation *op, Entry *entry, struct berval *password)
{
	BerVarray values = entry_values(entry, attribute_password());
	enum keys_verdict verdict = KEYS_WRONG;
	const char *text;

	for (size_t i = 0; values && values[i].bv_val; i++) {
		struct berval pair[2] = { values[i], { 0, NULL } };
		Attribute one = { .a_desc = attribute_password(),
			.a_vals = pair,
			.a_nvals = pair,
			.a_numvals = 1 };

		if (slice_starts_nocase(bv_slice(&values[i]), "{K5KEY}"))
			continue;
		if (!is_usable_hash(bv_slice(&values[i])))
			verdict = KEYS_UNUSABLE;
		else if (slap_passwd_check(op, entry, &one, password, &text) ==
			 LDAP_SUCCESS)
			return KEYS_RIGHT;
	}
	return verdict;
}

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
	return check_hashes(op, entry, password);
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
		write_lock(op, entry, now_us);
	return verdict;
}

/* ---- after it was right ---- */

/* The day alone, so that a busy account is written once a day. */
static void
note_login(Operation *op, Entry *entry)
{
	int64_t day_us = 86400 * TIMESTAMP_SECOND;
	int64_t today_us = clock_us() / day_us * day_us, last_us;
	struct slice last = entry_first(entry, ATTRIBUTE_LAST_LOGIN);
	struct buf text = buf_bounded(32);
	Modifications *mods = NULL;

	if (last.size > 0 && timestamp_parse(last, &last_us) == 0 &&
	    last_us >= today_us)
		return;
	if (timestamp_format(&text, today_us) == 0) {
		/* Generalized time without a fraction, as slapd keeps it. */
		struct slice day = slice_first(buf_slice(&text), 14);
		struct buf value = buf_bounded(32);

		buf_add_slice(&value, day);
		buf_add_char(&value, 'Z');
		mods_append(&mods, mod_new(attribute(ATTRIBUTE_LAST_LOGIN),
				       LDAP_MOD_REPLACE, buf_slice(&value)));
		buf_free(&value);
		(void)directory_modify(
		    op, &entry->e_name, &entry->e_nname, mods);
	}
	buf_free(&text);
}

static int
answer(Operation *op, SlapReply *rs, Entry *entry, enum keys_verdict verdict,
    bool by_hash)
{
	const struct overlay *overlay = overlay_of(op);

	switch (verdict) {
	case KEYS_RIGHT:
		if (by_hash)
			passwords_migrate(op, entry, bv_slice(&op->orb_cred));
		if (overlay->last_login && entry_is(entry, CLASS_LOGIN))
			note_login(op, entry);
		ber_dupbv(&op->orb_edn, &entry->e_name);
		return LDAP_SUCCESS;
	case KEYS_WRONG:
		rs->sr_text = NOT_ALLOWED;
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
bind_entry(Operation *op, SlapReply *rs, Entry *entry)
{
	const struct overlay *overlay = overlay_of(op);
	const char *fault =
	    password_fault(bv_slice(&op->orb_cred), overlay->password_max);
	int64_t forgiven_us;
	const char *why;
	bool by_hash;
	enum keys_verdict verdict;

	why = refusal(op, entry, clock_us(), &forgiven_us, &rs->sr_text);
	if (!why && fault) {
		why = fault;
		rs->sr_text = NOT_ALLOWED;
	}
	if (!why && !access_allowed(
			op, entry, attribute_password(), NULL, ACL_AUTH, NULL))
		why = "access control gives no right to authenticate";
	if (why) {
		overlay_log_dn("refused", &entry->e_name, why);
		return LDAP_INVALID_CREDENTIALS;
	}
	rs->sr_text = NULL;
	verdict =
	    check_counted(op, entry, &op->orb_cred, forgiven_us, &by_hash);
	return answer(op, rs, entry, verdict, by_hash);
}

int
login_bind(Operation *op, SlapReply *rs)
{
	const struct overlay *overlay = overlay_of(op);
	int code = SLAP_CB_CONTINUE;
	Entry *entry;

	if (!overlay->keys || op->orb_method != LDAP_AUTH_SIMPLE ||
	    be_isroot_dn(op->o_bd, &op->o_req_ndn))
		return SLAP_CB_CONTINUE;
	entry = directory_read(op, &op->o_req_ndn);
	if (!entry)
		return SLAP_CB_CONTINUE;
	if (passwords_managed(entry))
		code = bind_entry(op, rs, entry);
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
	struct berval value;
	int64_t forgiven_us;
	bool by_hash;

	*text = "old password is wrong";
	if (password_fault(password, overlay->password_max) ||
	    buf_add_slice(&copy, password) < 0)
		return code;
	if (refusal(op, entry, clock_us(), &forgiven_us, text))
		goto done;
	value = (struct berval){ copy.size, copy.data };
	switch (check_counted(op, entry, &value, forgiven_us, &by_hash)) {
	case KEYS_RIGHT:
		*text = NULL;
		code = LDAP_SUCCESS;
		break;
	case KEYS_WRONG:
		*text = "old password is wrong";
		break;
	case KEYS_UNUSABLE:
		*text = "password cannot be checked now";
		code = LDAP_UNAVAILABLE;
	}
done:
	buf_wipe(&copy);
	return code;
}
