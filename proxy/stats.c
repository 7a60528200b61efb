#include "proxy/stats.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/slice.h"

_Static_assert(LIMITS_RELAYS == STATS_SLOTS, "a table for each slot");

int
stats_create(void)
{
	int fd = memfd_create("postcell-stats", MFD_CLOEXEC);
	struct stats *stats;
	uint64_t seed;

	if (fd < 0)
		return -1;
	if (ftruncate(fd, sizeof(struct stats)) < 0 ||
	    getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed) ||
	    !(stats = stats_map(fd))) {
		close(fd);
		return -1;
	}
	limits_init(&stats->limits, seed);
	munmap(stats, sizeof(*stats));
	return fd;
}

struct stats *
stats_map(int fd)
{
	void *memory = mmap(NULL, sizeof(struct stats), PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return NULL;
	return memory;
}

/* Programs of one layout, and no others, agree on its size: whoever changes
 * what is counted changes that. */
bool
stats_fits(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 &&
	       status.st_size == (off_t)sizeof(struct stats);
}

struct stats_slot *
stats_take(struct stats *stats, uint32_t generation)
{
	for (size_t i = 0; i < STATS_SLOTS; i++) {
		struct stats_slot *slot = &stats->slots[i];

		if (slot->pid != 0)
			continue;
		limits_clear(&stats->limits, (unsigned)i);
		slot->pid = -1;
		slot->generation = generation;
		return slot;
	}
	return NULL;
}

bool
stats_is_gauge(enum stats_counter counter)
{
	return counter == STATS_SESSIONS || counter == STATS_LOGGED_IN ||
	       counter == STATS_LOGIN_MEMORY;
}

static void
add_histogram(struct stats_histogram *sum, const struct stats_histogram *one)
{
	for (unsigned i = 0; i < STATS_BUCKETS; i++)
		sum->buckets[i] += one->buckets[i];
	sum->sum_us += one->sum_us;
}

/* Keeps what only grows. */
static void
retire_counters(_Atomic uint64_t *retired, _Atomic uint64_t *counters)
{
	for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++) {
		if (!stats_is_gauge((enum stats_counter)i))
			retired[i] += counters[i];
		counters[i] = 0;
	}
}

void
stats_release(struct stats *stats, struct stats_slot *slot)
{
	for (unsigned i = 0; i < STATS_SERVICES; i++)
		retire_counters(stats->retired[i], slot->counters[i]);
	limits_clear(&stats->limits, (unsigned)(slot - stats->slots));
	for (unsigned i = 0; i < STATS_PHASE_COUNT; i++) {
		add_histogram(&stats->retired_phases[i], &slot->phases[i]);
		memset(&slot->phases[i], 0, sizeof(slot->phases[i]));
	}
	slot->serving = false;
	slot->pid = 0;
}

/* One writer: a load and a store, no locked instruction. */
void
stats_add(struct stats_slot *slot, enum service_kind service,
    enum stats_counter counter, uint64_t number)
{
	_Atomic uint64_t *value = &slot->counters[service][counter];
	uint64_t now = atomic_load_explicit(value, memory_order_relaxed);

	atomic_store_explicit(value, now + number, memory_order_relaxed);
}

static const int64_t bounds_us[] = { 1000, 2500, 5000, 10000, 25000, 50000,
	100000, 250000, 500000, 1000000, 2500000, 10000000 };

_Static_assert(ARRAY_SIZE(bounds_us) == STATS_BUCKETS - 1,
    "a bound for each but the last");

int64_t
stats_bucket_us(unsigned bucket)
{
	return bounds_us[bucket];
}

void
stats_observe(struct stats_slot *slot, enum stats_phase phase, int64_t time_us)
{
	struct stats_histogram *histogram = &slot->phases[phase];
	unsigned bucket = 0;
	uint64_t now;

	while (bucket < ARRAY_SIZE(bounds_us) && time_us > bounds_us[bucket])
		bucket++;
	now = atomic_load_explicit(
	    &histogram->buckets[bucket], memory_order_relaxed);
	atomic_store_explicit(
	    &histogram->buckets[bucket], now + 1, memory_order_relaxed);
	now = atomic_load_explicit(&histogram->sum_us, memory_order_relaxed);
	atomic_store_explicit(&histogram->sum_us,
	    now + (time_us > 0 ? (uint64_t)time_us : 0), memory_order_relaxed);
}

struct stats_histogram
stats_phase_total(const struct stats *stats, enum stats_phase phase)
{
	struct stats_histogram sum = { 0 };

	add_histogram(&sum, &stats->retired_phases[phase]);
	for (size_t i = 0; i < stats->limits.used && i < STATS_SLOTS; i++)
		add_histogram(&sum, &stats->slots[i].phases[phase]);
	return sum;
}

uint64_t
stats_total_of(const struct stats *stats, enum service_kind service,
    enum stats_counter counter)
{
	uint32_t used = stats->limits.used;
	uint64_t sum = stats->retired[service][counter];

	for (size_t i = 0; i < used && i < STATS_SLOTS; i++)
		sum += atomic_load_explicit(
		    &stats->slots[i].counters[service][counter],
		    memory_order_relaxed);
	return sum;
}

uint64_t
stats_total(const struct stats *stats, enum stats_counter counter)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < STATS_SERVICES; i++)
		sum += stats_total_of(stats, (enum service_kind)i, counter);
	return sum;
}

uint64_t
stats_of(const struct stats_slot *slot, enum stats_counter counter)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < STATS_SERVICES; i++)
		sum += atomic_load_explicit(
		    &slot->counters[i][counter], memory_order_relaxed);
	return sum;
}

const char *
stats_counter_text(enum stats_counter counter)
{
	static const char *const texts[] = {
		[STATS_ACCEPTED] = "accepted",
		[STATS_SESSIONS] = "sessions",
		[STATS_LOGGED_IN] = "logged_in",
		[STATS_LOGINS] = "logins",
		[STATS_REFUSED] = "refused",
		[STATS_UNKNOWN] = "unknown",
		[STATS_FAILED] = "failed",
		[STATS_BLOCKED] = "blocked",
		[STATS_VERIFIED] = "verified",
		[STATS_UNAVAILABLE] = "unavailable",
		[STATS_MOVED] = "moved",
		[STATS_RETRIED] = "retried",
		[STATS_TLS_FAILED] = "tls_failed",
		[STATS_HEADER_REFUSED] = "header_refused",
		[STATS_LIMITED_ADDRESS] = "limited_address",
		[STATS_LIMITED_WAITING] = "limited_waiting",
		[STATS_LIMITED_MEMORY] = "limited_memory",
		[STATS_LIMITED_USER] = "limited_user",
		[STATS_UNCOUNTED] = "uncounted",
		[STATS_LOGIN_MEMORY] = "login_memory",
		[STATS_BYTES_IN] = "bytes_in",
		[STATS_BYTES_OUT] = "bytes_out",
		[STATS_MESSAGES] = "messages",
	};

	_Static_assert(
	    ARRAY_SIZE(texts) == STATS_COUNTER_COUNT, "a text for each");
	return texts[counter];
}
