#include "tests/simulator/world.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/change.h"
#include "lib/timestamp.h"

#define OBSERVERS        (WORLD_PROXIES + WORLD_WRITERS)
#define SERVERS_AT_START 4
#define MILLISECOND      INT64_C(1000)

const char *
breach_text(enum breach breach)
{
	static const char *const texts[] = {
		[BREACH_NONE] = "none",
		[BREACH_LAG] = "lag",
		[BREACH_SKEW] = "skew",
		[BREACH_CLOSING] = "closing",
		[BREACH_KEEP_ON_WAIT] = "keep-on-wait",
		[BREACH_STALE_START] = "stale-start",
		[BREACH_NO_BASE] = "no-base",
		[BREACH_PRUNE] = "prune",
		[BREACH_REMOVE] = "remove",
		[BREACH_UNSAID_MOVE] = "unsaid-move",
	};

	_Static_assert(
	    ARRAY_SIZE(texts) == BREACH_COUNT, "a text for each breach");
	return texts[breach];
}

/* A delay within the lag; its ends come often, since they are the worst. */
static int64_t
roll_delay(struct world *world)
{
	struct dice *dice = &world->dice;

	switch (dice_below(dice, 4)) {
	case 0:
		return 0;
	case 1:
		return world->bounds.lag;
	default:
		return dice_between(dice, 0, world->bounds.lag);
	}
}

static void
set_text(struct value *value, const char *text)
{
	(void)snprintf(value->text, sizeof(value->text), "%s", text);
}

static void
format_time(struct value *value, int64_t at_us)
{
	struct buf text = buf_bounded(sizeof(value->text) - 1);

	timestamp_format(&text, at_us);
	assert(!text.failed);
	memcpy(value->text, buf_string(&text), text.size + 1);
	buf_free(&text);
}

/* A write of this writer, now; the caller fills in what it does. */
static struct write *
add_write(struct world *world, unsigned writer, int64_t at_us,
    enum target target, unsigned index)
{
	struct write *write = &world->writes[world->write_count];

	assert(world->write_count < WORLD_WRITES);
	world->write_count++;
	memset(write, 0, sizeof(*write));
	write->at_us = at_us;
	write->target = target;
	write->index = index;
	for (unsigned i = 0; i < OBSERVERS; i++) {
		int64_t latest_us = at_us + world->bounds.lag;
		int64_t arrival_us = at_us + roll_delay(world);

		if (world->cut >> i & 1 && arrival_us >= world->cut_us &&
		    arrival_us < world->joined_us)
			arrival_us = world->joined_us;
		write->arrival_us[i] =
		    arrival_us < latest_us ? arrival_us : latest_us;
	}
	write->arrival_us[writer] = at_us;
	format_time(&write->server.csn, at_us + world->offset_us[writer]);
	return write;
}

static void
format_value(struct value *value, const struct transition *transition)
{
	struct buf text = buf_bounded(sizeof(value->text) - 1);

	transition_format(&text, transition);
	assert(!text.failed);
	memcpy(value->text, buf_string(&text), text.size + 1);
	buf_free(&text);
}

static void
delete_value(struct write *write, struct slice text)
{
	memcpy(
	    write->deleted[write->deleted_count++].text, text.data, text.size);
}

static void
delete_values(
    struct write *write, const struct host *host, const struct change *change)
{
	for (size_t i = 0; i < change->passed; i++)
		delete_value(write, host->transitions[i].text);
	for (size_t i = 0; i < change->ahead; i++)
		delete_value(write,
		    host->transitions[host->transition_count - 1 - i].text);
}

/* The server of a view; NULL when it is not there. */
static const struct host *
find_server(const struct view *view, unsigned index)
{
	char name[WORLD_TEXT];

	(void)snprintf(name, sizeof(name), "mbox%u", index + 1);
	return cell_host(view->cell, HOST_SERVER, slice_from(name));
}

/* What change_make() would delete if it kept nothing for the guard. */
static size_t
passed_just_now(const struct host *host, int64_t now_us)
{
	struct change change;

	change_make(&change, host, POOL_GUARD, now_us + CHANGE_KEEP,
	    host->state, host->weight, 0);
	return change.passed;
}

