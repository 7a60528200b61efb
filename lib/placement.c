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

/* Where the account belongs at one moment. */
struct home {
	const struct pool *pool; /* NULL: there is none */
	struct slice pin;
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
draw_hash(struct slice key, uint64_t seed)
{
	uint64_t h = XXH3_64bits_withSeed(key.data, key.size, seed);

	return h ? h : 1;
}

uint64_t
placement_draw(struct slice key, uint64_t seed)
{
	return negative_log2(draw_hash(key, seed));
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
pinned(const struct question *question, const struct home *home, int64_t at_us)
{
	const struct pool *pool = home->pool;
	enum host_state state;
	uint32_t weight;

	if (!pool || pool->server_count == 0)
		return (struct winner){ .host = home->pin,
			.reason = PLACEMENT_BY_PIN };
	for (size_t i = 0; i < pool->server_count; i++) {
		const struct host *server = pool->servers[i];

		if (!answers_to(server, home->pin))
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

/* A server in the running. Its draw is computed when it is needed. */
struct contender {
	const struct host *server; /* NULL: nobody */
	uint64_t hash;
	uint64_t draw; /* 0: not computed; none is 0 */
	uint32_t weight;
};

static uint64_t
draw_of(struct contender *contender)
{
	if (contender->draw == 0)
		contender->draw = negative_log2(contender->hash);
	return contender->draw;
}

/*
 * Is the challenger's draw / weight smaller, compared without division? The
 * draw never grows with the hash, so that equal weights seldom need it: hashes
 * that are apart by 2^-32 of their size differ in it by some 2^16 units of its
 * last place, and it is exact to a few.
 */
static bool
beats(struct contender *challenger, struct contender *best)
{
	uint64_t hash = challenger->hash;

	if (!best->server)
		return true;
	if (challenger->weight == best->weight) {
		if (hash <= best->hash)
			return false;
		if (hash - best->hash > hash >> 32)
			return true;
	}
	return (uint128)draw_of(challenger) * best->weight <
	       (uint128)draw_of(best) * challenger->weight;
}

/* The smallest draw / weight; servers are sorted by name. */
static struct winner
hashed(const struct question *question, const struct pool *pool, int64_t at_us)
{
	struct contender best = { .server = NULL };

	for (size_t i = 0; i < pool->server_count; i++) {
		struct contender next = { .server = pool->servers[i] };
		enum host_state state;

		if (!placement_reached(next.server, question->phase, at_us,
			&state, &next.weight) ||
		    state != HOST_UP || next.weight == 0)
			continue;
		next.hash = draw_hash(
		    question->key, next.server->seed ^ question->spread);
		if (beats(&next, &best))
			best = next;
	}
	return (struct winner){ .server = best.server,
		.reason =
		    best.server ? PLACEMENT_BY_HASH : PLACEMENT_NO_SERVER };
}

static struct home
home_at(const struct question *question, int64_t at_us)
{
	const struct account *account = question->account;
	bool moves_later = account->moved && at_us < account->moved_us;
	struct slice pool = moves_later ? account->moved_pool : account->pool;

	return (struct home){
		.pool = pool.size > 0 ? cell_pool(question->cell, pool)
				      : cell_default_pool(question->cell),
		.pin = moves_later ? account->moved_pin : account->pin,
	};
}

static struct winner
winner_at(const struct question *question, int64_t at_us)
{
	struct home home = home_at(question, at_us);

	if (home.pin.size > 0)
		return pinned(question, &home, at_us);
	if (!home.pool)
		return (struct winner){ .reason = PLACEMENT_NO_POOL };
	return hashed(question, home.pool, at_us);
}

static bool
is_other(const struct winner *a, const struct winner *b)
{
	return a->server != b->server || !slice_equal_nocase(a->host, b->host);
}

/* The latest moment up to at_us, and the earliest after it, at which a
 * transition took hold of the account. */
static void
find_changes(const struct question *question, const struct pool *pool,
    int64_t at_us, int64_t *last_us, int64_t *next_us)
{
	*last_us = INT64_MIN;
	*next_us = INT64_MAX;
	for (size_t i = 0; pool && i < pool->server_count; i++) {
		const struct host *server = pool->servers[i];

		for (size_t k = 0; k < server->transition_count; k++) {
			int64_t reach_us = reach_time(
			    &server->transitions[k], question->phase);

			if (is_cut(server, k, reach_us))
				continue;
			if (reach_us > at_us && reach_us < *next_us)
				*next_us = reach_us;
			if (reach_us <= at_us && reach_us > *last_us)
				*last_us = reach_us;
		}
	}
}

static int64_t
guard_of(const struct pool *pool)
{
	return (int64_t)1000 * (pool ? pool->guard_ms : POOL_GUARD);
}

/* The longer guard of the pools that a move leads from and to. */
static int64_t
guard_of_move(const struct question *question)
{
	int64_t moved_us = question->account->moved_us;
	int64_t old_us = guard_of(home_at(question, moved_us - 1).pool);
	int64_t new_us = guard_of(home_at(question, moved_us).pool);

	return old_us > new_us ? old_us : new_us;
}

static int64_t
move_guarded_until(const struct question *question, int64_t now_us)
{
	const struct account *account = question->account;
	int64_t guard_us;

	if (!account->moved)
		return INT64_MIN;
	guard_us = guard_of_move(question);
	if (account->moved_us - guard_us >= now_us)
		return INT64_MIN;
	return account->moved_us + guard_us;
}

/* When the guard after the latest change of the winner ends; INT64_MIN when
 * there was none within it. */
static int64_t
guarded_until(const struct question *question, const struct pool *pool,
    const struct winner *now, int64_t now_us)
{
	int64_t guard_us = guard_of(pool);
	int64_t change_us, next_us;

	find_changes(question, pool, now_us, &change_us, &next_us);
	while (change_us > now_us - guard_us) {
		struct winner before = winner_at(question, change_us - 1);

		if (is_other(&before, now))
			return change_us + guard_us;
		find_changes(
		    question, pool, change_us - 1, &change_us, &next_us);
	}
	return INT64_MIN;
}

/* A pool without affinity shares its servers, but not with another pool. */
static bool
is_guarded_move(const struct question *question, const struct pool *pool)
{
	int64_t before_us = question->account->moved_us - 1;

	return !pool || pool->affinity ||
	       home_at(question, before_us).pool != pool;
}

static int64_t
wait_until(const struct question *question, const struct pool *pool,
    const struct winner *now, int64_t now_us)
{
	int64_t until_us = INT64_MIN, move_us = INT64_MIN;

	if (!pool || pool->affinity)
		until_us = guarded_until(question, pool, now, now_us);
	if (is_guarded_move(question, pool))
		move_us = move_guarded_until(question, now_us);
	return move_us > until_us ? move_us : until_us;
}

static struct placement
answer_to(struct question *question, int64_t now_us)
{
	const struct pool *pool = home_at(question, now_us).pool;
	struct placement answer = { .kind = PLACEMENT_NONE, .pool = pool };
	struct winner winner;
	int64_t until_us;

	if (pool && !pool->affinity)
		question->spread =
		    XXH3_64bits_withSeed(&now_us, sizeof(now_us), SEED_SPREAD);
	winner = winner_at(question, now_us);
	answer.reason = winner.reason;
	answer.server = winner.server;
	answer.host = winner.host;
	if (!winner.server && winner.host.size == 0)
		return answer;
	until_us = wait_until(question, pool, &winner, now_us);
	if (until_us > now_us) {
		answer.kind = PLACEMENT_WAIT;
		answer.reason = PLACEMENT_GUARDED;
		answer.until_us = until_us;
	} else {
		answer.kind = winner.server ? PLACEMENT_SERVER : PLACEMENT_HOST;
	}
	return answer;
}

static struct question
question_about(
    const struct account *account, const struct cell *cell, struct buf *store)
{
	struct slice key = account_key(account, store);

	return (struct question){ .account = account,
		.cell = cell,
		.key = key,
		.phase = placement_phase(key) };
}

struct placement
placement(
    const struct account *account, const struct cell *cell, int64_t now_us)
{
	struct buf store = buf_bounded(NAME_SIZE_MAX);
	struct question question = question_about(account, cell, &store);
	struct placement answer = answer_to(&question, now_us);

	buf_free(&store);
	return answer;
}

/* Replaces *next_us by a moment that comes sooner but still after now. */
static void
keep_sooner(int64_t *next_us, int64_t moment_us, int64_t now_us)
{
	if (moment_us > now_us && moment_us < *next_us)
		*next_us = moment_us;
}

int64_t
placement_next(
    const struct account *account, const struct cell *cell, int64_t now_us)
{
	struct buf store = buf_bounded(NAME_SIZE_MAX);
	struct question question = question_about(account, cell, &store);
	struct placement answer = answer_to(&question, now_us);
	int64_t last_us, next_us;

	find_changes(&question, answer.pool, now_us, &last_us, &next_us);
	if (account->moved) {
		keep_sooner(&next_us, account->moved_us, now_us);
		keep_sooner(&next_us,
		    account->moved_us - guard_of_move(&question) + 1, now_us);
	}
	if (answer.kind == PLACEMENT_WAIT)
		keep_sooner(&next_us, answer.until_us, now_us);
	buf_free(&store);
	return next_us;
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
