#include "lib/lockout.h"

#include <stdatomic.h>

#include <xxhash.h>

#define LOCKOUT_MAGIC UINT64_C(0x3174756f6b636f6c) /* "lockout1" */
#define LOCKOUT_NEAR  32 /* slots in which an account may stand */
#define LOCKOUT_TRIES 64 /* rounds of a race before it counts as lost */
#define COUNT_BITS    11
#define COUNT_MASK    ((UINT64_C(1) << COUNT_BITS) - 1)
#define BEGIN_SHIFT   (2 * COUNT_BITS)
#define BEGIN_MASK    ((UINT64_C(1) << (64 - BEGIN_SHIFT)) - 1) /* until 2109 */

_Static_assert(LOCKOUT_LIMIT_MAX < COUNT_MASK, "a count holds every limit");

/* The first slot is the head: the magic number as its key. */
struct lockout_slot {
	_Atomic uint64_t key;
	_Atomic uint64_t state; /* begin of the window, attempts, failures */
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "processes share no locks");

struct lockout_state {
	uint64_t begin_ms;
	uint64_t attempts; /* under way or failed */
	uint64_t failures;
};

static struct lockout_state
lockout_unpack(uint64_t word)
{
	return (struct lockout_state){ .begin_ms = word >> BEGIN_SHIFT,
		.attempts = word >> COUNT_BITS & COUNT_MASK,
		.failures = word & COUNT_MASK };
}

static uint64_t
lockout_pack(struct lockout_state state)
{
	return (state.begin_ms & BEGIN_MASK) << BEGIN_SHIFT |
	       state.attempts << COUNT_BITS | state.failures;
}

static struct lockout_slot *
lockout_slot(const struct lockout *table, size_t index)
{
	struct lockout_slot *slots = table->slots;

	return &slots[index];
}

int
lockout_attach(
    struct lockout *table, void *memory, size_t size, const char **why)
{
	struct lockout_slot *head = memory;
	uint64_t found = 0;

	*table = (struct lockout){ .slots = memory,
		.slot_count = size / sizeof(struct lockout_slot) };
	if (table->slot_count <= LOCKOUT_NEAR ||
	    (uintptr_t)memory % _Alignof(struct lockout_slot) != 0) {
		*why = "the table of attempts is too small or misaligned";
		return -1;
	}
	/* Zero is a good empty table, so whoever comes first marks it. */
	if (!atomic_compare_exchange_strong(
		&head->key, &found, LOCKOUT_MAGIC) &&
	    found != LOCKOUT_MAGIC) {
		*why = "the file is no table of attempts of this version";
		return -1;
	}
	return 0;
}

uint64_t
lockout_key(struct slice id)
{
	uint64_t key = XXH3_64bits(id.data, id.size);

	return key == 0 ? 1 : key;
}

static uint64_t
lockout_ms(int64_t moment_us)
{
	return moment_us > 0 ? (uint64_t)moment_us / 1000 : 0;
}

/* Whether the window of `state` runs at `now_ms`. */
static bool
lockout_runs(struct lockout_state state, uint64_t window_us, uint64_t now_ms)
{
	uint64_t window_ms = window_us / 1000;

	return state.attempts > 0 && now_ms < state.begin_ms + window_ms &&
	       state.begin_ms <= now_ms + window_ms;
}

/* How little would be lost if another account took the slot; 0: nothing. */
static uint64_t
lockout_cost(
    const struct lockout_slot *slot, uint64_t window_us, uint64_t now_ms)
{
	struct lockout_state state = lockout_unpack(atomic_load(&slot->state));

	if (atomic_load(&slot->key) == 0 ||
	    !lockout_runs(state, window_us, now_ms))
		return 0;
	return 1 + state.failures;
}

/* Slot in which the key stands; SIZE_MAX, and the cheapest one instead. */
static size_t
lockout_look(const struct lockout *table, uint64_t key, uint64_t window_us,
    uint64_t now_ms, size_t *cheapest)
{
	size_t count = table->slot_count - 1;
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < LOCKOUT_NEAR; i++) {
		size_t index = 1 + (key + i) % count;
		const struct lockout_slot *slot = lockout_slot(table, index);
		uint64_t cost;

		if (atomic_load(&slot->key) == key)
			return index;
		cost = lockout_cost(slot, window_us, now_ms);
		if (cost < least) {
			least = cost;
			*cheapest = index;
		}
	}
	return SIZE_MAX;
}