/* A new state, weight and ramp, as lib/change.h has it. */
static void
change_server(struct world *world, unsigned writer, int64_t at_us,
    unsigned index, const struct transition *wish)
{
	int64_t now_us = at_us + world->offset_us[writer];
	struct change change = { .step = CHANGE_WAIT };
	const struct host *host;
	struct write *write;
	struct view view;

	view_make(&view, world, writer, at_us);
	host = find_server(&view, index);
	if (host && host->transition_count < WORLD_VALUES / 2)
		change_make(&change, host,
		    cell_pool(view.cell, host->pool)->guard_ms, now_us,
		    wish->state, wish->weight, wish->ramp);
	if (world->breach == BREACH_NO_BASE && change.step == CHANGE_BASE) {
		change.step = CHANGE_WRITE;
		change.value = *wish;
		change.value.time_us = now_us;
	}
	if (world->breach == BREACH_PRUNE && change.step == CHANGE_WRITE)
		change.passed = passed_just_now(host, now_us);
	if (change.step != CHANGE_WAIT) {
		write = add_write(world, writer, at_us, TARGET_SERVER, index);
		format_value(&write->server.values[write->server.value_count++],
		    &change.value);
		delete_values(write, host, &change);
	}
	view_free(&view);
}

static void
set_state(struct world *world, unsigned writer, int64_t at_us, unsigned index,
    enum host_state state)
{
	struct transition wish = { .state = state, .weight = 100 };

	change_server(world, writer, at_us, index, &wish);
}

static void
act_change(struct world *world, unsigned writer, int64_t at_us)
{
	static const enum host_state states[] = { HOST_UP, HOST_UP, HOST_UP,
		HOST_DRAIN, HOST_DOWN };

	static const uint32_t weights[] = { 100, 100, 50, 200, 1, 0 };
	static const uint32_t ramps[] = { 0, 0, 1, 2, 5 };
	struct dice *dice = &world->dice;
	unsigned index = dice_below(dice, WORLD_SERVERS);
	struct transition wish = {
		.state = states[dice_below(dice, ARRAY_SIZE(states))],
		.weight = weights[dice_below(dice, ARRAY_SIZE(weights))],
		.ramp = ramps[dice_below(dice, ARRAY_SIZE(ramps))],
	};

	change_server(world, writer, at_us, index, &wish);
}

/* Two deciders come to one decision, a moment apart; often it is taken back. */
static void
act_fail(struct world *world, unsigned writer, int64_t at_us)
{
	struct dice *dice = &world->dice;
	unsigned index = dice_below(dice, WORLD_SERVERS);
	unsigned other = WORLD_PROXIES + dice_below(dice, WORLD_WRITERS);
	int64_t apart_us =
	    dice_chance(dice, 30) ? 0 : dice_between(dice, 0, 20 * MILLISECOND);

	set_state(world, writer, at_us, index, HOST_FAILED);
	if (other == writer)
		return;
	at_us += apart_us;
	if (dice_chance(dice, 60))
		set_state(world, other, at_us, index, HOST_FAILED);
	else
		set_state(world, other, at_us, index, HOST_UP);
}

/* Every server of the cell fails. */
static void
act_blackout(struct world *world, unsigned writer, int64_t at_us)
{
	for (unsigned i = 0; i < WORLD_SERVERS; i++)
		set_state(world, writer, at_us, i, HOST_FAILED);
}

/* Several come back together, by several hands. */
static void
act_revive(struct world *world, unsigned writer, int64_t at_us)
{
	(void)writer;
	for (unsigned i = 0; i < WORLD_SERVERS; i++) {
		unsigned hand =
		    WORLD_PROXIES + dice_below(&world->dice, WORLD_WRITERS);

		if (dice_chance(&world->dice, 50))
			set_state(world, hand, at_us, i, HOST_UP);
	}
}

static void
format_moved(struct value *moved, const struct account *account,
    const struct account_entry *old, int64_t now_us)
{
	struct buf text = buf_bounded(sizeof(moved->text) - 1);

	timestamp_format(&text, change_move_time(account, now_us));
	buf_printf(&text, " %s %s", old->pin.text[0] ? old->pin.text : "-",
	    old->pool.text[0] ? old->pool.text : "-");
	assert(!text.failed);
	memcpy(moved->text, buf_string(&text), text.size + 1);
	buf_free(&text);
}

