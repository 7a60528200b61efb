#include "ctl/preview.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "ctl/output.h"
#include "ctl/plan.h"
#include "ctl/proxy.h"
#include "ctl/server.h"
#include "ctl/view.h"
#include "lib/timestamp.h"
#include "replica/clock.h"

/* One change that is thought of; freed as one. */
struct preview {
	const struct ctl *ctl;
	struct view view;
	struct server_wish wish;
	const struct host *host;
	struct cell *after;
	struct change change;
	struct plan plan;
	int64_t now_us, ending, staying; /* sessions; CTL_ABSENT: unknown */
};

/* The map as it would be, and the moment when all have moved. */
static int
open_plan(struct preview *preview)
{
	const struct cell *cell = preview->view.cell;
	const struct pool *pool = server_pool(cell, preview->host);
	int64_t end_us;

	server_wish_complete(
	    &preview->wish, preview->host, pool, preview->now_us);
	preview->after = plan_cell(cell, preview->host, server_guard(pool),
	    preview->now_us, &preview->wish.wanted, &preview->change);
	if (!preview->after)
		abort();
	end_us = preview->change.value.time_us +
		 preview->change.value.ramp * TIMESTAMP_SECOND +
		 (int64_t)1000 * server_guard(pool) + 1;
	if (plan_open(&preview->plan, cell, preview->now_us, preview->after,
		end_us) < 0)
		abort();
	return EX_OK;
}

static void
count_account(void *context, const struct account *account)
{
	plan_count(context, account);
}

/* Would it still be where it is now? */
static bool
stays(const struct preview *preview, const char *user, const char *server)
{
	struct buf store = buf_bounded(VIEW_RECORD_MAX);
	struct account account;
	const char *why;
	bool result = true;
	size_t place;

	if (replica_find_login(preview->view.replica, slice_from(user), &store,
		&account, &why) == REPLICA_FOUND) {
		place = plan_place(
		    preview->after, &account, preview->plan.after_us);
		result = slice_equal_nocase(
		    plan_place_name(preview->after, place), slice_from(server));
	}
	buf_free(&store);
	return result;
}

/* A session in a pool without affinity stays; so it does elsewhere. */
static void
count_sessions(struct preview *preview)
{
	const char *why;
	json_t *sessions = proxy_sessions(preview->ctl, &why), *session;
	size_t i;

	preview->ending = preview->staying = sessions ? 0 : CTL_ABSENT;
	if (!sessions)
		ctl_complain("sessions are not counted", why);
	json_array_foreach(sessions, i, session)
	{
		const char *user =
		    json_string_value(json_object_get(session, "user"));
		const char *server =
		    json_string_value(json_object_get(session, "server"));

		if (!user || !server)
			continue;
		if (stays(preview, user, server))
			preview->staying++;
		else
			preview->ending++;
	}
	json_decref(sessions);
}

static json_t *
describe_moves(const struct plan *plan)
{
	json_t *moves = json_array();

	for (size_t i = 0; i < plan->place_count * plan->place_count; i++) {
		size_t from = i / plan->place_count, to = i % plan->place_count;

		if (from == to || plan->moves[i] == 0)
			continue;
		json_array_append_new(moves,
		    json_pack("{s:o, s:o, s:I}", "from",
			output_text(plan_place_name(plan->before, from)), "to",
			output_text(plan_place_name(plan->after, to)), "users",
			(json_int_t)plan->moves[i]));
	}
	return moves;
}

static json_t *
describe(const struct preview *preview)
{
	const struct transition *value = &preview->change.value;
	json_t *answer = json_pack("{s:o, s:s, s:i, s:i, s:f, s:I, s:I, s:o}",
	    "name", output_text(preview->host->name), "state",
	    host_state_text(value->state), "weight", (int)value->weight, "ramp",
	    (int)value->ramp, "delay",
	    (double)(value->time_us - preview->now_us) / 1e6, "users",
	    (json_int_t)preview->plan.accounts, "moving",
	    (json_int_t)preview->plan.moving, "moves",
	    describe_moves(&preview->plan));
	json_t *sessions =
	    preview->ending == CTL_ABSENT
		? json_null()
		: json_pack("{s:I, s:I}", "ending", (json_int_t)preview->ending,
		      "staying", (json_int_t)preview->staying);

	json_object_set_new(answer, "sessions", sessions);
	return answer;
}

static void
print(const json_t *answer)
{
	const json_t *move, *sessions = json_object_get(answer, "sessions");
	size_t i;

	printf("change    %s %s, weight %lld, over %lld s\n",
	    output_member(answer, "name"), output_member(answer, "state"),
	    output_number(answer, "weight"), output_number(answer, "ramp"));
	if (json_number_value(json_object_get(answer, "delay")) > 0)
		printf("begins    in %.1f s, for its history begins with it\n",
		    json_number_value(json_object_get(answer, "delay")));
	printf("users     %lld of %lld move\n", output_number(answer, "moving"),
	    output_number(answer, "users"));
	json_array_foreach(json_object_get(answer, "moves"), i, move)
	    printf("%-9s %8lld  %s -> %s\n", "", output_number(move, "users"),
		output_member(move, "from"), output_member(move, "to"));
	if (json_is_object(sessions))
		printf("sessions  %lld of this proxy end, %lld stay\n",
		    output_number(sessions, "ending"),
		    output_number(sessions, "staying"));
}

static int
run(struct preview *preview, const char *name)
{
	json_t *answer;
	int code;

	preview->host =
	    cell_host(preview->view.cell, HOST_SERVER, slice_from(name));
	if (!preview->host) {
		ctl_complain(name, "there is no server of that name");
		return CTL_NO;
	}
	preview->now_us = clock_realtime_us();
	code = open_plan(preview);
	if (code == EX_OK)
		code = view_accounts(
		    &preview->view, count_account, &preview->plan);
	if (code != EX_OK)
		return code;
	count_sessions(preview);
	answer = describe(preview);
	if (preview->ctl->json)
		return output_json(answer);
	print(answer);
	json_decref(answer);
	return EX_OK;
}

int
preview_server(const struct ctl *ctl, int count, char **words)
{
	struct preview preview = { .ctl = ctl };
	int code;

	if (count < 2) {
		ctl_complain(
		    "plan server", "drain, up, down or weight, and NAME");
		return EX_USAGE;
	}
	code = server_wish_read(
	    &preview.wish, ctl, words[0], count - 2, words + 2);
	if (code == EX_OK) {
		code = view_open(&preview.view, ctl);
		if (code == EX_OK)
			code = run(&preview, words[1]);
		plan_close(&preview.plan);
		cell_free(&preview.after);
		view_close(&preview.view);
	}
	return code;
}
