#include "ctl/user.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ctl/directory.h"
#include "ctl/hosts.h"
#include "ctl/output.h"
#include "ctl/proxy.h"
#include "ctl/server.h"
#include "ctl/view.h"
#include "lib/change.h"
#include "lib/timestamp.h"
#include "replica/clock.h"

#define PARTS_MAX 8
#define TEXT_MAX  2048
#define TRIES_MAX 8

/* One account, as the directory has it; freed as one. */
struct move {
	const struct ctl *ctl;
	const char *user, *server, *pool; /* server, pool: NULL for none */
	struct view view;
	struct directory *directory;
	struct buf found, record; /* the accounts borrow from them */
	struct account known;     /* by the replica */
	struct account account;   /* by the directory */
	bool has_class;
	struct cell *cell;
	int64_t time_us; /* of the move */
};

static char *
text_of(struct slice text)
{
	char *copy = strndup(text.data, text.size);

	if (!copy)
		abort();
	return copy;
}

static int
open_move(struct move *move)
{
	int code = view_open(&move->view, move->ctl);

	move->found = buf_bounded(VIEW_RECORD_MAX);
	move->record = buf_bounded(VIEW_RECORD_MAX);
	if (code == EX_OK)
		code = view_find(
		    &move->view, move->user, &move->found, &move->known);
	if (code == EX_OK)
		code = directory_open(&move->directory, move->ctl);
	if (code == EX_OK)
		code = directory_exit(move->directory,
		    directory_cell(move->directory, &move->cell));
	return code;
}

static void
close_move(struct move *move)
{
	cell_free(&move->cell);
	directory_free(&move->directory);
	view_close(&move->view);
	buf_free(&move->found);
	buf_free(&move->record);
}

static int
read_account(struct move *move)
{
	buf_clear(&move->record);
	return directory_exit(move->directory,
	    directory_account(move->directory, move->known.dn, &move->record,
		&move->account, &move->has_class));
}

/* The pool that the account is to be in. */
static const struct pool *
pool_to_be(const struct move *move)
{
	return move->pool ? cell_pool(move->cell, slice_from(move->pool))
			  : cell_account_pool(move->cell, &move->account);
}

static bool
serves(const struct host *host, int64_t now_us)
{
	const struct transition *newest = hosts_newest(host, now_us);
	enum host_state state = newest ? newest->state : host->state;

	return (newest || host->transition_count == 0) &&
	       (state == HOST_UP || state == HOST_DRAIN);
}

/* Would anybody serve the account there? */
static int
check_target(const struct move *move)
{
	const struct pool *pool = pool_to_be(move);
	const struct host *host =
	    move->server
		? cell_host(move->cell, HOST_SERVER, slice_from(move->server))
		: NULL;
	const char *why = NULL;

	if (move->pool && !pool)
		why = "there is no pool of that name";
	else if (move->server && !host)
		why = "there is no server of that name";
	else if (host && (!pool || server_pool(move->cell, host) != pool))
		why =
		    "the server is not in the user's pool; --pool moves it there";
	else if (host && !serves(host, clock_realtime_us()))
		why = "the server is down: nobody would serve the user";
	if (!why)
		return EX_OK;
	ctl_complain(move->pool && !pool ? move->pool : move->server, why);
	return CTL_NO;
}

static bool
is_so_already(const struct move *move)
{
	struct slice pin = slice_from(move->server);
	bool same_pool = !move->pool || slice_equal_nocase(move->account.pool,
					    slice_from(move->pool));

	return same_pool && slice_equal_nocase(move->account.pin, pin);
}

static void
format_moved(struct buf *out, const struct account *account, int64_t time_us)
{
	(void)timestamp_format(out, time_us);
	(void)buf_add_char(out, ' ');
	(void)buf_add_slice(
	    out, account->pin.size > 0 ? account->pin : slice_from("-"));
	(void)buf_add_char(out, ' ');
	(void)buf_add_slice(
	    out, account->pool.size > 0 ? account->pool : slice_from("-"));
}

/* Pin, pool and what was before, in one modify. */
static enum directory_result
write_move(struct move *move)
{
	struct directory_part parts[PARTS_MAX];
	struct buf moved = buf_bounded(TEXT_MAX);
	size_t count = 0;
	enum directory_result result;

	move->time_us = change_move_time(&move->account, clock_realtime_us());
	format_moved(&moved, &move->account, move->time_us);
	if (!move->has_class)
		parts[count++] = (struct directory_part){ DIRECTORY_ADD,
			"objectClass", slice_from("postcellAccount") };
	parts[count++] = (struct directory_part){ DIRECTORY_REPLACE, "mailHost",
		slice_from(move->server) };
	if (move->pool)
		parts[count++] = (struct directory_part){ DIRECTORY_REPLACE,
			"postcellPoolName", slice_from(move->pool) };
	parts[count++] = (struct directory_part){ DIRECTORY_REPLACE,
		"postcellMoved", buf_slice(&moved) };
	result = directory_modify(
	    move->directory, move->account.dn, move->account.csn, parts, count);
	buf_free(&moved);
	return result;
}

