#include "ctl/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "ctl/directory.h"
#include "ctl/hosts.h"
#include "ctl/output.h"
#include "ctl/progress.h"
#include "ctl/view.h"
#include "lib/change.h"
#include "lib/timestamp.h"
#include "replica/clock.h"

#define TRIES_MAX 16 /* races with other writers, and steps, in all */
#define PARTS_MAX 64
#define VALUE_MAX 256
#define UNKNOWN   UINT32_MAX /* a weight or ramp that is not decided yet */

/* ---- what is wished ---- */

static const struct verb_row {
	const char *verb;
	enum host_state state;
	bool keeps_state; /* only the weight changes */
	bool at_once;     /* no ramp unless one is given */
} verb_rows[] = {
	{ "drain", HOST_DRAIN, false, false },
	{ "up", HOST_UP, false, false },
	{ "down", HOST_DOWN, false, true },
	{ "weight", HOST_UP, true, false },
};

static const struct verb_row *
find_verb(const char *verb)
{
	for (size_t i = 0; i < ARRAY_SIZE(verb_rows); i++)
		if (strcmp(verb_rows[i].verb, verb) == 0)
			return &verb_rows[i];
	return NULL;
}

int
server_wish_read(struct server_wish *wish, const struct ctl *ctl,
    const char *verb, int count, char **words)
{
	const struct verb_row *row = find_verb(verb);
	uint64_t weight = UNKNOWN;

	if (!row || count != (row->keeps_state ? 1 : 0)) {
		ctl_complain(verb, "drain, up, down, or weight and a number");
		return EX_USAGE;
	}
	if (row->keeps_state && slice_to_uint(slice_from(words[0]),
				    TRANSITION_WEIGHT_MAX, &weight) < 0) {
		ctl_complain(words[0], "a weight is a number of 0 to 10000");
		return EX_USAGE;
	}
	*wish = (struct server_wish){
		.wanted.state = row->keeps_state ? HOST_FAILED : row->state,
		.wanted.weight = (uint32_t)weight,
		.wanted.ramp = row->at_once ? 0 : UNKNOWN,
		.hurried = ctl->options.ramp != CTL_ABSENT,
	};
	if (wish->hurried)
		wish->wanted.ramp = (uint32_t)ctl->options.ramp;
	return EX_OK;
}

void
server_wish_complete(struct server_wish *wish, const struct host *host,
    const struct pool *pool, int64_t now_us)
{
	const struct transition *newest = hosts_newest(host, now_us);

	if (wish->wanted.state == HOST_FAILED)
		wish->wanted.state = newest ? newest->state : host->state;
	/* The wish outlives a failure, whose value may have any weight. */
	if (wish->wanted.weight == UNKNOWN)
		wish->wanted.weight = host->weight;
	if (wish->wanted.ramp == UNKNOWN)
		wish->wanted.ramp = pool ? pool->ramp : 0;
}

const struct pool *
server_pool(const struct cell *cell, const struct host *host)
{
	if (host->kind != HOST_SERVER)
		return NULL;
	return host->pool.size > 0 ? cell_pool(cell, host->pool)
				   : cell_default_pool(cell);
}

uint32_t
server_guard(const struct pool *pool)
{
	return pool ? pool->guard_ms : POOL_GUARD;
}

/* ---- how it is written ---- */

/* One change, from the first look at the directory until it is written. */
struct writing {
	const struct ctl *ctl;
	struct directory *directory;
	const char *name;
	struct server_wish wish, complete;
	struct cell *cell; /* as last read */
	const struct host *host;
	struct change change;
	uint32_t guard_ms;
	bool changed;
};

static void
sleep_until(int64_t moment_us)
{
	int64_t wait_us = moment_us - clock_realtime_us();
	struct timespec time = { wait_us / 1000000,
		(wait_us % 1000000) * 1000 };

	if (wait_us > 0)
		(void)nanosleep(&time, NULL);
}

/* Step BASE or WAIT: says what for, and waits. */
static void
wait_for_base(const struct writing *writing)
{
	int64_t wait_us = writing->change.again_us - clock_realtime_us();

	(void)fprintf(stderr,
	    "%s: has no history yet; waiting %.1f s until every proxy knows its first value\n",
	    writing->name, wait_us > 0 ? (double)wait_us / 1e6 : 0.0);
	sleep_until(writing->change.again_us);
}

