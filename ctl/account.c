#include "ctl/account.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "ctl/output.h"
#include "ctl/secret.h"
#include "ctl/view.h"
#include "lib/name.h"
#include "lib/password.h"
#include "lib/timestamp.h"
#include "replica/clock.h"

#define TEXT_MAX  4096
#define PARTS_MAX (CTL_ACCOUNT_LOCKS_MAX + 2)
#define TRIES_MAX 8

/* ---- what all have in common ---- */

/* One account, as the directory has it; freed as one. */
struct work {
	const struct ctl *ctl;
	const char *user;
	struct directory *directory;
	struct directory_entry *entry;
};

static int
open_work(struct work *work, const struct ctl *ctl, const char *user)
{
	int code;

	*work = (struct work){ .ctl = ctl, .user = user };
	code = directory_open(&work->directory, ctl);
	if (code == EX_OK)
		code = ctl_account_find(work->directory, user, &work->entry);
	return code;
}

static void
close_work(struct work *work)
{
	directory_entry_free(&work->entry);
	directory_free(&work->directory);
}

static int
tell(const struct work *work, const char *done, bool changed)
{
	if (work->ctl->json)
		return output_json(json_pack("{s:s, s:s, s:s, s:b}", "user",
		    work->user, "dn", work->entry->dn, "done", done, "changed",
		    (int)changed));
	printf("%s: %s%s\n", work->user, changed ? "" : "was already ", done);
	return EX_OK;
}

static void
add_filter(struct buf *filter, const char *attribute, struct slice value)
{
	(void)buf_printf(filter, "(%s=", attribute);
	(void)name_escape_filter(filter, value);
	(void)buf_add_char(filter, ')');
}

int
ctl_account_find(struct directory *directory, const char *user,
    struct directory_entry **entry)
{
	static const char *const names[] = { "uid", "mail", "mailLocalAddress",
		"krb5PrincipalName" };
	struct buf filter = buf_bounded(TEXT_MAX);
	size_t count = 0;
	int code = EX_USAGE;

	(void)buf_add_string(&filter, "(|");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		add_filter(&filter, names[i], slice_from(user));
	(void)buf_add_char(&filter, ')');
	*entry = NULL;
	if (filter.failed)
		ctl_complain("user", "the name is too long");
	else
		code = directory_exit(directory,
		    directory_find(directory, directory_people(directory),
			false, buf_string(&filter), &count, entry));
	if (code == EX_OK && count != 1) {
		ctl_complain(user, count == 0 ? "no account has this name"
					      : "several accounts have it");
		code = count == 0 ? CTL_NO : EX_DATAERR;
	}
	buf_free(&filter);
	return code;
}

static struct slice
csn_of(const struct directory_entry *entry)
{
	struct slice csn = slice_from("");

	(void)directory_value(entry, "entryCSN", 0, &csn);
	return csn;
}

/* ---- add ---- */

enum directory_result
ctl_account_schema(struct directory *directory, bool *login)
{
	struct directory_entry *entry = NULL;
	struct slice value;
	size_t count;
	enum directory_result result = directory_find(directory, "cn=Subschema",
	    true, "(objectClass=subschema)", &count, &entry);

	*login = false;
	for (size_t i = 0; entry && !*login &&
			   directory_value(entry, "objectClasses", i, &value);
	     i++)
		*login = memmem(value.data, value.size, "'postcellLogin'",
			     strlen("'postcellLogin'")) != NULL;
	directory_entry_free(&entry);
	/* Who may not look does without: the class is for those who have it. */
	return result == DIRECTORY_LOST ? result : DIRECTORY_DONE;
}

static void
keep_reason(const struct directory *directory, struct buf *why)
{
	buf_clear(why);
	(void)buf_add_string(why, directory_why(directory));
}

/* The account must not stay without the password that it was to have. */
static void
take_back(struct directory *directory, struct slice dn, struct buf *why)
{
	keep_reason(directory, why);
	if (directory_delete(directory, dn, slice_from("")) != DIRECTORY_DONE)
		(void)buf_printf(why,
		    "; it stays without a password, for it cannot be taken away: %s",
		    directory_why(directory));
}