static int
tell(const struct move *move, bool changed)
{
	json_t *answer = json_pack("{s:o, s:o, s:o, s:b, s:o}", "user",
	    output_text(move->account.uid), "pin",
	    move->server ? json_string(move->server) : json_null(), "pool",
	    move->pool ? json_string(move->pool)
		       : output_text(move->account.pool),
	    "changed", (int)changed, "time",
	    output_moment(changed ? move->time_us : 0));

	if (move->ctl->json)
		return output_json(answer);
	if (!changed)
		printf("%s: is so already\n", move->user);
	else
		printf("%s: %s%s%s%s, from %s\n", move->user,
		    move->server ? "pinned to " : "not pinned",
		    move->server ? move->server : "",
		    move->pool ? ", in pool " : "",
		    move->pool ? move->pool : "",
		    output_member(answer, "time"));
	json_decref(answer);
	return EX_OK;
}

/* Again when another writer was quicker. */
static int
make_move(struct move *move)
{
	enum directory_result result = DIRECTORY_RACE;

	for (int i = 0; i < TRIES_MAX && result == DIRECTORY_RACE; i++) {
		int code = read_account(move);

		if (code == EX_OK)
			code = check_target(move);
		if (code != EX_OK)
			return code;
		if (is_so_already(move))
			return tell(move, false);
		result = write_move(move);
	}
	return result == DIRECTORY_DONE
		   ? tell(move, true)
		   : directory_exit(move->directory, result);
}

int
user_move(const struct ctl *ctl, int count, char **words)
{
	struct move move = { .ctl = ctl,
		.user = words[0],
		.server = count > 1 ? words[1] : NULL,
		.pool = ctl->options.pool };
	int code;

	if (!move.server && !move.pool) {
		ctl_complain("user move", "to which SERVER, or --pool POOL?");
		return EX_USAGE;
	}
	code = open_move(&move);
	if (code == EX_OK)
		code = make_move(&move);
	close_move(&move);
	return code;
}

int
user_unpin(const struct ctl *ctl, int count, char **words)
{
	struct move move = { .ctl = ctl, .user = words[0] };
	int code = open_move(&move);

	(void)count;
	if (code == EX_OK)
		code = read_account(&move);
	if (code == EX_OK && move.account.pin.size == 0) {
		ctl_complain(words[0], "is not pinned");
		code = CTL_NO;
	}
	if (code == EX_OK)
		code = make_move(&move);
	close_move(&move);
	return code;
}

/* One account, found by any of its names. */
struct person {
	struct view view;
	struct buf store; /* the account borrows from it */
	struct account account;
};

static int
open_person(struct person *person, const struct ctl *ctl, const char *user)
{
	int code = view_open(&person->view, ctl);

	person->store = buf_bounded(VIEW_RECORD_MAX);
	if (code == EX_OK)
		code = view_find(
		    &person->view, user, &person->store, &person->account);
	return code;
}

static void
close_person(struct person *person)
{
	buf_free(&person->store);
	view_close(&person->view);
}

int
user_add_id(const struct ctl *ctl, const char *user, struct buf *out)
{
	struct person person;
	int code = open_person(&person, ctl, user);

	for (size_t i = 0; code == EX_OK && i < person.account.id.size; i++)
		(void)buf_printf(
		    out, "%02x", (unsigned char)person.account.id.data[i]);
	close_person(&person);
	return code;
}

int
user_kick(const struct ctl *ctl, int count, char **words)
{
	struct buf question = buf_bounded(TEXT_MAX);
	int code;

	(void)count;
	(void)buf_add_string(&question, "kick ");
	code = user_add_id(ctl, words[0], &question);
	if (code == EX_OK)
		code = proxy_end_sessions(ctl, buf_string(&question));
	buf_free(&question);
	return code;
}

/* The proxy calls an account by its uid, else by its address. */
int
user_who(const struct ctl *ctl, int count, char **words)
{
	struct person person;
	char *name = NULL;
	int code = open_person(&person, ctl, words[0]);

	(void)count;
	if (code == EX_OK) {
		name = text_of(person.account.uid.size > 0
				   ? person.account.uid
				   : person.account.address);
		code = ctl_who(ctl, 1, &name);
	}
	free(name);
	close_person(&person);
	return code;
}
