#include "ctl/hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "ctl/output.h"
#include "ctl/plan.h"
#include "lib/change.h"
#include "lib/placement.h"
#include "lib/timestamp.h"
#include "lib/vote.h"
#include "replica/clock.h"

#define TEXT_MAX 64

/* How many accounts are at each place. */
struct census {
	const struct cell *cell;
	int64_t now_us;
	uint64_t *counts; /* owned */
};

static void
count_account(void *context, const struct account *account)
{
	struct census *census = context;

	census->counts[plan_place(census->cell, account, census->now_us)]++;
}

static int
take_census(struct census *census, const struct view *view, int64_t now_us)
{
	size_t host_count;

	(void)cell_hosts(view->cell, &host_count);
	*census = (struct census){ .cell = view->cell,
		.now_us = now_us,
		.counts =
		    calloc(host_count + PLAN_PLACES, sizeof(*census->counts)) };
	if (!census->counts)
		abort();
	return view_accounts(view, count_account, census);
}

const struct transition *
hosts_newest(const struct host *host, int64_t now_us)
{
	for (size_t i = host->transition_count; i-- > 0;)
		if (host->transitions[i].time_us <= now_us)
			return &host->transitions[i];
	return NULL;
}

static json_t *
describe_services(const struct host *host)
{
	struct slice rest = host->record;
	struct record_field field;
	json_t *services = json_array();

	while (record_next(&rest, &field))
		if (field.tag == CELL_SERVICE)
			json_array_append_new(
			    services, output_text(field.value));
	return services;
}

/* Observers that hold the host to be down. */
static json_t *
describe_votes(const struct cell *cell, const struct host *host)
{
	size_t count;
	const struct host *hosts = cell_hosts(cell, &count);
	json_t *votes = json_array();

	for (size_t i = 0; i < count; i++)
		if (vote_says(cell, &hosts[i], host, VOTE_DOWN))
			json_array_append_new(
			    votes, output_text(hosts[i].name));
	return votes;
}

static json_t *
describe_state(const struct host *host, int64_t now_us)
{
	const struct transition *newest = hosts_newest(host, now_us);
	enum host_state state = newest ? newest->state : host->state;
	uint32_t weight = newest ? newest->weight : host->weight;
	int64_t end_us =
	    newest ? newest->time_us + newest->ramp * TIMESTAMP_SECOND : 0;
	const char *word = host_state_text(state);

	if (!newest && host->transition_count > 0)
		word = "absent";
	return json_pack("{s:o, s:s, s:i, s:s, s:i, s:f, s:o}", "name",
	    output_text(host->name), "state", word, "weight", (int)weight,
	    "wished_state", host_state_text(host->state), "wished_weight",
	    (int)host->weight, "ramp_left",
	    end_us > now_us ? (double)(end_us - now_us) / 1e6 : 0.0, "since",
	    output_moment(newest ? newest->time_us : 0));
}

static json_t *
describe_host(const struct view *view, const struct host *host, int64_t now_us)
{
	json_t *answer = describe_state(host, now_us);

	if (!answer)
		abort();
	if (host->kind == HOST_SERVER)
		json_object_set_new(answer, "pool",
		    host->pool.size > 0 || !cell_default_pool(view->cell)
			? output_text(host->pool)
			: output_text(cell_default_pool(view->cell)->name));
	json_object_set_new(answer, "site", output_text(host->site));
	json_object_set_new(answer, "services", describe_services(host));
	json_object_set_new(
	    answer, "voted_down_by", describe_votes(view->cell, host));
	return answer;
}

json_t *
hosts_describe(const struct view *view, enum host_kind kind, int64_t now_us)
{
	struct census census = { .counts = NULL };
	size_t count;
	const struct host *hosts = cell_hosts(view->cell, &count);
	json_t *list = json_array();

	if (kind == HOST_SERVER &&
	    take_census(&census, view, now_us) != EX_OK) {
		free(census.counts);
		json_decref(list);
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		json_t *host;

		if (hosts[i].kind != kind)
			continue;
		host = describe_host(view, &hosts[i], now_us);
		if (census.counts)
			json_object_set_new(host, "users",
			    json_integer((json_int_t)census.counts[i]));
		json_array_append_new(list, host);
	}
	free(census.counts);
	return list;
}

/* "drain", "drain (12 s left)". */
static const char *
state_text(const json_t *host, char *text, size_t size)
{
	double left = json_number_value(json_object_get(host, "ramp_left"));

	if (left > 0)
		(void)snprintf(text, size, "%s, %.0f s left",
		    output_member(host, "state"), left);
	else
		(void)snprintf(text, size, "%s", output_member(host, "state"));
	return text;
}

/* What is not as it was wished, for the eye. */
static void
print_remarks(const json_t *host)
{
	const char *state = output_member(host, "state");
	const char *wish = output_member(host, "wished_state");
	json_t *votes = json_object_get(host, "voted_down_by");
	const json_t *vote;
	size_t i;

	if (!slice_is(slice_from(state), wish))
		printf(" wished %s", wish);
	if (output_number(host, "weight") !=
	    output_number(host, "wished_weight"))
		printf(" wished weight %lld",
		    output_number(host, "wished_weight"));
	json_array_foreach(votes, i, vote) printf(
	    "%s %s", i == 0 ? " seen down by" : "", json_string_value(vote));
}