enum directory_result
ctl_account_make(struct directory *directory, const struct person *person,
    bool login, struct buf *why)
{
	struct directory_part parts[PERSON_PARTS_MAX];
	struct buf dn = buf_bounded(TEXT_MAX);
	size_t count = person_parts(person, login, parts);
	enum directory_result result;

	(void)buf_add_string(&dn, "uid=");
	(void)name_escape_dn(&dn, person->uid);
	(void)buf_printf(&dn, ",%s", directory_people(directory));
	result = directory_add(directory, buf_slice(&dn), parts, count);
	if (result != DIRECTORY_DONE) {
		keep_reason(directory, why);
	} else if (person->password.size > 0) {
		result = directory_password(
		    directory, buf_slice(&dn), person->password);
		if (result != DIRECTORY_DONE)
			take_back(directory, buf_slice(&dn), why);
	}
	buf_free(&dn);
	return result;
}

/* EX_OK, or EX_USAGE after a complaint. */
static int
describe_person(struct person *person, const struct ctl_options *options,
    const char *uid, struct slice password)
{
	const struct {
		const char *name, *value;
	} given[] = {
		{ "uid", uid },
		{ "mail", options->mail },
		{ "name", options->name },
		{ "pool", options->pool },
		{ "group", options->group },
	};

	const char *why;

	*person = (struct person){ .password = password };
	for (size_t i = 0; i < ARRAY_SIZE(given); i++)
		if (person_take(person, slice_from(given[i].name),
			slice_from(given[i].value), &why) < 0) {
			ctl_complain(given[i].value, why);
			return EX_USAGE;
		}
	if (person_finish(person, &why) == 0)
		return EX_OK;
	ctl_complain(uid, why);
	return EX_USAGE;
}

/* A directory without the overlay would take a pool that is not there. */
static int
check_pool(const struct ctl *ctl, struct directory *directory)
{
	struct cell *cell = NULL;
	int code = EX_OK;

	if (!ctl->options.pool)
		return EX_OK;
	code = directory_exit(directory, directory_cell(directory, &cell));
	if (code == EX_OK && !cell_pool(cell, slice_from(ctl->options.pool))) {
		ctl_complain(
		    ctl->options.pool, "there is no pool of that name");
		code = CTL_NO;
	}
	cell_free(&cell);
	return code;
}

static int
add_person(const struct ctl *ctl, struct directory *directory,
    const struct person *person, const char *uid)
{
	struct buf why = buf_bounded(TEXT_MAX);
	bool login;
	enum directory_result result;
	int code =
	    directory_exit(directory, ctl_account_schema(directory, &login));

	if (code == EX_OK) {
		result = ctl_account_make(directory, person, login, &why);
		code = directory_status(result);
		if (code != EX_OK)
			ctl_complain(uid, buf_string(&why));
		else if (ctl->json)
			code = output_json(json_pack("{s:s, s:s, s:b}", "user",
			    uid, "done", "added", "changed", 1));
		else
			printf("%s: added\n", uid);
	}
	buf_free(&why);
	return code;
}

int
ctl_account_add(const struct ctl *ctl, int count, char **words)
{
	struct buf password = buf_bounded(PASSWORD_SIZE_MAX + 2);
	struct person person;
	struct directory *directory = NULL;
	int code = directory_open(&directory, ctl);

	(void)count;
	if (code == EX_OK)
		code = check_pool(ctl, directory);
	if (code == EX_OK)
		code = secret_read(&password, words[0]);
	if (code == EX_OK)
		code = describe_person(
		    &person, &ctl->options, words[0], buf_slice(&password));
	if (code == EX_OK)
		code = add_person(ctl, directory, &person, words[0]);
	buf_wipe(&password);
	directory_free(&directory);
	return code;
}

/* ---- status ---- */

static bool
has_class(const struct directory_entry *entry, const char *name)
{
	struct slice value;

	for (size_t i = 0; directory_value(entry, "objectClass", i, &value);
	     i++)
		if (slice_is_nocase(value, name))
			return true;
	return false;
}

static bool
has_status(const struct directory_entry *entry, struct slice wanted)
{
	struct slice value = slice_from("");

	(void)directory_value(entry, "postcellStatus", 0, &value);
	if (wanted.size == 0 && slice_is_nocase(value, "active"))
		return true;
	return slice_equal_nocase(value, wanted);
}

/* One modify; `status` empty: active, for which no value stands. */
static enum directory_result
write_status(const struct work *work, struct slice status)
{
	struct directory_part parts[2];
	size_t count = 0;

	if (status.size > 0 && !has_class(work->entry, "postcellAccount") &&
	    !has_class(work->entry, "postcellLogin"))
		parts[count++] = (struct directory_part){ DIRECTORY_ADD,
			"objectClass", slice_from("postcellAccount") };
	parts[count++] = (struct directory_part){ DIRECTORY_REPLACE,
		"postcellStatus", status };
	return directory_modify(work->directory, slice_from(work->entry->dn),
	    csn_of(work->entry), parts, count);
}

