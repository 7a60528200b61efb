#include "replica/shortcut.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xxhash.h>

#include "replica/layout.h"

#define SHORTCUT_LINE 64 /* octets that memory hands out at once */
#define SHORTCUT_BOOT "/proc/sys/kernel/random/boot_id"

int
shortcut_read_boot(char boot[SHORTCUT_BOOT_SIZE])
{
	int fd = open(SHORTCUT_BOOT, O_RDONLY | O_CLOEXEC);
	ssize_t size;

	memset(boot, 0, SHORTCUT_BOOT_SIZE);
	if (fd < 0)
		return -1;
	size = read(fd, boot, SHORTCUT_BOOT_SIZE - 1);
	(void)close(fd);
	return size > 0 ? 0 : -1;
}

/* The nonce makes that nobody can choose names that crowd one place. */
struct shortcut_place
shortcut_place(uint64_t nonce, unsigned slot_bits, struct slice name)
{
	uint64_t hash = XXH3_64bits_withSeed(name.data, name.size, nonce);

	return (
	    struct shortcut_place){ .slot = (size_t)(hash >> (64 - slot_bits)),
		.mark = (uint32_t)hash };
}

bool
shortcut_has_name(
    struct slice record, unsigned kinds, struct slice name, struct buf *scratch)
{
	enum name_kind kind;
	struct slice value;
	const char *why;

	while (layout_next_name(&record, &kind, &value)) {
		if ((kinds & 1U << kind) == 0)
			continue;
		buf_clear(scratch);
		if (layout_name_start(scratch, kind, value, &why) == 0 &&
		    slice_equal(buf_slice(scratch), name))
			return true;
	}
	return false;
}

void
shortcut_open(struct shortcut *shortcut, const char *folder)
{
	int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	void *head = MAP_FAILED;

	*shortcut = (struct shortcut){ .fd = -1,
		.name = buf_bounded(NAME_SIZE_MAX + LAYOUT_NAME_TAIL) };
	if (at < 0)
		return;
	shortcut->fd =
	    openat(at, SHORTCUT_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	(void)close(at);
	if (shortcut->fd >= 0 && shortcut_read_boot(shortcut->boot) == 0 &&
	    lseek(shortcut->fd, 0, SEEK_END) >= SHORTCUT_HEAD_SIZE)
		head = mmap(NULL, SHORTCUT_HEAD_SIZE, PROT_READ, MAP_SHARED,
		    shortcut->fd, 0);
	if (head != MAP_FAILED)
		shortcut->head = head;
}

static void
shortcut_unmap(struct shortcut *shortcut)
{
	union {
		const char *kept;
		void *mapped;
	} map = { .kept = shortcut->map };

	if (shortcut->map)
		(void)munmap(map.mapped, shortcut->map_size);
	shortcut->map = NULL;
	shortcut->map_size = 0;
}

void
shortcut_close(struct shortcut *shortcut)
{
	union {
		const struct shortcut_head *kept;
		void *mapped;
	} head = { .kept = shortcut->head };

	shortcut_unmap(shortcut);
	if (shortcut->head)
		(void)munmap(head.mapped, SHORTCUT_HEAD_SIZE);
	if (shortcut->fd >= 0)
		(void)close(shortcut->fd);
	buf_free(&shortcut->name);
	*shortcut = (struct shortcut){ .fd = -1 };
}

/* The file only ever grows, so that what is mapped stays there. */
static bool
shortcut_map(struct shortcut *shortcut, size_t size)
{
	void *map;

	if (size <= shortcut->map_size)
		return true;
	shortcut_unmap(shortcut);
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, shortcut->fd, 0);
	if (map == MAP_FAILED)
		return false;
	shortcut->map = map;
	shortcut->map_size = size;
	return true;
}

static bool
shortcut_is_still(const struct shortcut *shortcut)
{
	/* What was read stays before this. */
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&shortcut->head->generation,
		   memory_order_relaxed) == shortcut->generation;
}

