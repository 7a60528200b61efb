#include "proxy/failures.h"

#include <sys/random.h>

#include <xxhash.h>

#define COUNT_BITS 24
#define COUNT_MASK ((1U << COUNT_BITS) - 1)

void
failures_seed(struct failures *failures)
{
	uint64_t seed = 0;

	if (failures->seed != 0)
		return;
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		seed = 0;
	failures->seed = seed | 1;
}

static uint64_t
hash(const struct failures *failures, const void *data, size_t size)
{
	uint64_t key = XXH3_64bits_withSeed(data, size, failures->seed);

	return key != 0 ? key : 1;
}

uint64_t
failures_address_key(
    const struct failures *failures, const uint8_t prefix[NETWORK_ADDRESS_SIZE])
{
	return hash(failures, prefix, NETWORK_ADDRESS_SIZE);
}

uint64_t
failures_account_key(const struct failures *failures, struct slice name)
{
	return ~hash(failures, name.data, name.size) | 1;
}

/* ---- the table ---- */

static uint64_t
make_state(int64_t since_s, unsigned count)
{
	return (uint64_t)since_s << COUNT_BITS | count;
}

static int64_t
since_of(uint64_t state)
{
	return (int64_t)(state >> COUNT_BITS);
}

static unsigned
count_of(uint64_t state)
{
	return (unsigned)(state & COUNT_MASK);
}

unsigned
failures_count(const struct failures *failures, uint64_t key, int64_t now_s,
    int64_t window_s)
{
	const struct failures_entry *set =
	    failures->entries[key % FAILURES_SETS];

	for (size_t i = 0; i < FAILURES_WAYS; i++) {
		uint64_t state;

		if (atomic_load_explicit(&set[i].key, memory_order_relaxed) !=
		    key)
			continue;
		state =
		    atomic_load_explicit(&set[i].state, memory_order_relaxed);
		return now_s - since_of(state) < window_s ? count_of(state) : 0;
	}
	return 0;
}

/* The key's own place; else a free one, or the one whose window is oldest. */
static struct failures_entry *
find_place(struct failures_entry *set, uint64_t key)
{
	struct failures_entry *oldest = &set[0];

	for (size_t i = 0; i < FAILURES_WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
		if (set[i].key == 0 ||
		    (oldest->key != 0 &&
			since_of(set[i].state) < since_of(oldest->state)))
			oldest = &set[i];
	}
	oldest->state = 0;
	oldest->key = key;
	return oldest;
}

unsigned
failures_add(struct failures *failures, uint64_t key, int64_t now_s,
    int64_t window_s, int64_t *since_s)
{
	struct failures_entry *place =
	    find_place(failures->entries[key % FAILURES_SETS], key);
	uint64_t before = place->state, after;

	do {
		unsigned count = count_of(before);

		if (before == 0 || now_s - since_of(before) >= window_s)
			after = make_state(now_s, 1);
		else
			after = make_state(since_of(before),
			    count < COUNT_MASK ? count + 1 : count);
	} while (!atomic_compare_exchange_weak(&place->state, &before, after));
	*since_s = since_of(after);
	return count_of(after);
}

void
failures_take_back(struct failures *failures, uint64_t key, int64_t since_s)
{
	struct failures_entry *set = failures->entries[key % FAILURES_SETS];

	for (size_t i = 0; i < FAILURES_WAYS; i++) {
		uint64_t state = set[i].state;

		if (set[i].key != key)
			continue;
		/* Another window has forgotten it already. */
		while (since_of(state) == since_s && count_of(state) > 0)
			if (atomic_compare_exchange_weak(
				&set[i].state, &state, state - 1))
				return;
		return;
	}
}

int64_t
failures_delay_ms(
    unsigned count, int64_t delay_ms, int64_t delay_max_ms, int64_t passed_ms)
{
	if (delay_ms == 0)
		return 0;
	for (unsigned i = 1; i < count && delay_ms < delay_max_ms; i++)
		delay_ms *= 2;
	if (delay_ms > delay_max_ms && delay_max_ms > 0)
		delay_ms = delay_max_ms;
	return (passed_ms / delay_ms + 1) * delay_ms;
}