static void
add_deletions(const struct writing *writing, struct directory_part *parts,
    size_t *count, size_t from, size_t number)
{
	const struct host *host = writing->host;

	/* What does not fit now goes with the next change. */
	for (size_t i = from; i < from + number && *count < PARTS_MAX - 4; i++)
		parts[(*count)++] = (struct directory_part){ DIRECTORY_DELETE,
			"postcellTransition", host->transitions[i].text };
}

/* One modify: the step's value, and with the change itself the wish. */
static enum directory_result
write_step(struct writing *writing)
{
	const struct change *change = &writing->change;
	const struct host *host = writing->host;
	struct directory_part parts[PARTS_MAX];
	struct buf value = buf_bounded(VALUE_MAX);
	struct buf weight = buf_bounded(VALUE_MAX);
	enum host_state wish = writing->complete.wanted.state == HOST_FAILED
				   ? host->state
				   : writing->complete.wanted.state;
	size_t count = 0;
	enum directory_result result;

	(void)transition_format(&value, &change->value);
	(void)buf_printf(
	    &weight, "%u", (unsigned)writing->complete.wanted.weight);
	if (change->step == CHANGE_WRITE) {
		add_deletions(writing, parts, &count, 0, change->passed);
		add_deletions(writing, parts, &count,
		    host->transition_count - change->ahead, change->ahead);
		parts[count++] = (struct directory_part){ DIRECTORY_REPLACE,
			"postcellState", slice_from(host_state_text(wish)) };
		parts[count++] = (struct directory_part){ DIRECTORY_REPLACE,
			"postcellWeight", buf_slice(&weight) };
	}
	parts[count++] = (struct directory_part){ DIRECTORY_ADD,
		"postcellTransition", buf_slice(&value) };
	result = directory_modify(writing->directory,
	    record_value(host->record, CELL_DN),
	    record_value(host->record, CELL_CSN), parts, count);
	buf_free(&value);
	buf_free(&weight);
	return result;
}

/* A failed host's weight is only wished: deciders bring it back with it. */
static enum directory_result
write_wished_weight(struct writing *writing)
{
	struct buf weight = buf_bounded(VALUE_MAX);
	struct directory_part part = { .kind = DIRECTORY_REPLACE,
		.attribute = "postcellWeight" };
	enum directory_result result;

	(void)buf_printf(
	    &weight, "%u", (unsigned)writing->complete.wanted.weight);
	part.value = buf_slice(&weight);
	result = directory_modify(writing->directory,
	    record_value(writing->host->record, CELL_DN),
	    record_value(writing->host->record, CELL_CSN), &part, 1);
	buf_free(&weight);
	return result;
}

/* Nothing to do: the newest value says so already, and no ramp is cut short. */
static bool
is_so_already(const struct writing *writing)
{
	const struct host *host = writing->host;
	const struct transition *wanted = &writing->complete.wanted;
	const struct transition *newest =
	    host->transition_count > 0
		? &host->transitions[host->transition_count - 1]
		: NULL;
	enum host_state state = newest ? newest->state : host->state;
	uint32_t weight = newest ? newest->weight : host->weight;

	return state == wanted->state && weight == wanted->weight &&
	       host->weight == wanted->weight &&
	       (host->state == wanted->state || state == HOST_FAILED) &&
	       !writing->wish.hurried;
}

/* Reads the host. EX_OK, or an exit status after a complaint. */
static int
read_host(struct writing *writing)
{
	int code;

	cell_free(&writing->cell);
	code = directory_exit(writing->directory,
	    directory_cell(writing->directory, &writing->cell));
	if (code != EX_OK)
		return code;
	writing->host = cell_host(
	    writing->cell, writing->ctl->kind, slice_from(writing->name));
	if (!writing->host) {
		ctl_complain(writing->name, "there is none of that name");
		return CTL_NO;
	}
	return EX_OK;
}

