#include "slapd-overlay/overlay.h"

#include "lib/account.h"
#include "lib/buf.h"
#include "lib/locked.h"
#include "lib/timestamp.h"

#define LOCKS_MAX 64 /* values of postcellLocked that are looked at */

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
	return !is_after(entry, ATTRIBUTE_VALID_END, now_us, &there);
}

static bool
has_old_password(Entry *entry, int64_t now_us)
{
	bool there;

	return is_after(entry, ATTRIBUTE_PASSWORD_END, now_us, &there);
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

/* A copy that lives as long as the operation. */
static const char *
tell(Operation *op, struct slice text)
{
	char *copy = op->o_tmpalloc(text.size + 1, op->o_tmpmemctx);

	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	return copy;
}

struct standing
standing_find(
    Operation *op, Entry *entry, enum standing_door door, int64_t now_us)
{
	struct standing standing = { 0 };
	struct locked locks[LOCKS_MAX];
	const struct locked *newest =
	    locked_newest(locks, read_locks(entry, locks, LOCKS_MAX));
	enum account_status status;
	struct slice reason;

	standing.forgiven_us = forgiven_until(newest);
	status = status_of(entry, &reason);
	if (status == ACCOUNT_NOLOGIN && reason.size > 0)
		standing.said = tell(op, reason);
	if (status != ACCOUNT_ACTIVE)
		standing.why = account_status_text(status);
	else if (!is_in_its_time(entry, now_us))
		standing.why = "account has expired, or is not valid yet";
	else if (door == STANDING_LOGIN && has_old_password(entry, now_us))
		standing.why = "password has expired";
	else if (locked_holds(newest, now_us))
		standing.why = "account is locked";
	return standing;
}

void
standing_lock(Operation *op, Entry *entry, int64_t now_us)
{
	const struct overlay *overlay = overlay_of(op);
	struct locked locks[LOCKS_MAX];
	size_t count = read_locks(entry, locks, LOCKS_MAX);
	const struct locked *newest = locked_newest(locks, count);
	struct buf text = buf_bounded(LOCKED_SIZE_MAX);
	struct locked value = { .is_locked = true, .until_us = INT64_MAX };
	Modifications *mods = NULL;
	int code;

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
		/* KDCs lock as well, and tell by replication. */
		mods_soften(mods);
		overlay_log_dn(
		    "locked", &entry->e_name, "too many wrong passwords");
		code =
		    directory_modify(op, &entry->e_name, &entry->e_nname, mods);
		if (code != LDAP_SUCCESS)
			overlay_log_dn("lock_failed", &entry->e_name,
			    ldap_err2string(code));
	}
	buf_free(&text);
}