/* The account's slot, taken for it when it has none. */
static size_t
lockout_find(const struct lockout *table, uint64_t key, uint64_t window_us,
    uint64_t now_ms)
{
	size_t cheapest = 1;

	for (size_t i = 0; i < LOCKOUT_TRIES; i++) {
		size_t index =
		    lockout_look(table, key, window_us, now_ms, &cheapest);
		struct lockout_slot *slot = lockout_slot(table, cheapest);
		uint64_t old;
		uint64_t state;

		if (index != SIZE_MAX)
			return index;
		old = atomic_load(&slot->key);
		state = atomic_load(&slot->state);
		/* Another's failures must not become this account's; those who
		 * took the slot meanwhile have changed the state. */
		if (old != key &&
		    atomic_compare_exchange_strong(&slot->key, &old, key))
			(void)atomic_compare_exchange_strong(
			    &slot->state, &state, 0);
	}
	return SIZE_MAX;
}

bool
lockout_reserve(const struct lockout *table, uint64_t key,
    const struct lockout_policy *policy, int64_t now_us, int64_t forgiven_us,
    struct lockout_attempt *attempt)
{
	uint64_t now_ms = lockout_ms(now_us);
	uint64_t forgiven_ms = lockout_ms(forgiven_us);

	*attempt = (struct lockout_attempt){ .key = key };
	if (policy->limit == 0)
		return true;
	for (size_t i = 0; i < LOCKOUT_TRIES; i++) {
		size_t index =
		    lockout_find(table, key, policy->window_us, now_ms);
		struct lockout_slot *slot;
		struct lockout_state state;
		uint64_t word;

		if (index == SIZE_MAX)
			return false;
		slot = lockout_slot(table, index);
		word = atomic_load(&slot->state);
		state = lockout_unpack(word);
		if (!lockout_runs(state, policy->window_us, now_ms) ||
		    state.begin_ms < forgiven_ms)
			state = (struct lockout_state){
				.begin_ms =
				    now_ms > forgiven_ms ? now_ms : forgiven_ms
			};
		if (state.attempts >= policy->limit)
			return false;
		state.attempts++;
		*attempt = (struct lockout_attempt){ .key = key,
			.begin_ms = state.begin_ms,
			.slot = index,
			.counted = true };
		if (!atomic_compare_exchange_strong(
			&slot->state, &word, lockout_pack(state)))
			continue;
		if (atomic_load(&slot->key) == key)
			return true;
		lockout_release(table, attempt);
	}
	attempt->counted = false;
	return false;
}

/* Changes the counts if the window that counted the attempt still runs. */
static struct lockout_state
lockout_settle(const struct lockout *table, struct lockout_attempt *attempt,
    uint64_t attempts_less, uint64_t failures_more)
{
	struct lockout_state none = { 0 };
	struct lockout_slot *slot;
	struct lockout_state state;
	uint64_t word;

	if (!attempt->counted)
		return none;
	attempt->counted = false;
	slot = lockout_slot(table, attempt->slot);
	word = atomic_load(&slot->state);
	do {
		state = lockout_unpack(word);
		if (state.begin_ms != attempt->begin_ms ||
		    state.attempts < attempts_less ||
		    state.failures + failures_more > state.attempts)
			return none;
		state.attempts -= attempts_less;
		state.failures += failures_more;
	} while (!atomic_compare_exchange_weak(
	    &slot->state, &word, lockout_pack(state)));
	return state;
}

void
lockout_release(const struct lockout *table, struct lockout_attempt *attempt)
{
	(void)lockout_settle(table, attempt, 1, 0);
}

bool
lockout_fail(const struct lockout *table, const struct lockout_policy *policy,
    struct lockout_attempt *attempt)
{
	struct lockout_state state = lockout_settle(table, attempt, 0, 1);

	return policy->limit > 0 && state.failures == policy->limit;
}

uint32_t
lockout_failures(const struct lockout *table, uint64_t key,
    const struct lockout_policy *policy, int64_t now_us)
{
	size_t cheapest;
	uint64_t now_ms = lockout_ms(now_us);
	size_t index =
	    lockout_look(table, key, policy->window_us, now_ms, &cheapest);
	struct lockout_state state;

	if (index == SIZE_MAX)
		return 0;
	state = lockout_unpack(atomic_load(&lockout_slot(table, index)->state));
	return lockout_runs(state, policy->window_us, now_ms)
		   ? (uint32_t)state.failures
		   : 0;
}