/* Another pin, pool or group for an account. */
static void
act_move(struct world *world, unsigned writer, int64_t at_us)
{
	static const char *const pins[] = { "", "", "mbox1", "mbox2",
		"mbox3.example.org", "mbox5", "old.example.org" };
	static const char *const pools[] = { "", "disk", "tape" };
	static const char *const groups[] = { "", "staff", "board" };
	struct dice *dice = &world->dice;
	unsigned index = dice_below(dice, WORLD_ACCOUNTS);
	struct write *write;
	struct view view;

	view_make(&view, world, writer, at_us);
	write = add_write(world, writer, at_us, TARGET_ACCOUNT, index);
	if (dice_chance(dice, 60)) {
		write->sets |= SETS_PIN;
		set_text(&write->account.pin,
		    pins[dice_below(dice, ARRAY_SIZE(pins))]);
	}
	if (dice_chance(dice, 40)) {
		write->sets |= SETS_POOL;
		set_text(&write->account.pool,
		    pools[dice_below(dice, ARRAY_SIZE(pools))]);
	}
	if (dice_chance(dice, 30)) {
		write->sets |= SETS_GROUP;
		set_text(&write->account.group,
		    groups[dice_below(dice, ARRAY_SIZE(groups))]);
	}
	if (world->breach != BREACH_UNSAID_MOVE) {
		write->sets |= SETS_MOVED;
		format_moved(&write->account.moved, &view.accounts[index],
		    &view.account_entries[index],
		    at_us + world->offset_us[writer]);
	}
	view_free(&view);
}

/* The guard never goes below what the history keeps to. */
static void
act_guard(struct world *world, unsigned writer, int64_t at_us)
{
	struct dice *dice = &world->dice;
	struct write *write = add_write(
	    world, writer, at_us, TARGET_POOL, dice_below(dice, WORLD_POOLS));
	int64_t least_ms = world->bounds.guard / MILLISECOND;

	write->guard_ms = (uint32_t)dice_between(dice, least_ms, 3 * least_ms);
}

static void
create_server(struct world *world, unsigned writer, int64_t at_us,
    unsigned index, unsigned pool, uint32_t ramp)
{
	struct write *write =
	    add_write(world, writer, at_us, TARGET_SERVER, index);
	struct transition first = { .time_us = at_us + world->offset_us[writer],
		.ramp = ramp,
		.state = HOST_UP,
		.weight = 100 };

	write->sets = SETS_EXISTS | SETS_POOL | SETS_WISH;
	write->server.exists = true;
	write->server.pool = pool;
	write->server.wish = HOST_UP;
	write->server.weight = 100;
	format_value(
	    &write->server.values[write->server.value_count++], &first);
}

/* Whether this writer knows all that was written of a server. */
static bool
knows_all(
    const struct world *world, unsigned writer, int64_t at_us, unsigned index)
{
	for (size_t i = 0; i < world->write_count; i++) {
		const struct write *write = &world->writes[i];

		if (write->target == TARGET_SERVER && write->index == index &&
		    write->arrival_us[writer] > at_us)
			return false;
	}
	return true;
}

/*
 * A server that is not there comes; one that is settled goes, or changes pool;
 * any other is taken down, so that it may be settled later. One hand does this
 * in a cell, or a server could be made twice, and nobody brings a server up in
 * the very lag in which it goes.
 */
static void
act_remodel(struct world *world, unsigned writer, int64_t at_us)
{
	struct dice *dice = &world->dice;
	unsigned index = dice_below(dice, WORLD_SERVERS);
	const struct host *host;
	struct write *write;
	struct view view;
	bool settled;

	writer = WORLD_PROXIES;
	view_make(&view, world, writer, at_us);
	host = find_server(&view, index);
	settled =
	    host &&
	    (world->breach == BREACH_REMOVE ||
		(knows_all(world, writer, at_us, index) &&
		    change_is_settled(host, at_us + world->offset_us[writer])));
	if (!host) {
		create_server(world, writer, at_us, index,
		    dice_below(dice, WORLD_POOLS), dice_below(dice, 3));
	} else if (!settled) {
		set_state(world, writer, at_us, index, HOST_DOWN);
	} else {
		write = add_write(world, writer, at_us, TARGET_SERVER, index);
		write->sets = dice_chance(dice, 50) ? SETS_EXISTS : SETS_POOL;
		write->server.pool = dice_below(dice, WORLD_POOLS);
	}
	view_free(&view);
}

/*
 * A hand that knows no rule adds what makes no sense. A first transition by
 * such a hand is nothing that placement can bear, so the host has some.
 */