size_t
hosts_print(const json_t *hosts, enum host_kind kind, const char *end)
{
	const json_t *host;
	bool servers = kind == HOST_SERVER;
	size_t i;

	printf("%-20s %-12s %-20s %6s %-10s %s%s%s", "NAME",
	    servers ? "POOL" : "", "STATE", "WEIGHT", "SITE",
	    servers ? "     USERS" : "",
	    json_object_get(json_array_get(hosts, 0), "sessions")
		? "   SESSIONS"
		: "",
	    end);
	json_array_foreach(hosts, i, host)
	{
		char text[TEXT_MAX];

		printf("%-20s %-12s %-20s %6lld %-10s",
		    output_member(host, "name"),
		    servers ? output_member(host, "pool") : "",
		    state_text(host, text, sizeof(text)),
		    output_number(host, "weight"), output_member(host, "site"));
		if (servers)
			printf(" %10lld", output_number(host, "users"));
		if (json_object_get(host, "sessions"))
			printf(" %10lld", output_number(host, "sessions"));
		print_remarks(host);
		printf("%s", end);
	}
	return json_array_size(hosts) + 1;
}

int
hosts_list(const struct ctl *ctl, int count, char **words)
{
	struct view view;
	int code = view_open(&view, ctl);
	json_t *hosts = NULL;

	(void)count;
	(void)words;
	if (code == EX_OK)
		hosts = hosts_describe(&view, ctl->kind, clock_realtime_us());
	if (code == EX_OK && !hosts)
		code = EX_TEMPFAIL;
	else if (hosts && ctl->json)
		code = output_json(json_pack("{s:O}", "hosts", hosts));
	else if (hosts)
		(void)hosts_print(hosts, ctl->kind, "\n");
	json_decref(hosts);
	view_close(&view);
	return code;
}

/* ---- one host ---- */

static json_t *
describe_history(const struct host *host)
{
	json_t *history = json_array();

	for (size_t i = 0; i < host->transition_count; i++) {
		const struct transition *value = &host->transitions[i];
		struct slice time =
		    slice_first(value->text, slice_find(value->text, ' '));

		json_array_append_new(
		    history, json_pack("{s:o, s:i, s:s, s:i}", "time",
				 output_text(time), "ramp", (int)value->ramp,
				 "state", host_state_text(value->state),
				 "weight", (int)value->weight));
	}
	return history;
}

static void
print_list(const json_t *host, const char *name)
{
	const json_t *value;
	size_t i;

	json_array_foreach(json_object_get(host, name), i, value)
	    printf("%-12s %s\n", i == 0 ? name : "", json_string_value(value));
}

static void
print_host(const json_t *host)
{
	const json_t *value;
	size_t i;

	printf("name         %s\n", output_member(host, "name"));
	if (json_object_get(host, "pool"))
		printf("pool         %s\n", output_member(host, "pool"));
	printf("site         %s\n", output_member(host, "site"));
	printf("state        %s, weight %lld\n", output_member(host, "state"),
	    output_number(host, "weight"));
	printf("wish         %s, weight %lld\n",
	    output_member(host, "wished_state"),
	    output_number(host, "wished_weight"));
	if (json_number_value(json_object_get(host, "ramp_left")) > 0)
		printf("ramp         %.1f s left\n",
		    json_number_value(json_object_get(host, "ramp_left")));
	if (json_object_get(host, "users"))
		printf("users        %lld\n", output_number(host, "users"));
	printf("settled      %s\n",
	    json_is_true(json_object_get(host, "settled")) ? "yes" : "no");
	print_list(host, "services");
	print_list(host, "voted_down_by");
	json_array_foreach(json_object_get(host, "history"), i, value) printf(
	    "%-12s %s %s, weight %lld, over %lld s\n", i == 0 ? "history" : "",
	    output_member(value, "time"), output_member(value, "state"),
	    output_number(value, "weight"), output_number(value, "ramp"));
}

static json_t *
describe_one(const struct view *view, const struct ctl *ctl, const char *name)
{
	const struct host *host =
	    cell_host(view->cell, ctl->kind, slice_from(name));
	int64_t now_us = clock_realtime_us();
	json_t *all, *one, *found = NULL;
	size_t i;

	if (!host)
		return NULL;
	all = hosts_describe(view, ctl->kind, now_us);
	json_array_foreach(all, i, one)
	{
		const char *text = output_member(one, "name");

		if (slice_equal_nocase(slice_from(text), host->name))
			found = json_incref(one);
	}
	json_decref(all);
	if (!found)
		return NULL;
	json_object_set_new(found, "history", describe_history(host));
	json_object_set_new(
	    found, "settled", json_boolean(change_is_settled(host, now_us)));
	return found;
}

int
hosts_show(const struct ctl *ctl, int count, char **words)
{
	struct view view;
	int code = view_open(&view, ctl);
	json_t *host = NULL;

	(void)count;
	if (code == EX_OK)
		host = describe_one(&view, ctl, words[0]);
	if (code == EX_OK && !host) {
		ctl_complain(words[0], "there is none of that name");
		code = CTL_NO;
	} else if (host && ctl->json) {
		code = output_json(json_incref(host));
	} else if (host) {
		print_host(host);
	}
	json_decref(host);
	view_close(&view);
	return code;
}
