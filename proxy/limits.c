#include "proxy/limits.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <xxhash.h>

#define COUNT_BITS 24
#define COUNT_MASK (((uint64_t)1 << COUNT_BITS) - 1)

void
limits_init(struct limits *limits, uint64_t seed)
{
	limits->seed = seed;
}

uint64_t
limits_key(const struct limits *limits, unsigned kind, struct slice whom)
{
	uint64_t key = XXH64(whom.data, whom.size, limits->seed + kind);

	/* An entry whose upper bits are 0 would look free. */
	return key >> COUNT_BITS ? key : key | (uint64_t)1 << COUNT_BITS;
}

static _Atomic uint64_t *
bucket_of(struct limits *limits, unsigned relay, uint64_t key)
{
	return limits->tables[relay].entries[key % LIMITS_BUCKETS];
}

static bool
is_entry_of(uint64_t entry, uint64_t key)
{
	return entry >> COUNT_BITS == key >> COUNT_BITS;
}

/* The entry of that key; else a free one, or NULL. */
static _Atomic uint64_t *
find(_Atomic uint64_t *bucket, uint64_t key)
{
	_Atomic uint64_t *free_one = NULL;

	for (size_t i = 0; i < LIMITS_WAYS; i++) {
		uint64_t entry =
		    atomic_load_explicit(&bucket[i], memory_order_relaxed);

		if (is_entry_of(entry, key))
			return &bucket[i];
		if (entry == 0 && !free_one)
			free_one = &bucket[i];
	}
	return free_one;
}

uint32_t
limits_count(const struct limits *limits, uint64_t key)
{
	uint32_t used = atomic_load(&limits->used);
	uint64_t sum = 0;

	for (unsigned relay = 0; relay < used && relay < LIMITS_RELAYS;
	     relay++) {
		const _Atomic uint64_t *bucket =
		    limits->tables[relay].entries[key % LIMITS_BUCKETS];

		for (size_t i = 0; i < LIMITS_WAYS; i++) {
			uint64_t entry = atomic_load(&bucket[i]);

			if (is_entry_of(entry, key))
				sum += entry & COUNT_MASK;
		}
	}
	return sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum;
}

enum limits_result
limits_take(struct limits *limits, unsigned relay, uint64_t key, uint32_t max)
{
	_Atomic uint64_t *entry = find(bucket_of(limits, relay, key), key);
	uint64_t now = entry ? atomic_load(entry) : 0;

	if (!entry || (now & COUNT_MASK) == COUNT_MASK)
		return LIMITS_UNCOUNTED;
	if (now == 0)
		now = key & ~COUNT_MASK;
	/* In one order with the others' (seq_cst), for who looks second. */
	atomic_store(entry, now + 1);
	if (limits_count(limits, key) <= max)
		return LIMITS_TAKEN;
	limits_release(limits, relay, key);
	return LIMITS_REFUSED;
}

void
limits_release(struct limits *limits, unsigned relay, uint64_t key)
{
	_Atomic uint64_t *entry = find(bucket_of(limits, relay, key), key);
	uint64_t now = entry ? atomic_load(entry) : 0;

	if ((now & COUNT_MASK) == 0)
		return;
	now--;
	atomic_store(entry, now & COUNT_MASK ? now : 0);
}

void
limits_clear(struct limits *limits, unsigned relay)
{
	struct limits_table *table = &limits->tables[relay];

	/* Gives the memory back as well, where it is of a kind that can. */
	if (madvise(table, sizeof(*table), MADV_REMOVE) < 0)
		memset(table, 0, sizeof(*table));
	if (atomic_load(&limits->used) <= relay)
		atomic_store(&limits->used, relay + 1);
}
