#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include <jansson.h>

#include "ctl/account.h"
#include "ctl/output.h"
#include "ctl/view.h"
#include "lib/keyset.h"
#include "lib/placement.h"
#include "replica/clock.h"

#define KEYSETS_MAX 64

/* One account from everywhere; freed as one. */
struct show {
	const struct ctl *ctl;
	const char *user;
	struct directory *directory;
	struct directory_entry *entry;
	struct buf record; /* account borrows from it */
	struct account account;
	struct cell *cell;
	struct view view;
	int64_t now_us;
};

static int
open_show(struct show *show)
{
	bool has_class;
	int code = directory_open(&show->directory, show->ctl);

	if (code == EX_OK)
		code =
		    ctl_account_find(show->directory, show->user, &show->entry);
	if (code == EX_OK)
		code = directory_exit(show->directory,
		    directory_account(show->directory,
			slice_from(show->entry->dn), &show->record,
			&show->account, &has_class));
	if (code == EX_OK)
		code = directory_exit(show->directory,
		    directory_cell(show->directory, &show->cell));
	return code;
}

static void
close_show(struct show *show)
{
	view_close(&show->view);
	cell_free(&show->cell);
	buf_free(&show->record);
	directory_entry_free(&show->entry);
	directory_free(&show->directory);
}

static void
add_texts(json_t *list, const struct show *show, const char *attribute)
{
	struct slice value;

	for (size_t i = 0; directory_value(show->entry, attribute, i, &value);
	     i++)
		json_array_append_new(list, output_text(value));
}

static json_t *
texts_of(const struct show *show, const char *attribute, const char *more)
{
	json_t *list = json_array();

	add_texts(list, show, attribute);
	if (more)
		add_texts(list, show, more);
	return list;
}

static json_t *
text_or_null(struct slice text)
{
	return text.size > 0 ? output_text(text) : json_null();
}

static json_t *
value_or_null(const struct show *show, const char *attribute)
{
	struct slice value = slice_from("");

	(void)directory_value(show->entry, attribute, 0, &value);
	return text_or_null(value);
}

/* `until` null while locked: until somebody unlocks. */
static void
describe_lock(const struct show *show, json_t *answer)
{
	struct locked locks[CTL_ACCOUNT_LOCKS_MAX];
	const struct locked *newest =
	    locked_newest(locks, ctl_account_locks(show->entry, locks));
	bool holds = locked_holds(newest, show->now_us);

	json_object_set_new(answer, "locked", json_boolean(holds));
	json_object_set_new(answer, "locked_until",
	    holds ? output_moment(newest->until_us) : json_null());
}

/* What the password is kept as, as far as it may be seen. */
static const char *
password_kind(const struct show *show, bool has_keys)
{
	struct slice value;

	if (has_keys)
		return "keys";
	if (directory_value(show->entry, "krb5Key", 0, &value))
		return "keys of old";
	return directory_value(show->entry, "userPassword", 0, &value)
		   ? "hash"
		   : "none to be seen";
}

static void
describe_keys(const struct show *show, json_t *answer)
{
	struct keyset sets[KEYSETS_MAX];
	const struct keyset *newest;
	struct slice value;
	const char *why;
	size_t count = 0;

	for (size_t i = 0;
	     count < KEYSETS_MAX &&
	     directory_value(show->entry, "postcellKeys", i, &value);
	     i++)
		if (keyset_parse(value, &sets[count], &why) == 0)
			count++;
	newest = keyset_newest(sets, count);
	json_object_set_new(answer, "password",
	    json_string(password_kind(show, newest != NULL)));
	json_object_set_new(answer, "key_version",
	    newest ? json_integer(newest->kvno) : json_null());
	json_object_set_new(answer, "key_set",
	    newest ? output_moment(newest->time_us) : json_null());
	json_object_set_new(answer, "old_keys",
	    json_integer(newest ? (json_int_t)count - 1 : 0));
}

static void
describe_place(const struct show *show, const struct account *account,
    const struct cell *cell, json_t *answer)
{
	struct placement placed = placement(account, cell, show->now_us);
	struct slice server = placed.server ? placed.server->name : placed.host;

	json_object_set_new(answer, "pool",
	    placed.pool ? output_text(placed.pool->name)
			: text_or_null(account->pool));
	json_object_set_new(answer, "server", text_or_null(server));
	json_object_set_new(
	    answer, "why", json_string(placement_reason_text(placed.reason)));
}

