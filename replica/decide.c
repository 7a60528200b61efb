#include "replica/decide.h"

#include <stdlib.h>
#include <string.h>

#include "lib/timestamp.h"
#include "lib/vote.h"

/* What is remembered of a host from run to run. */
struct memory {
	enum host_kind kind;
	struct buf name; /* owned */
	bool is_in_map;

	/* Observers: the last postcellAlive, and when it was first seen. */
	int64_t alive_us, alive_seen_ms;

	/* The wish that differs from what holds, and since when. */
	bool differs;
	enum host_state wish;
	uint32_t weight;
	int64_t newest_us, differs_ms;

	/* The decision that is due, and since when. */
	enum decision_kind due;
	bool is_due;
	int64_t due_ms;
	bool told_held;

	/* Since when most say that it is down, and what holds is what it is. */
	bool is_down;
	int64_t down_ms, holds_us, holds_ms;

	/* When its failure was last held back, and why; NULL: never. */
	int64_t held_ms;
	const char *held;
};

struct decide {
	struct decide_settings settings;
	struct memory *memories; /* owned */
	size_t memory_count, memory_capacity;
	struct decision *decisions; /* owned */
	size_t decision_count, decision_capacity;
};

/* One run. */
struct run {
	struct decide *decide;
	const struct cell *cell;
	const struct host *hosts;
	size_t host_count;
	int64_t now_us, mono_ms;
	unsigned observers;
};

static const char *const kind_texts[] = {
	[DECISION_BASE] = "base",
	[DECISION_FAILED] = "failed",
	[DECISION_RETURN] = "return",
	[DECISION_WISH] = "wish",
	[DECISION_HELD] = "held",
};
_Static_assert(
    ARRAY_SIZE(kind_texts) == DECISION_KIND_COUNT, "a text for each kind");

const char *
decision_kind_text(enum decision_kind kind)
{
	return kind_texts[kind];
}

struct decide *
decide_new(const struct decide_settings *settings)
{
	struct decide *decide = calloc(1, sizeof(*decide));

	if (decide)
		decide->settings = *settings;
	return decide;
}

void
decide_free(struct decide **decide)
{
	struct decide *old = *decide;

	*decide = NULL;
	if (!old)
		return;
	for (size_t i = 0; i < old->memory_count; i++)
		buf_free(&old->memories[i].name);
	free(old->memories);
	free(old->decisions);
	free(old);
}

/* ---- memory ---- */

static struct memory *
find_memory(const struct decide *decide, const struct host *host)
{
	for (size_t i = 0; i < decide->memory_count; i++) {
		struct memory *memory = &decide->memories[i];

		if (memory->kind == host->kind &&
		    slice_equal(buf_slice(&memory->name), host->name))
			return memory;
	}
	return NULL;
}

static int
add_memory(
    struct decide *decide, const struct run *run, const struct host *host)
{
	int64_t away_us = run->now_us - host->alive_us;
	int64_t silent_us = decide->settings.silent_after_ms * 1000;
	struct memory memory = { .kind = host->kind,
		.name = buf_bounded(host->name.size),
		.is_in_map = true,
		.alive_us = host->alive_us };

	if (decide->memory_count == decide->memory_capacity) {
		size_t capacity =
		    decide->memory_capacity ? decide->memory_capacity * 2 : 16;
		struct memory *more =
		    reallocarray(decide->memories, capacity, sizeof(*more));

		if (!more)
			return -1;
		decide->memories = more;
		decide->memory_capacity = capacity;
	}
	/* A value that was there before us may be an old one. */
	memory.alive_seen_ms =
	    run->mono_ms - (away_us > -silent_us && away_us < silent_us
				   ? 0
				   : decide->settings.silent_after_ms);
	if (buf_add_slice(&memory.name, host->name) < 0)
		return -1;
	decide->memories[decide->memory_count++] = memory;
	return 0;
}

/* Knows each host of the map, and forgets the others. */
static int
remember(struct run *run)
{
	struct decide *decide = run->decide;

	for (size_t i = 0; i < decide->memory_count; i++)
		decide->memories[i].is_in_map = false;
	for (size_t i = 0; i < run->host_count; i++) {
		const struct host *host = &run->hosts[i];
		struct memory *memory = find_memory(decide, host);

		if (!memory) {
			if (add_memory(decide, run, host) < 0)
				return -1;
			continue;
		}
		memory->is_in_map = true;
		if (memory->alive_us != host->alive_us) {
			memory->alive_us = host->alive_us;
			memory->alive_seen_ms = run->mono_ms;
		}
	}
	for (size_t i = decide->memory_count; i-- > 0;) {
		if (decide->memories[i].is_in_map)
			continue;
		buf_free(&decide->memories[i].name);
		decide->memories[i] = decide->memories[--decide->memory_count];
	}
	return 0;
}

