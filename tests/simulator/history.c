#include "tests/simulator/history.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/placement.h"

#define STAYS_MAX   4096
#define MOMENTS_MAX (WORLD_WRITES + 5)

/* One account with one server at one proxy. */
struct stay {
	char server[WORLD_TEXT]; /* empty: with none */
	unsigned proxy;
	int64_t from_us, to_us; /* closing time included */
};

struct stays {
	struct stay list[STAYS_MAX];
	size_t count;
};

/* A proxy while it is played. */
struct proxy {
	const struct world *world;
	struct outcome *outcome;
	struct stays *stays; /* one for each account */
	struct dice dice;    /* its own, for looking in between */
	unsigned index;
	struct stay current[WORLD_ACCOUNTS];
};

void
outcome_start(struct outcome *outcome)
{
	*outcome = (struct outcome){ .margin_us = INT64_MAX };
}

void
outcome_print(const struct outcome *outcome)
{
	(void)printf("# %" PRIu64 " histories, %" PRIu64 " accounts, %" PRIu64
		     " writes, %" PRIu64 " stays, %" PRIu64 " moves\n",
	    outcome->histories, outcome->accounts, outcome->writes,
	    outcome->stays, outcome->moves);
	if (outcome->unforeseen > 0)
		(void)printf(
		    "# %" PRIu64
		    " answers that placement_next() did not announce\n",
		    outcome->unforeseen);
	if (outcome->overlaps == 0)
		(void)printf("# no overlap; two servers were never nearer than "
			     "%" PRId64 " us\n",
		    outcome->margin_us);
	else
		(void)printf("# %" PRIu64 " overlaps in %" PRIu64
			     " histories, up to %" PRId64
			     " us, the first of seed %" PRIu64 "\n",
		    outcome->overlaps, outcome->broken, outcome->overlap_us,
		    outcome->seed);
}

static void
stay_end(struct proxy *proxy, unsigned account, int64_t at_us)
{
	struct stay *stay = &proxy->current[account];
	struct stays *stays = &proxy->stays[account];

	if (stay->server[0] == '\0')
		return;
	stay->to_us = at_us + proxy->world->bounds.closing;
	assert(stays->count < STAYS_MAX);
	stays->list[stays->count++] = *stay;
	stay->server[0] = '\0';
}

/* Name of the server, or host, that an answer sends to; empty for none. */
static void
name_of(const struct placement *answer, char *name, size_t size)
{
	if (answer->kind == PLACEMENT_SERVER)
		(void)snprintf(
		    name, size, "%.*s", SLICE_ARGS(answer->server->name));
	else if (answer->kind == PLACEMENT_HOST)
		(void)snprintf(name, size, "%.*s", SLICE_ARGS(answer->host));
	else
		name[0] = '\0';
}

static void
obey(struct proxy *proxy, unsigned account, const struct placement *answer,
    int64_t at_us)
{
	struct stay *stay = &proxy->current[account];
	char name[WORLD_TEXT];

	name_of(answer, name, sizeof(name));
	if (strcmp(stay->server, name) == 0)
		return;
	if (proxy->world->breach == BREACH_KEEP_ON_WAIT &&
	    answer->kind == PLACEMENT_WAIT && answer->server &&
	    slice_is(answer->server->name, stay->server))
		return;
	stay_end(proxy, account, at_us);
	memcpy(stay->server, name, sizeof(name));
	stay->proxy = proxy->index;
	stay->from_us = at_us;
}

/* Between a moment and the next that was announced nothing may change. */
static void
look_between(struct proxy *proxy, const struct view *view, unsigned account,
    const struct placement *answer, int64_t now_us, int64_t next_us)
{
	struct placement other;
	int64_t between_us;

	if (next_us - now_us < 2 || !dice_chance(&proxy->dice, 20))
		return;
	between_us = dice_between(&proxy->dice, now_us + 1, next_us - 1);
	other = placement(&view->accounts[account], view->cell, between_us);
	if (other.kind != answer->kind || other.server != answer->server)
		proxy->outcome->unforeseen++;
}

/* What a proxy does with one account while its view stays the same. */
static void
play_account(struct proxy *proxy, const struct view *view, unsigned account,
    int64_t from_us, int64_t to_us)
{
	int64_t offset_us = proxy->world->offset_us[proxy->index];
	int64_t at_us = from_us;

	while (at_us < to_us) {
		int64_t now_us = at_us + offset_us;
		struct placement answer =
		    placement(&view->accounts[account], view->cell, now_us);
		int64_t next_us = placement_next(
		    &view->accounts[account], view->cell, now_us);

		assert(next_us > now_us);
		obey(proxy, account, &answer, at_us);
		if (next_us > to_us + offset_us)
			next_us = to_us + offset_us;
		look_between(proxy, view, account, &answer, now_us, next_us);
		at_us = next_us - offset_us;
	}
}

static void
play_view(struct proxy *proxy, int64_t from_us, int64_t to_us, int64_t known_us)
{
	struct view view;

	if (from_us >= to_us)
		return;
	view_make(&view, proxy->world, proxy->index, known_us);
	for (unsigned i = 0; i < WORLD_ACCOUNTS; i++)
		play_account(proxy, &view, i, from_us, to_us);
	view_free(&view);
}