/* Another generation than the one before: is it of use, and how large? */
static void
shortcut_renew(struct shortcut *shortcut, uint64_t generation)
{
	const struct shortcut_head *head = shortcut->head;
	size_t size = head->size;
	uint64_t bits = head->slot_bits;
	bool good =
	    head->magic == SHORTCUT_MAGIC &&
	    memcmp(head->boot, shortcut->boot, SHORTCUT_BOOT_SIZE) == 0 &&
	    bits >= 1 && bits <= SHORTCUT_BITS_MAX &&
	    size >= SHORTCUT_HEAD_SIZE + (sizeof(uint64_t) << bits);

	shortcut->generation = generation;
	shortcut->nonce = head->nonce;
	shortcut->slot_bits = (unsigned)bits;
	shortcut->size = 0;
	/* A size that is changing may be anything. */
	if (good && shortcut_is_still(shortcut) && shortcut_map(shortcut, size))
		shortcut->size = size;
}

/* Whether it speaks for that view. */
static bool
shortcut_covers(struct shortcut *shortcut, const struct shortcut_view *view)
{
	uint64_t generation;

	/* The view was begun before any of this is read. */
	atomic_thread_fence(memory_order_acquire);
	if (!shortcut->head || view->nonce == 0)
		return false;
	generation = atomic_load_explicit(
	    &shortcut->head->generation, memory_order_acquire);
	if (generation % 2 != 0 || generation == 0)
		return false;
	if (generation != shortcut->generation)
		shortcut_renew(shortcut, generation);
	return shortcut->size > 0 && shortcut->nonce == view->nonce &&
	       view->number <= atomic_load_explicit(&shortcut->head->covered,
				   memory_order_acquire);
}

/* The record that lies there; empty where none can. */
static struct slice
shortcut_record(const struct shortcut *shortcut, uint32_t position)
{
	size_t at = (size_t)position * SHORTCUT_UNIT;
	const char *data;
	uint32_t size;

	if (at > shortcut->size - sizeof(size))
		return slice_from("");
	data = shortcut->map + at;
	/* All of a usual record at once, while its size is on its way. */
	__builtin_prefetch(data + SHORTCUT_LINE);
	__builtin_prefetch(data + (size_t)2 * SHORTCUT_LINE);
	__builtin_prefetch(data + (size_t)3 * SHORTCUT_LINE);
	memcpy(&size, data, sizeof(size));
	if (size > shortcut->size - at - sizeof(size))
		return slice_from("");
	return slice_of(data + sizeof(size), size);
}

/* Copies the record before it is looked at, for it may be overwritten. */
static bool
shortcut_take(struct shortcut *shortcut, uint32_t position, unsigned kinds,
    struct slice name, struct buf *store)
{
	buf_clear(store);
	return buf_add_slice(store, shortcut_record(shortcut, position)) == 0 &&
	       shortcut_is_still(shortcut) &&
	       shortcut_has_name(
		   buf_slice(store), kinds, name, &shortcut->name);
}

bool
shortcut_find(struct shortcut *shortcut, const struct shortcut_view *view,
    unsigned kinds, struct slice name, struct buf *store)
{
	const shortcut_slot *slots;
	struct shortcut_place place;
	size_t count, at;

	if (!shortcut_covers(shortcut, view))
		return false;
	slots = (const shortcut_slot *)(const void *)(shortcut->map +
						      SHORTCUT_HEAD_SIZE);
	count = (size_t)1 << shortcut->slot_bits;
	place = shortcut_place(shortcut->nonce, shortcut->slot_bits, name);
	at = place.slot;
	for (size_t i = 0; i < count; i++) {
		uint64_t slot =
		    atomic_load_explicit(&slots[at], memory_order_relaxed);

		if (slot == 0 ||
		    slot == ((uint64_t)place.mark << 32 | SHORTCUT_ASK))
			return false;
		if (slot >> 32 == place.mark &&
		    shortcut_take(shortcut, (uint32_t)slot, kinds, name, store))
			return true;
		at = (at + 1) & (count - 1);
	}
	return false;
}
