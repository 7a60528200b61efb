#include "proxy/stats.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
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

/* Sessions that are there now end with their relay; all else is a sum. */
static bool
is_gauge(unsigned counter)
{
	return counter == STATS_SESSIONS || counter == STATS_LOGGED_IN ||
	       counter == STATS_LOGIN_MEMORY;
}

void
stats_release(struct stats *stats, struct stats_slot *slot)
{
	for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++) {
		if (!is_gauge(i))
			stats->retired[i] += slot->counters[i];
		slot->counters[i] = 0;
	}
	limits_clear(&stats->limits, (unsigned)(slot - stats->slots));
	slot->pid = 0;
}

/* One writer: a load and a store, no locked instruction. */
void
stats_add(struct stats_slot *slot, enum stats_counter counter, uint64_t number)
{
	uint64_t now = atomic_load_explicit(
	    &slot->counters[counter], memory_order_relaxed);

	atomic_store_explicit(
	    &slot->counters[counter], now + number, memory_order_relaxed);
}

void
stats_subtract(
    struct stats_slot *slot, enum stats_counter counter, uint64_t number)
{
	uint64_t now = atomic_load_explicit(
	    &slot->counters[counter], memory_order_relaxed);

	atomic_store_explicit(
	    &slot->counters[counter], now - number, memory_order_relaxed);
}

uint64_t
stats_total(const struct stats *stats, enum stats_counter counter)
{
	uint64_t sum = stats->retired[counter];

	for (size_t i = 0; i < STATS_SLOTS; i++)
		sum += stats->slots[i].counters[counter];
	return sum;
}

uint64_t
stats_now(const struct stats *stats, enum stats_counter counter)
{
	uint32_t used = stats->limits.used;
	uint64_t sum = 0;

	for (size_t i = 0; i < used && i < STATS_SLOTS; i++)
		sum += atomic_load_explicit(
		    &stats->slots[i].counters[counter], memory_order_relaxed);
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
	};

	_Static_assert(
	    ARRAY_SIZE(texts) == STATS_COUNTER_COUNT, "a text for each");
	return texts[counter];
}