static void
act_mistake(struct world *world, unsigned writer, int64_t at_us)
{
	static const char *const values[] = {
		"20260101000000Z 60 up -3",
		"yesterday 0 down 100",
		"20270101000000Z 0 down 4000000000",
		"20990101000000.000000Z 0 down 100",
		"20990101000000.000000Z 60 up 100",
	};
	struct dice *dice = &world->dice;
	unsigned index = dice_below(dice, WORLD_SERVERS);
	const char *value = values[dice_below(dice, ARRAY_SIZE(values))];
	const struct host *host;
	struct write *write;
	struct view view;

	view_make(&view, world, writer, at_us);
	host = find_server(&view, index);
	if (host && host->transition_count > 1) {
		write = add_write(world, writer, at_us, TARGET_SERVER, index);
		set_text(
		    &write->server.values[write->server.value_count++], value);
	}
	view_free(&view);
}

typedef void act(struct world *world, unsigned writer, int64_t at_us);

static const struct {
	unsigned percent;
	act *act;
} acts[] = {
	{ 40, act_change },
	{ 15, act_fail },
	{ 15, act_move },
	{ 8, act_revive },
	{ 4, act_blackout },
	{ 10, act_remodel },
	{ 4, act_guard },
	{ 4, act_mistake },
};

static act *
roll_act(struct dice *dice)
{
	unsigned roll = dice_below(dice, 100);
	size_t i = 0;

	while (roll >= acts[i].percent)
		roll -= acts[i++].percent;
	return acts[i].act;
}

/* From one act to the next: nothing, a moment, a lag, guards, a long quiet. */
static int64_t
roll_pause(struct world *world)
{
	struct dice *dice = &world->dice;
	int64_t guard = world->bounds.guard;

	switch (dice_below(dice, 10)) {
	case 0:
		return 0;
	case 1:
		return dice_between(dice, 1, MILLISECOND);
	case 2:
	case 3:
		return dice_between(dice, 0, world->bounds.lag);
	case 4:
	case 5:
	case 6:
		return dice_between(dice, 0, guard);
	case 7:
	case 8:
		return dice_between(dice, 0, 3 * guard);
	default:
		return dice_between(dice, CHANGE_KEEP, 2 * CHANGE_KEEP);
	}
}

/* Parts of a sum in random proportion, often with one of them next to nothing.
 */
static void
roll_bounds(struct world *world)
{
	struct dice *dice = &world->dice;
	struct bounds *bounds = &world->bounds;
	int64_t sum, first, second;

	bounds->guard = dice_between(dice, 100, 3000) * MILLISECOND;
	sum = bounds->guard - 1;
	if (dice_chance(dice, 30))
		sum = dice_between(dice, 0, sum);
	first = dice_between(dice, 0, sum);
	second = dice_between(dice, 0, sum);
	if (dice_chance(dice, 30))
		first = second = sum; /* all of it lag */
	bounds->lag = first < second ? first : second;
	bounds->skew = (first < second ? second : first) - bounds->lag;
	bounds->closing = sum - bounds->lag - bounds->skew;
	if (world->breach == BREACH_LAG)
		bounds->lag += 2 * bounds->guard;
	if (world->breach == BREACH_SKEW)
		bounds->skew += 2 * bounds->guard;
	if (world->breach == BREACH_CLOSING)
		bounds->closing += 2 * bounds->guard;
}

static void
roll_troubles(struct world *world, int64_t span_us)
{
	struct dice *dice = &world->dice;

	world->crashed = OBSERVERS;
	if (dice_chance(dice, 40) || world->breach == BREACH_STALE_START)
		world->crashed = dice_below(dice, WORLD_PROXIES);
	world->crash_us = WORLD_START + dice_between(dice, 0, span_us);
	world->restart_us = world->crash_us + dice_between(dice, 0, span_us);
	world->cut = dice_chance(dice, 50) ? (unsigned)dice_octets(dice) : 0;
	world->cut_us = WORLD_START + dice_between(dice, 0, span_us);
	world->joined_us = world->cut_us + world->bounds.lag;
}

/* Clocks: any within the skew, and most often two at its ends. */
static void
roll_clocks(struct world *world)
{
	struct dice *dice = &world->dice;

	for (unsigned i = 0; i < OBSERVERS; i++) {
		int64_t offset_us = dice_between(dice, 0, world->bounds.skew);

		if (dice_chance(dice, 50))
			offset_us =
			    dice_chance(dice, 50) ? 0 : world->bounds.skew;
		world->offset_us[i] = offset_us;
	}
}

