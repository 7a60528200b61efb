#include "ctl/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "ctl/output.h"
#include "ctl/view.h"
#include "lib/name.h"
#include "lib/placement.h"
#include "replica/clock.h"

#define LINE_MAX_SIZE 4096

/* A name of an account, as look-ups compare it. */
struct known_name {
	char *text; /* owned */
	size_t size;
	size_t account; /* its number in the walk */
	bool principal; /* these are a name space of their own */
};

struct check {
	const struct view *view;
	int64_t now_us;
	json_t *faults;
	struct known_name *names; /* owned */
	size_t name_count, name_capacity;
	size_t accounts;
};

static void
add_fault(
    struct check *check, const char *kind, struct slice name, const char *why)
{
	json_array_append_new(
	    check->faults, json_pack("{s:s, s:o, s:s}", "kind", kind, "name",
			       output_text(name), "why", why));
}

/* ---- names ---- */

static void
add_name(struct check *check, enum name_kind kind, struct slice name)
{
	struct buf text = buf_bounded(NAME_SIZE_MAX);
	const char *why;

	if (name_normalise(&text, kind, name, &why) < 0) {
		add_fault(check, name_kind_text(kind), name, why);
		buf_free(&text);
		return;
	}
	if (check->name_count == check->name_capacity) {
		check->name_capacity = check->name_capacity * 2 + 1024;
		check->names = reallocarray(
		    check->names, check->name_capacity, sizeof(*check->names));
		if (!check->names)
			abort();
	}
	check->names[check->name_count++] = (struct known_name){ text.data,
		text.size, check->accounts, kind == NAME_PRINCIPAL };
}

static void
add_names(struct check *check, const struct account *account)
{
	struct slice rest = account->record;
	struct record_field field;

	while (record_next(&rest, &field)) {
		if (field.tag == ACCOUNT_UID)
			add_name(check, NAME_UID, field.value);
		else if (field.tag == ACCOUNT_ADDRESS)
			add_name(check, NAME_ADDRESS, field.value);
		else if (field.tag == ACCOUNT_PRINCIPAL)
			add_name(check, NAME_PRINCIPAL, field.value);
	}
}

static int
compare_names(const void *a, const void *b)
{
	const struct known_name *x = a, *y = b;
	int order = (int)x->principal - (int)y->principal;

	if (order == 0)
		order = slice_compare(
		    slice_of(x->text, x->size), slice_of(y->text, y->size));
	if (order == 0)
		order = (x->account > y->account) - (x->account < y->account);
	return order;
}

static bool
is_same_name(const struct known_name *a, const struct known_name *b)
{
	return a->principal == b->principal &&
	       slice_equal(
		   slice_of(a->text, a->size), slice_of(b->text, b->size));
}

/* One fault for each name, however many accounts have it. */
static void
check_names(struct check *check)
{
	struct known_name *names = check->names;

	if (check->name_count > 0)
		qsort(names, check->name_count, sizeof(*names), compare_names);
	for (size_t i = 0, next; i < check->name_count; i = next) {
		for (next = i + 1; next < check->name_count &&
				   is_same_name(&names[i], &names[next]);
		     next++)
			;
		if (names[next - 1].account != names[i].account)
			add_fault(check, "name",
			    slice_of(names[i].text, names[i].size),
			    "several accounts have it: it finds none of them");
	}
}

/* ---- accounts and map ---- */

static void
check_account(struct check *check, const struct account *account)
{
	const char *why = account_check(account);
	struct placement placed =
	    placement(account, check->view->cell, check->now_us);

	if (why)
		add_fault(check, "account", account->dn, why);
	if (placed.reason == PLACEMENT_PIN_UNKNOWN)
		add_fault(check, "account", account->dn,
		    "mailHost: no server of its pool: nobody serves it");
	else if (placed.reason == PLACEMENT_NO_POOL && account->pool.size > 0)
		add_fault(check, "account", account->dn,
		    "postcellPoolName: there is no such pool: nobody serves it");
}

/* Also what cannot be read as an account at all. */
static bool
check_record(void *context, bool is_account, struct slice record)
{
	struct check *check = context;
	struct account account;
	const char *why;

	if (!is_account)
		return false;
	if (account_read(&account, record, &why) < 0) {
		add_fault(check, "account", slice_from("?"), why);
		return true;
	}
	check_account(check, &account);
	add_names(check, &account);
	check->accounts++;
	return true;
}

static void
check_map(struct check *check)
{
	struct slice rest = cell_faults(check->view->cell), line;

	while (slice_next_word(&rest, '\n', &line))
		json_array_append_new(
		    check->faults, json_pack("{s:s, s:o}", "kind", "map", "why",
				       output_text(line)));
}

static void
print(const json_t *faults)
{
	const json_t *fault;
	size_t i;

	json_array_foreach(faults, i, fault)
	{
		const char *name =
		    json_string_value(json_object_get(fault, "name"));
		struct buf text = buf_bounded(LINE_MAX_SIZE);

		if (name) {
			(void)buf_printf(
			    &text, "%s ", output_member(fault, "kind"));
			(void)buf_add_quoted(&text, slice_from(name));
			(void)buf_add_string(&text, ": ");
		}
		(void)buf_add_string(&text, output_member(fault, "why"));
		puts(buf_string(&text));
		buf_free(&text);
	}
}

static int
check_all(struct check *check)
{
	const char *why;

	check_map(check);
	if (replica_walk(check->view->replica, check_record, check, &why) < 0) {
		ctl_complain(check->view->path, why);
		return EX_TEMPFAIL;
	}
	check_names(check);
	return EX_OK;
}

int
ctl_check(const struct ctl *ctl, int count, char **words)
{
	struct view view;
	int code = view_open(&view, ctl);
	struct check check = { .view = &view,
		.now_us = clock_realtime_us(),
		.faults = json_array() };

	(void)count;
	(void)words;
	if (code == EX_OK)
		code = check_all(&check);
	if (code == EX_OK && ctl->json)
		code = output_json(json_pack("{s:O, s:I}", "faults",
		    check.faults, "accounts", (json_int_t)check.accounts));
	else if (code == EX_OK)
		print(check.faults);
	if (code == EX_OK && json_array_size(check.faults) > 0)
		code = CTL_NO;
	for (size_t i = 0; i < check.name_count; i++)
		free(check.names[i].text);
	free(check.names);
	json_decref(check.faults);
	view_close(&view);
	return code;
}