static int
compare_moments(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* A proxy that does not catch up at its start does so a little later. */
static int64_t
caught_up_us(const struct world *world)
{
	return world->restart_us + 3 * world->bounds.guard;
}

/* When the proxy's view changes, from the start to the end, in order. */
static size_t
find_moments(const struct world *world, unsigned proxy, int64_t *moments)
{
	size_t count = 0;

	moments[count++] = WORLD_START - 1;
	moments[count++] = world->end_us;
	if (world->crashed == proxy) {
		moments[count++] = world->crash_us;
		moments[count++] = world->restart_us;
		moments[count++] = caught_up_us(world);
	}
	for (size_t i = 0; i < world->write_count; i++)
		if (world->writes[i].arrival_us[proxy] >= WORLD_START)
			moments[count++] = world->writes[i].arrival_us[proxy];
	qsort(moments, count, sizeof(*moments), compare_moments);
	return count;
}

static void
play_proxy(struct proxy *proxy)
{
	const struct world *world = proxy->world;
	int64_t moments[MOMENTS_MAX];
	size_t count = find_moments(world, proxy->index, moments);
	bool crashes = world->crashed == proxy->index;

	memset(proxy->current, 0, sizeof(proxy->current));
	for (size_t i = 0; i + 1 < count && moments[i] < world->end_us; i++) {
		int64_t known_us = moments[i];

		if (crashes && moments[i] >= world->crash_us &&
		    moments[i] < world->restart_us) {
			for (unsigned k = 0; k < WORLD_ACCOUNTS; k++)
				stay_end(proxy, k, world->crash_us);
			continue;
		}
		if (crashes && world->breach == BREACH_STALE_START &&
		    known_us >= world->restart_us &&
		    known_us < caught_up_us(world))
			known_us = world->crash_us;
		play_view(proxy, moments[i], moments[i + 1], known_us);
	}
	for (unsigned i = 0; i < WORLD_ACCOUNTS; i++)
		stay_end(proxy, i, world->end_us);
}

static void
print_overlap(const struct stay *a, const struct stay *b)
{
	const struct stay *const pair[] = { a, b };

	(void)printf("overlap:");
	for (size_t i = 0; i < ARRAY_SIZE(pair); i++)
		(void)printf(" proxy %u %s %+.6f to %+.6f;", pair[i]->proxy,
		    pair[i]->server,
		    (double)(pair[i]->from_us - WORLD_START) / 1e6,
		    (double)(pair[i]->to_us - WORLD_START) / 1e6);
	(void)printf("\n");
}

static int
compare_stays(const void *a, const void *b)
{
	const struct stay *x = a, *y = b;

	return (x->from_us > y->from_us) - (x->from_us < y->from_us);
}

static void
count_pair(struct outcome *outcome, const struct stay *earlier,
    const struct stay *later, bool aloud)
{
	int64_t margin_us = later->from_us - earlier->to_us;
	int64_t end_us =
	    earlier->to_us < later->to_us ? earlier->to_us : later->to_us;

	if (margin_us < outcome->margin_us)
		outcome->margin_us = margin_us;
	if (margin_us >= 0)
		return;
	outcome->overlaps++;
	if (end_us - later->from_us > outcome->overlap_us)
		outcome->overlap_us = end_us - later->from_us;
	if (aloud)
		print_overlap(earlier, later);
}

static void
count_account(struct outcome *outcome, struct stays *stays, bool aloud)
{
	const struct stay *list = stays->list;

	qsort(stays->list, stays->count, sizeof(*stays->list), compare_stays);
	outcome->stays += stays->count;
	for (size_t i = 1; i < stays->count; i++) {
		outcome->moves +=
		    strcmp(list[i - 1].server, list[i].server) != 0;
		for (size_t k = 0; k < i; k++)
			if (strcmp(list[k].server, list[i].server) != 0)
				count_pair(outcome, &list[k], &list[i], aloud);
	}
}

void
history_play(struct outcome *outcome, const struct world *world, uint64_t seed,
    bool aloud)
{
	static struct stays stays[WORLD_ACCOUNTS];
	uint64_t before = outcome->overlaps;

	if (aloud)
		world_print(world);
	for (unsigned i = 0; i < WORLD_ACCOUNTS; i++)
		stays[i].count = 0;
	for (unsigned i = 0; i < WORLD_PROXIES; i++) {
		struct proxy proxy = { .world = world,
			.outcome = outcome,
			.stays = stays,
			.dice = { seed + i },
			.index = i };

		play_proxy(&proxy);
	}
	for (unsigned i = 0; i < WORLD_ACCOUNTS; i++) {
		if (aloud)
			(void)printf("account %u\n", i + 1);
		count_account(outcome, &stays[i], aloud);
	}
	outcome->histories++;
	outcome->accounts += WORLD_ACCOUNTS;
	outcome->writes += world->write_count;
	if (outcome->overlaps == before)
		return;
	if (outcome->broken++ == 0)
		outcome->seed = seed;
}