/* ---- votes ---- */

static bool
is_observer(const struct host *host)
{
	return host->kind == HOST_PROXY && host->alive_us != 0;
}

static bool
is_live(const struct run *run, const struct host *observer)
{
	const struct memory *memory = find_memory(run->decide, observer);

	return memory && run->mono_ms - memory->alive_seen_ms <
			     run->decide->settings.silent_after_ms;
}

static bool
says_either(
    const struct run *run, const struct host *observer, const struct host *host)
{
	return vote_says(run->cell, observer, host, VOTE_DOWN) ||
	       vote_says(run->cell, observer, host, VOTE_SILENT);
}

/* Something else there that it probes and does not find down. */
static bool
sees_site(
    const struct run *run, const struct host *observer, const struct host *host)
{
	for (size_t i = 0; i < run->host_count; i++) {
		const struct host *other = &run->hosts[i];

		if (other != host && other != observer &&
		    other->service_count > 0 &&
		    slice_equal_nocase(other->site, host->site) &&
		    !says_either(run, observer, other))
			return true;
	}
	return false;
}

static bool
has_vote(
    const struct run *run, const struct host *observer, const struct host *host)
{
	return is_observer(observer) && observer != host &&
	       is_live(run, observer) &&
	       (host->site.size == 0 ||
		   slice_equal_nocase(observer->site, host->site) ||
		   sees_site(run, observer, host));
}

struct count {
	unsigned up;      /* neither down nor silent */
	unsigned down;    /* for whatever reason */
	unsigned refused; /* down, and not for being silent */
	unsigned struck;  /* down or silent */
};

static struct count
count_votes(const struct run *run, const struct host *host)
{
	struct count count = { 0 };

	for (size_t i = 0; i < run->host_count; i++) {
		const struct host *observer = &run->hosts[i];
		bool down, silent;

		if (!has_vote(run, observer, host))
			continue;
		down = vote_says(run->cell, observer, host, VOTE_DOWN);
		silent = vote_says(run->cell, observer, host, VOTE_SILENT);
		count.up += !down && !silent;
		count.down += down;
		count.refused += down && !silent;
		count.struck += down || silent;
	}
	return count;
}

static bool
is_majority(const struct run *run, unsigned votes)
{
	return 2 * votes > run->observers;
}

/* ---- hosts ---- */

/* Values far in the future are mistakes, see lib/change.h. */
static const struct transition *
newest_of(const struct run *run, const struct host *host)
{
	for (size_t i = host->transition_count; i-- > 0;)
		if (host->transitions[i].time_us <= run->now_us + CHANGE_AHEAD)
			return &host->transitions[i];
	return NULL;
}

static const struct pool *
pool_of(const struct run *run, const struct host *host)
{
	if (host->kind != HOST_SERVER)
		return NULL;
	return host->pool.size > 0 ? cell_pool(run->cell, host->pool)
				   : cell_default_pool(run->cell);
}

static bool
is_peer(const struct run *run, const struct host *a, const struct host *b)
{
	if (a->kind != b->kind || a->service_count == 0 ||
	    b->service_count == 0)
		return false;
	switch (a->kind) {
	case HOST_SERVER:
		return pool_of(run, a) == pool_of(run, b);
	case HOST_PROXY:
		return true;
	case HOST_OTHER:
		break;
	}
	return a->services[0].kind == b->services[0].kind;
}

static bool
is_struck(const struct run *run, const struct host *host)
{
	const struct transition *newest = newest_of(run, host);

	return newest && newest->state != HOST_DOWN &&
	       is_majority(run, count_votes(run, host).struck);
}

static bool
takes_users(const struct run *run, const struct host *host)
{
	const struct transition *newest = newest_of(run, host);

	return newest && newest->state == HOST_UP && newest->weight > 0;
}

struct peers {
	unsigned all, struck, left; /* left: up, and not struck */
};

static struct peers
count_peers(const struct run *run, const struct host *host)
{
	struct peers peers = { 0 };

	for (size_t i = 0; i < run->host_count; i++) {
		const struct host *peer = &run->hosts[i];
		bool struck;

		if (!is_peer(run, host, peer))
			continue;
		struck = is_struck(run, peer);
		peers.all++;
		peers.struck += struck;
		peers.left += !struck && takes_users(run, peer);
	}
	return peers;
}