/* What proxies on this host go by. */
static json_t *
describe_replica(struct show *show)
{
	struct buf store = buf_bounded(VIEW_RECORD_MAX);
	struct account account;
	const char *why = "cannot be read";
	json_t *answer = json_pack("{s:b}", "found", 0);

	if (view_open(&show->view, show->ctl) == EX_OK &&
	    replica_find_login(show->view.replica, slice_from(show->user),
		&store, &account, &why) == REPLICA_FOUND) {
		json_object_set_new(answer, "found", json_true());
		json_object_set_new(answer, "current",
		    json_boolean(slice_equal(account.csn, show->account.csn)));
		json_object_set_new(answer, "status",
		    json_string(account_status_text(account.status)));
		describe_place(show, &account, show->view.cell, answer);
	} else {
		json_object_set_new(answer, "why", json_string(why));
	}
	buf_free(&store);
	return answer;
}

static json_t *
describe(struct show *show)
{
	const struct account *account = &show->account;
	json_t *answer = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:o}",
	    "user", show->user, "dn", show->entry->dn, "name",
	    value_or_null(show, "cn"), "uid", texts_of(show, "uid", NULL),
	    "addresses", texts_of(show, "mail", "mailLocalAddress"),
	    "principals", texts_of(show, "krb5PrincipalName", NULL), "status",
	    account_status_text(account->status), "reason",
	    text_or_null(account->status_reason));

	if (!answer)
		abort();
	describe_lock(show, answer);
	describe_keys(show, answer);
	json_object_set_new(
	    answer, "last_login", value_or_null(show, "postcellLastLogin"));
	json_object_set_new(answer, "group", text_or_null(account->group));
	json_object_set_new(answer, "pin", text_or_null(account->pin));
	describe_place(show, account, show->cell, answer);
	json_object_set_new(answer, "replica", describe_replica(show));
	return answer;
}

/* ---- for people ---- */

static void
print_list(const char *label, const json_t *list)
{
	const json_t *value;
	size_t i;

	json_array_foreach(list, i, value)
	    printf("%-11s %s\n", i == 0 ? label : "", json_string_value(value));
}

static void
print_keys(const json_t *answer)
{
	printf("%-11s %s", "password", output_member(answer, "password"));
	if (json_is_integer(json_object_get(answer, "key_version")))
		printf(", version %lld of %s, %lld older",
		    output_number(answer, "key_version"),
		    output_member(answer, "key_set"),
		    output_number(answer, "old_keys"));
	(void)putchar('\n');
}

static void
print_replica(const json_t *replica)
{
	bool found = json_is_true(json_object_get(replica, "found"));

	if (!found)
		printf("%-11s %s\n", "replica", output_member(replica, "why"));
	else
		printf("%-11s %s: %s, at %s, %s\n", "replica",
		    json_is_true(json_object_get(replica, "current"))
			? "is in step"
			: "is behind",
		    output_member(replica, "status"),
		    output_member(replica, "server"),
		    output_member(replica, "why"));
}

static void
print(const json_t *answer)
{
	static const char *const singles[] = { "last_login", "pool", "group",
		"pin", "server", "why" };
	bool locked = json_is_true(json_object_get(answer, "locked"));
	bool ends = json_is_string(json_object_get(answer, "locked_until"));

	printf("%-11s %s\n", "dn", output_member(answer, "dn"));
	printf("%-11s %s\n", "name", output_member(answer, "name"));
	print_list("uid", json_object_get(answer, "uid"));
	print_list("addresses", json_object_get(answer, "addresses"));
	print_list("principals", json_object_get(answer, "principals"));
	printf("%-11s %s%s%s\n", "status", output_member(answer, "status"),
	    json_is_string(json_object_get(answer, "reason")) ? " " : "",
	    json_is_string(json_object_get(answer, "reason"))
		? output_member(answer, "reason")
		: "");
	printf("%-11s %s%s\n", "locked",
	    !locked ? "no"
	    : ends  ? "until "
		    : "until somebody unlocks",
	    ends ? output_member(answer, "locked_until") : "");
	print_keys(answer);
	for (size_t i = 0; i < ARRAY_SIZE(singles); i++)
		printf("%-11s %s\n", singles[i],
		    output_member(answer, singles[i]));
	print_replica(json_object_get(answer, "replica"));
}

int
ctl_account_show(const struct ctl *ctl, int count, char **words)
{
	struct show show = { .ctl = ctl,
		.user = words[0],
		.record = buf_bounded(VIEW_RECORD_MAX),
		.now_us = clock_realtime_us() };
	json_t *answer;
	int code = open_show(&show);

	(void)count;
	if (code == EX_OK) {
		answer = describe(&show);
		if (ctl->json)
			code = output_json(json_incref(answer));
		else
			print(answer);
		json_decref(answer);
	}
	close_show(&show);
	return code;
}
