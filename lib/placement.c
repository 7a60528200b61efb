#include "lib/placement.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/name.h"

__extension__ typedef unsigned __int128 uint128;

#define LOG2_BITS   48 /* fractional bits; frozen with the test vectors */
#define SEED_NAME   0
#define SEED_PHASE  1
#define SEED_SPREAD 2

/* What is asked again for every moment that is looked at. */
struct question {
	const struct account *account;
	const struct cell *cell;
	struct slice key;
	uint64_t phase;
	uint64_t spread; /* mixed into the seeds; 0 with affinity */
};

/* Who serves the account at one moment. */
struct winner {
	const struct host *server; /* NULL: see reason and host */
	struct slice host;         /* a pin outside the cell */
	enum placement_reason reason;
};

uint64_t
placement_phase(struct slice key)
{
	return XXH3_64bits_withSeed(key.data, key.size, SEED_PHASE);
}

uint64_t
placement_seed(struct slice name)
{
	return XXH3_64bits_withSeed(name.data, name.size, SEED_NAME);
}

/*
 * -log2(h / 2^64) in fixed point, one bit a turn: squaring a number doubles
 * its logarithm, and the bit that falls out is the next of the fraction.
 */
static uint64_t
negative_log2(uint64_t h)
{
	unsigned zeros = (unsigned)__builtin_clzll(h);
	uint64_t mantissa = h << zeros; /* 1.63: in [1,2) */
	uint64_t fraction = 0;

	for (int i = 0; i < LOG2_BITS; i++) {
		uint128 square = (uint128)mantissa * mantissa >> 63;
		unsigned bit = (unsigned)(square >> 64);

		fraction = fraction << 1 | bit;
		mantissa = (uint64_t)(square >> bit);
	}
	return ((uint64_t)(zeros + 1) << LOG2_BITS) - fraction;
}

static uint64_t
server_draw(const struct question *question, const struct host *server)
{
	uint64_t h = XXH3_64bits_withSeed(question->key.data,
	    question->key.size, server->seed ^ question->spread);

	return negative_log2(h ? h : 1);
}

/* The moment from which a transition holds for an account of this phase. */
static int64_t
reach_time(const struct transition *transition, uint64_t phase)
{
	uint64_t ramp_us = (uint64_t)transition->ramp * 1000000;

	return transition->time_us + (int64_t)((uint128)phase * ramp_us >> 64);
}

/* A newer transition cuts an older one's ramp: whom it had not reached, it
 * never does. */
static bool
is_cut(const struct host *server, size_t index, int64_t reach_us)
{
	return index + 1 < server->transition_count &&
	       reach_us >= server->transitions[index + 1].time_us;
}

bool
placement_reached(const struct host *server, uint64_t phase, int64_t now_us,
    enum host_state *state, uint32_t *weight)
{
	if (server->transition_count == 0) {
		*state = server->state;
		*weight = server->weight;
		return true;
	}
	for (size_t i = server->transition_count; i-- > 0;) {
		const struct transition *transition = &server->transitions[i];
		int64_t reach_us = reach_time(transition, phase);

		if (reach_us > now_us || is_cut(server, i, reach_us))
			continue;
		*state = transition->state;
		*weight = transition->weight;
		return true;
	}
	return false;
}

static bool
answers_to(const struct host *server, struct slice pin)
{
	if (slice_equal_nocase(server->name, pin))
		return true;
	for (size_t i = 0; i < server->service_count; i++)
		if (slice_equal_nocase(server->services[i].host, pin))
			return true;
	return false;
}

static struct winner
pinned(const struct question *question, const struct pool *pool,
    struct slice pin, int64_t at_us)
{
	enum host_state state;
	uint32_t weight;

	if (!pool || pool->server_count == 0)
		return (
		    struct winner){ .host = pin, .reason = PLACEMENT_BY_PIN };
	for (size_t i = 0; i < pool->server_count; i++) {
		const struct host *server = pool->servers[i];

		if (!answers_to(server, pin))
			continue;
		if (!placement_reached(
			server, question->phase, at_us, &state, &weight) ||
		    (state != HOST_UP && state != HOST_DRAIN))
			return (struct winner){ .reason = PLACEMENT_PIN_DOWN };
		return (struct winner){ .server = server,
			.reason = PLACEMENT_BY_PIN };
	}
	return (struct winner){ .reason = PLACEMENT_PIN_UNKNOWN };
}

/* Smallest draw / weight, compared without division; servers are sorted by
 * name. */
static struct winner
hashed(const struct question *question, const struct pool *pool, int64_t at_us)
{
	struct winner best = { .reason = PLACEMENT_NO_SERVER };
	uint64_t best_draw = 0;
	uint32_t best_weight = 0;

	for (size_t i = 0; i < pool->server_count; i++) {
		const struct host *server = pool->servers[i];
		enum host_state state;
		uint32_t weight;
		uint64_t draw;

		if (!placement_reached(
			server, question->phase, at_us, &state, &weight) ||
		    state != HOST_UP || weight == 0)
			continue;
		draw = server_draw(question, server);
		if (best.server &&
		    (uint128)draw * best_weight >= (uint128)best_draw * weight)
			continue;
		best = (struct winner){ .server = server,
			.reason = PLACEMENT_BY_HASH };
		best_draw = draw;
		best_weight = weight;
	}
	return best;
}