static unsigned
max_down_of(const struct pool *pool, unsigned peers)
{
	unsigned third = peers / 3;

	if (pool && pool->max_down > 0)
		return pool->max_down;
	return third > 0 ? third : 1;
}

/* ---- the decisions ---- */

/* Whether somebody can still be sent there. */
static bool
is_in_use(const struct run *run, const struct transition *newest)
{
	if (newest->state == HOST_UP)
		return true;
	return newest->state == HOST_DRAIN &&
	       newest->time_us + newest->ramp * TIMESTAMP_SECOND > run->now_us;
}

/* NULL when nothing holds its failure back at this moment, else why not. */
static const char *
hold_now(
    const struct run *run, const struct host *host, const struct count *count)
{
	struct peers peers = count_peers(run, host);

	if (peers.left == 0)
		return "no peer of it is up: it would help nobody";
	if (is_majority(run, count->refused))
		return NULL;
	if (peers.struck > max_down_of(pool_of(run, host), peers.all))
		return "more hosts than postcellMaxDown are struck at once";
	return NULL;
}

/*
 * Hosts that were struck together come back one after the other, and the last
 * of them must not look as if it were the only one: what held its failure back
 * does so a while longer.
 */
static const char *
held_back(
    const struct run *run, const struct host *host, const struct count *count)
{
	struct memory *memory = find_memory(run->decide, host);
	const char *held = hold_now(run, host, count);

	if (!memory)
		return held;
	if (held) {
		memory->held = held;
		memory->held_ms = run->mono_ms;
	}
	if (run->mono_ms - memory->held_ms >=
	    run->decide->settings.hold_after_ms)
		memory->held = NULL;
	return memory->held;
}

/* Remembers what came first, the votes or the newest value. */
static void
remember_order(const struct run *run, const struct host *host,
    const struct transition *newest)
{
	struct memory *memory = find_memory(run->decide, host);
	bool down = is_majority(run, count_votes(run, host).down);

	if (!memory)
		return;
	if (down && !memory->is_down)
		memory->down_ms = run->mono_ms;
	memory->is_down = down;
	if (newest && memory->holds_us != newest->time_us) {
		memory->holds_us = newest->time_us;
		memory->holds_ms = run->mono_ms;
	}
}

/* Whoever wrote the newest value knew of the votes, or the votes are old. */
static bool
has_grace(const struct run *run, const struct host *host)
{
	const struct memory *memory = find_memory(run->decide, host);

	return memory && memory->down_ms < memory->holds_ms &&
	       run->mono_ms - memory->holds_ms < run->decide->settings.grace_ms;
}

static void
make_failed(const struct run *run, const struct host *host,
    const struct transition *newest, struct decision *decision)
{
	struct count count = count_votes(run, host);
	struct memory *memory = find_memory(run->decide, host);
	const char *held;

	decision->votes = count.down;
	if (memory && !is_majority(run, count.struck))
		memory->held = NULL;
	if (!is_majority(run, count.down) || has_grace(run, host))
		return;
	held = held_back(run, host, &count);
	decision->kind = held ? DECISION_HELD : DECISION_FAILED;
	decision->why = held ? held
			: is_majority(run, count.refused)
			    ? "most observers are refused"
			    : "most observers get no good answer";
	decision->change.value.weight = newest->weight;
	decision->change.value.state = HOST_FAILED;
}

static void
wish(const struct run *run, const struct host *host, struct decision *decision)
{
	const struct pool *pool = pool_of(run, host);

	decision->change.value.state = host->state;
	decision->change.value.weight = host->weight;
	decision->change.value.ramp =
	    pool && host->state != HOST_DOWN ? pool->ramp : 0;
}

static void
make_return(const struct run *run, const struct host *host,
    const struct transition *newest, struct decision *decision)
{
	const struct pool *pool = pool_of(run, host);

	decision->votes = count_votes(run, host).up;
	if (host->state == HOST_DOWN) {
		decision->kind = DECISION_WISH;
		decision->why = "an administrator took it down";
		wish(run, host, decision);
		return;
	}
	if ((pool && !pool->failback_auto) ||
	    newest->time_us + run->decide->settings.return_after_ms * 1000 >
		run->now_us ||
	    !is_majority(run, decision->votes))
		return;
	decision->kind = DECISION_RETURN;
	decision->why = "most observers see it up again";
	wish(run, host, decision);
}