/* What stands in the directory before the history begins. */
static void
make_start(struct world *world)
{
	struct bounds bounds = world->bounds;
	int64_t long_ago_us = WORLD_START - 10 * CHANGE_KEEP;

	world->bounds.lag = 0;
	for (unsigned i = 0; i < WORLD_POOLS; i++)
		add_write(world, 0, long_ago_us, TARGET_POOL, i)->guard_ms =
		    (uint32_t)(bounds.guard / MILLISECOND);
	for (unsigned i = 0; i < SERVERS_AT_START; i++) {
		create_server(world, 0, long_ago_us, i, i == 3, 0);
		/* Some have a wish and nothing else. */
		if (dice_chance(&world->dice, 30))
			world->writes[world->write_count - 1]
			    .server.value_count = 0;
	}
	world->bounds = bounds;
}

void
world_make(
    struct world *world, uint64_t seed, enum breach breach, unsigned acts_max)
{
	struct dice *dice = &world->dice;
	unsigned count;
	int64_t at_us = WORLD_START;

	dice->state = seed;
	world->breach = breach;
	world->write_count = 0;
	world->cut = 0;
	for (unsigned i = 0; i < WORLD_ACCOUNTS; i++) {
		uint64_t halves[2] = { dice_octets(dice), dice_octets(dice) };

		memcpy(world->ids[i], halves, ACCOUNT_ID_SIZE);
	}
	roll_bounds(world);
	roll_clocks(world);
	make_start(world);
	roll_troubles(world, 8 * world->bounds.guard);
	count = 1 + dice_below(dice, acts_max);
	while (count-- > 0 && world->write_count + 16 < WORLD_WRITES) {
		unsigned writer =
		    WORLD_PROXIES + dice_below(dice, WORLD_WRITERS);

		roll_act(dice)(world, writer, at_us);
		at_us += roll_pause(world);
	}
	world->end_us = at_us + 10 * TIMESTAMP_SECOND + 4 * world->bounds.guard;
}

static void
print_write(const struct write *write)
{
	static const char *const targets[] = { "mbox", "pool", "account" };

	(void)printf("%+12.6f %s%u", (double)(write->at_us - WORLD_START) / 1e6,
	    targets[write->target], write->index + 1);
	if (write->sets & SETS_EXISTS)
		(void)printf(" %s", write->server.exists ? "comes" : "goes");
	if (write->target == TARGET_SERVER && write->sets & SETS_POOL)
		(void)printf(" pool %u", write->server.pool + 1);
	for (size_t i = 0; i < write->server.value_count; i++)
		(void)printf(" +\"%s\"", write->server.values[i].text);
	for (size_t i = 0; i < write->deleted_count; i++)
		(void)printf(" -\"%s\"", write->deleted[i].text);
	if (write->target == TARGET_POOL)
		(void)printf(" guard %u ms", write->guard_ms);
	if (write->target == TARGET_ACCOUNT)
		(void)printf(
		    " pin%s \"%s\" pool%s \"%s\" group%s \"%s\" moved \"%s\"",
		    write->sets & SETS_PIN ? "=" : "", write->account.pin.text,
		    write->sets & SETS_POOL ? "=" : "",
		    write->account.pool.text,
		    write->sets & SETS_GROUP ? "=" : "",
		    write->account.group.text, write->account.moved.text);
	(void)printf("\n%14s known after", "");
	for (unsigned i = 0; i < OBSERVERS; i++)
		(void)printf(" %.6f",
		    (double)(write->arrival_us[i] - write->at_us) / 1e6);
	(void)printf("\n");
}

void
world_print(const struct world *world)
{
	(void)printf("guard %.6f lag %.6f skew %.6f closing %.6f s\nclocks",
	    (double)world->bounds.guard / 1e6, (double)world->bounds.lag / 1e6,
	    (double)world->bounds.skew / 1e6,
	    (double)world->bounds.closing / 1e6);
	for (unsigned i = 0; i < OBSERVERS; i++)
		(void)printf(" %+.6f", (double)world->offset_us[i] / 1e6);
	(void)printf("\n");
	if (world->crashed < OBSERVERS)
		(void)printf("proxy %u down from %+.6f to %+.6f\n",
		    world->crashed,
		    (double)(world->crash_us - WORLD_START) / 1e6,
		    (double)(world->restart_us - WORLD_START) / 1e6);
	for (size_t i = 0; i < world->write_count; i++)
		print_write(&world->writes[i]);
}