static const struct pool *
pool_at(const struct question *question, int64_t at_us)
{
	const struct account *account = question->account;

	if (!account->moved || at_us >= account->moved_us)
		return cell_account_pool(question->cell, account);
	if (account->moved_pool.size > 0)
		return cell_pool(question->cell, account->moved_pool);
	return cell_default_pool(question->cell);
}

static struct winner
winner_at(const struct question *question, int64_t at_us)
{
	const struct account *account = question->account;
	bool before_move = account->moved && at_us < account->moved_us;
	struct slice pin = before_move ? account->moved_pin : account->pin;
	const struct pool *pool = pool_at(question, at_us);

	if (pin.size > 0)
		return pinned(question, pool, pin, at_us);
	if (!pool)
		return (struct winner){ .reason = PLACEMENT_NO_POOL };
	return hashed(question, pool, at_us);
}

static bool
is_somebody(const struct winner *winner)
{
	return winner->server || winner->host.size > 0;
}

static bool
is_other(const struct winner *before, const struct winner *now)
{
	return is_somebody(before) &&
	       (before->server != now->server ||
		   !slice_equal_nocase(before->host, now->host));
}

/* The latest moment in (from, to] of a change in this pool after which `now`
 * was new. */
static int64_t
latest_change(const struct question *question, const struct pool *pool,
    const struct winner *now, int64_t from_us, int64_t to_us)
{
	int64_t latest = INT64_MIN;

	for (size_t i = 0; pool && i < pool->server_count; i++) {
		const struct host *server = pool->servers[i];

		for (size_t k = 0; k < server->transition_count; k++) {
			int64_t reach_us = reach_time(
			    &server->transitions[k], question->phase);
			struct winner before;

			if (reach_us <= from_us || reach_us > to_us ||
			    reach_us <= latest || is_cut(server, k, reach_us))
				continue;
			before = winner_at(question, reach_us - 1);
			if (is_other(&before, now))
				latest = reach_us;
		}
	}
	return latest;
}

/* When the guard after the latest change ends; INT64_MIN when there was none.
 */
static int64_t
guarded_until(const struct question *question, const struct pool *pool,
    const struct winner *now, int64_t now_us)
{
	const struct account *account = question->account;
	const struct pool *old_pool =
	    account->moved ? pool_at(question, account->moved_us - 1) : NULL;
	uint32_t guard_ms = pool ? pool->guard_ms : 0;
	int64_t guard_us, from_us, latest, old_latest;

	if (old_pool && old_pool->guard_ms > guard_ms)
		guard_ms = old_pool->guard_ms;
	guard_us = (int64_t)guard_ms * 1000;
	from_us = now_us - guard_us;
	latest = latest_change(question, pool, now, from_us, now_us);
	if (old_pool && old_pool != pool) {
		old_latest =
		    latest_change(question, old_pool, now, from_us, now_us);
		latest = old_latest > latest ? old_latest : latest;
	}
	if (account->moved && account->moved_us > from_us &&
	    account->moved_us <= now_us && account->moved_us > latest) {
		struct winner before =
		    winner_at(question, account->moved_us - 1);

		if (is_other(&before, now))
			latest = account->moved_us;
	}
	return latest == INT64_MIN ? INT64_MIN : latest + guard_us;
}

struct placement
placement(
    const struct account *account, const struct cell *cell, int64_t now_us)
{
	struct buf store = buf_bounded(NAME_SIZE_MAX);
	struct question question = { .account = account, .cell = cell };
	const struct pool *pool = pool_at(&question, now_us);
	struct placement answer = { .kind = PLACEMENT_NONE, .pool = pool };
	bool affinity = !pool || pool->affinity;
	int64_t until_us = INT64_MIN;
	struct winner winner;

	question.key = account_key(account, &store);
	question.phase = placement_phase(question.key);
	if (!affinity)
		question.spread =
		    XXH3_64bits_withSeed(&now_us, sizeof(now_us), SEED_SPREAD);
	winner = winner_at(&question, now_us);
	if (is_somebody(&winner) && affinity)
		until_us = guarded_until(&question, pool, &winner, now_us);
	buf_free(&store);

	answer.reason = winner.reason;
	answer.server = winner.server;
	answer.host = winner.host;
	if (until_us > now_us) {
		answer.kind = PLACEMENT_WAIT;
		answer.reason = PLACEMENT_GUARDED;
		answer.until_us = until_us;
	} else if (winner.server) {
		answer.kind = PLACEMENT_SERVER;
	} else if (winner.host.size > 0) {
		answer.kind = PLACEMENT_HOST;
	}
	return answer;
}

const char *
placement_reason_text(enum placement_reason reason)
{
	static const char *const texts[] = {
		[PLACEMENT_BY_HASH] = "by hash",
		[PLACEMENT_BY_PIN] = "pinned",
		[PLACEMENT_GUARDED] = "moving, the guard has not passed",
		[PLACEMENT_NO_POOL] =
		    "its pool is not there, or there is no default pool",
		[PLACEMENT_NO_SERVER] = "no server of its pool is up",
		[PLACEMENT_PIN_DOWN] = "the server it is pinned to is down",
		[PLACEMENT_PIN_UNKNOWN] =
		    "it is pinned to a host that its pool does not know",
	};

	return texts[reason];
}