/* Whether the wish was another than what holds for wish_after. */
static bool
was_left_open(const struct run *run, const struct host *host,
    const struct transition *newest)
{
	struct memory *memory = find_memory(run->decide, host);
	int64_t newest_us = newest ? newest->time_us : -1;

	if (!memory)
		return false;
	if (newest && newest->state == host->state &&
	    newest->weight == host->weight) {
		memory->differs = false;
		return false;
	}
	if (!memory->differs || memory->wish != host->state ||
	    memory->weight != host->weight || memory->newest_us != newest_us) {
		memory->differs = true;
		memory->wish = host->state;
		memory->weight = host->weight;
		memory->newest_us = newest_us;
		memory->differs_ms = run->mono_ms;
	}
	return run->mono_ms - memory->differs_ms >=
	       run->decide->settings.wish_after_ms;
}

/* False when nothing is to be written or said. */
static bool
decide_host(
    const struct run *run, const struct host *host, struct decision *decision)
{
	const struct transition *newest = newest_of(run, host);

	*decision = (struct decision){ .kind = DECISION_KIND_COUNT,
		.host = host,
		.observers = run->observers };
	if (host->kind == HOST_SERVER && !pool_of(run, host))
		return false;
	if (host->transition_count == 0) {
		decision->kind = DECISION_BASE;
		decision->why = "it has no transition yet";
		return true;
	}
	remember_order(run, host, newest);
	if (newest && newest->state == HOST_FAILED) {
		make_return(run, host, newest, decision);
	} else if (was_left_open(run, host, newest)) {
		decision->kind = DECISION_WISH;
		decision->why = "the wish was changed without a transition";
		wish(run, host, decision);
	}
	if (newest && is_in_use(run, newest) && host->service_count > 0 &&
	    decision->kind == DECISION_KIND_COUNT)
		make_failed(run, host, newest, decision);
	return decision->kind != DECISION_KIND_COUNT;
}

/* Makes the modify. False when it has to wait. */
static bool
make_change(const struct run *run, struct decision *decision)
{
	const struct pool *pool = pool_of(run, decision->host);
	struct transition value = decision->change.value;

	change_make(&decision->change, decision->host,
	    pool ? pool->guard_ms : POOL_GUARD, run->now_us, value.state,
	    value.weight, value.ramp);
	return decision->change.step != CHANGE_WAIT;
}

/* Whether it is our turn, and new. */
static bool
is_due(const struct run *run, struct decision *decision, bool decided)
{
	struct memory *memory = find_memory(run->decide, decision->host);
	int64_t delay_ms = run->decide->settings.delay_ms;

	if (!memory)
		return false;
	if (!decided) {
		memory->is_due = memory->told_held = false;
		return false;
	}
	if (!memory->is_due || memory->due != decision->kind) {
		memory->is_due = true;
		memory->told_held = false;
		memory->due = decision->kind;
		memory->due_ms = run->mono_ms;
	}
	if (decision->kind == DECISION_HELD) {
		bool is_new = !memory->told_held;

		memory->told_held = true;
		return is_new;
	}
	return run->mono_ms - memory->due_ms >= delay_ms &&
	       make_change(run, decision);
}

static int
reserve_decisions(struct decide *decide, size_t count)
{
	struct decision *more;

	decide->decision_count = 0;
	if (decide->decisions && count <= decide->decision_capacity)
		return 0;
	more = reallocarray(decide->decisions, count + 1, sizeof(*more));
	if (!more)
		return -1;
	decide->decisions = more;
	decide->decision_capacity = count;
	return 0;
}

const struct decision *
decide_run(struct decide *decide, const struct cell *cell, int64_t now_us,
    int64_t mono_ms, size_t *count)
{
	struct run run = { .decide = decide,
		.cell = cell,
		.now_us = now_us,
		.mono_ms = mono_ms };

	*count = 0;
	run.hosts = cell_hosts(cell, &run.host_count);
	if (reserve_decisions(decide, run.host_count) < 0 || remember(&run) < 0)
		return NULL;
	for (size_t i = 0; i < run.host_count; i++)
		run.observers += is_observer(&run.hosts[i]);
	for (size_t i = 0; i < run.host_count; i++) {
		struct decision decision;
		bool decided = decide_host(&run, &run.hosts[i], &decision);

		if (is_due(&run, &decision, decided))
			decide->decisions[decide->decision_count++] = decision;
	}
	*count = decide->decision_count;
	return decide->decisions;
}