static enum directory_result
make_step(struct writing *writing)
{
	const struct pool *pool = server_pool(writing->cell, writing->host);
	const struct transition *wanted = &writing->complete.wanted;
	int64_t now_us = clock_realtime_us();

	writing->complete = writing->wish;
	server_wish_complete(&writing->complete, writing->host, pool, now_us);
	writing->guard_ms = server_guard(pool);
	writing->change.step = CHANGE_WRITE;
	if (is_so_already(writing))
		return DIRECTORY_DONE;
	writing->changed = true;
	if (wanted->state == HOST_FAILED)
		return write_wished_weight(writing);
	change_make(&writing->change, writing->host, writing->guard_ms, now_us,
	    wanted->state, wanted->weight, wanted->ramp);
	return writing->change.step == CHANGE_WAIT ? DIRECTORY_DONE
						   : write_step(writing);
}

/* Until it is written: over the base, and over other writers. */
static int
write_change(struct writing *writing)
{
	enum directory_result result = DIRECTORY_RACE;

	for (int i = 0; i < TRIES_MAX; i++) {
		int code = read_host(writing);

		if (code != EX_OK)
			return code;
		result = make_step(writing);
		if (result == DIRECTORY_RACE)
			continue;
		if (result != DIRECTORY_DONE ||
		    writing->change.step == CHANGE_WRITE)
			break;
		wait_for_base(writing);
	}
	return directory_exit(writing->directory, result);
}

/* ---- what is said of it ---- */

static json_t *
describe(const struct writing *writing)
{
	const struct transition *wanted = &writing->complete.wanted;
	const struct transition *value = &writing->change.value;
	bool moves = writing->changed && wanted->state != HOST_FAILED;

	return json_pack("{s:o, s:s, s:i, s:b, s:i, s:o, s:o}", "name",
	    output_text(writing->host->name), "state",
	    host_state_text(wanted->state), "weight", (int)wanted->weight,
	    "changed", (int)writing->changed, "ramp",
	    moves ? (int)wanted->ramp : 0, "time",
	    output_moment(moves ? value->time_us : 0), "until",
	    output_moment(
		moves ? value->time_us + value->ramp * TIMESTAMP_SECOND : 0));
}

static int
tell(const struct writing *writing)
{
	const struct transition *wanted = &writing->complete.wanted;
	json_t *answer;

	if (writing->ctl->json)
		return output_json(describe(writing));
	answer = describe(writing);
	if (!writing->changed)
		printf("%s: is so already: %s, weight %u\n", writing->name,
		    host_state_text(wanted->state), (unsigned)wanted->weight);
	else if (wanted->state == HOST_FAILED)
		printf("%s: has failed; comes back with weight %u\n",
		    writing->name, (unsigned)wanted->weight);
	else
		printf("%s: %s, weight %u, from %s over %u s\n", writing->name,
		    host_state_text(wanted->state), (unsigned)wanted->weight,
		    output_member(answer, "time"), (unsigned)wanted->ramp);
	json_decref(answer);
	return EX_OK;
}

static int
change_host(const struct ctl *ctl, const char *verb, int count, char **words)
{
	struct writing writing = { .ctl = ctl, .name = words[0] };
	int code =
	    server_wish_read(&writing.wish, ctl, verb, count - 1, words + 1);

	if (code == EX_OK)
		code = directory_open(&writing.directory, ctl);
	if (code == EX_OK)
		code = write_change(&writing);
	if (code == EX_OK)
		code = tell(&writing);
	(void)fflush(stdout);
	if (code == EX_OK && ctl->options.wait && writing.changed &&
	    writing.complete.wanted.state != HOST_FAILED)
		code = progress_wait(
		    ctl, writing.name, &writing.change.value, writing.guard_ms);
	cell_free(&writing.cell);
	directory_free(&writing.directory);
	return code;
}

int
server_drain(const struct ctl *ctl, int count, char **words)
{
	return change_host(ctl, "drain", count, words);
}

int
server_up(const struct ctl *ctl, int count, char **words)
{
	return change_host(ctl, "up", count, words);
}

int
server_down(const struct ctl *ctl, int count, char **words)
{
	return change_host(ctl, "down", count, words);
}

int
server_weight(const struct ctl *ctl, int count, char **words)
{
	return change_host(ctl, "weight", count, words);
}