/* Makes one try of a change; *changed false: it is so already. */
typedef enum directory_result change_once(
    const struct work *work, struct slice wanted, bool *changed);

static enum directory_result
change_status(const struct work *work, struct slice wanted, bool *changed)
{
	*changed = !has_status(work->entry, wanted);
	return *changed ? write_status(work, wanted) : DIRECTORY_DONE;
}

/* Again, from what is read anew, when another writer was quicker. */
static int
change_account(const struct ctl *ctl, const char *user, change_once *change,
    struct slice wanted, const char *done)
{
	struct work work;
	enum directory_result result = DIRECTORY_RACE;
	bool changed = false;
	int code = open_work(&work, ctl, user);

	for (int i = 0; i < TRIES_MAX && code == EX_OK; i++) {
		if (i > 0) {
			directory_entry_free(&work.entry);
			code =
			    ctl_account_find(work.directory, user, &work.entry);
		}
		if (code == EX_OK)
			result = change(&work, wanted, &changed);
		if (result != DIRECTORY_RACE)
			break;
	}
	if (code == EX_OK)
		code = directory_exit(work.directory, result);
	if (code == EX_OK)
		code = tell(&work, done, changed);
	close_work(&work);
	return code;
}

int
ctl_account_disable(const struct ctl *ctl, int count, char **words)
{
	struct buf status = buf_bounded(TEXT_MAX);
	const char *reason = ctl->options.reason;
	int code;

	(void)count;
	if (reason)
		(void)buf_printf(&status, "nologin %s", reason);
	else
		(void)buf_add_string(&status, "disabled");
	code = change_account(ctl, words[0], change_status, buf_slice(&status),
	    reason ? "without logins" : "disabled");
	buf_free(&status);
	return code;
}

int
ctl_account_enable(const struct ctl *ctl, int count, char **words)
{
	(void)count;
	return change_account(
	    ctl, words[0], change_status, slice_from(""), "enabled");
}

/* ---- unlock ---- */

size_t
ctl_account_locks(const struct directory_entry *entry, struct locked *locks)
{
	struct slice value;
	const char *why;
	size_t count = 0;

	for (size_t i = 0; count < CTL_ACCOUNT_LOCKS_MAX &&
			   directory_value(entry, "postcellLocked", i, &value);
	     i++)
		if (locked_parse(value, &locks[count], &why) == 0)
			count++;
	return count;
}

/* lib/locked.h: adds one value, deletes those that the newest superseded. */
static enum directory_result
change_lock(const struct work *work, struct slice wanted, bool *changed)
{
	struct locked locks[CTL_ACCOUNT_LOCKS_MAX];
	size_t lock_count = ctl_account_locks(work->entry, locks), count = 0;
	const struct locked *newest = locked_newest(locks, lock_count);
	struct locked value = { .is_locked = false };
	struct directory_part parts[PARTS_MAX];
	struct buf text = buf_bounded(LOCKED_SIZE_MAX);
	int64_t now_us = clock_realtime_us();
	enum directory_result result;

	(void)wanted;
	*changed = locked_holds(newest, now_us);
	if (!*changed)
		return DIRECTORY_DONE;
	value.time_us = locked_next_time(newest, now_us);
	(void)locked_format(&text, &value);
	parts[count++] = (struct directory_part){ DIRECTORY_ADD,
		"postcellLocked", buf_slice(&text) };
	for (size_t i = 0; i < lock_count; i++)
		if (&locks[i] != newest)
			parts[count++] =
			    (struct directory_part){ DIRECTORY_DELETE,
				    "postcellLocked", locks[i].text };
	result = directory_modify(work->directory, slice_from(work->entry->dn),
	    slice_from(""), parts, count);
	buf_free(&text);
	return result;
}

int
ctl_account_unlock(const struct ctl *ctl, int count, char **words)
{
	(void)count;
	return change_account(
	    ctl, words[0], change_lock, slice_from(""), "unlocked");
}

/* ---- passwd ---- */

int
ctl_account_passwd(const struct ctl *ctl, int count, char **words)
{
	struct buf password = buf_bounded(PASSWORD_SIZE_MAX + 2);
	struct work work;
	int code = open_work(&work, ctl, words[0]);

	(void)count;
	if (code == EX_OK)
		code = secret_read(&password, words[0]);
	if (code == EX_OK)
		code = directory_exit(work.directory,
		    directory_password(work.directory,
			slice_from(work.entry->dn), buf_slice(&password)));
	if (code == EX_OK)
		code = tell(&work, "given another password", true);
	buf_wipe(&password);
	close_work(&work);
	return code;
}
