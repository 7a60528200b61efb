#include "replica/shortcut_make.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replica/layout.h"
#include "replica/shortcut.h"

#define MAKER_MODE     0640 /* as the database */
#define MAKER_BITS_MIN 8
#define MAKER_ASK_MIN  100   /* made anew when so many slots say ASK, */
#define MAKER_ASK_PART 32    /* and besides one of so many */
#define MAKER_SPARE    65536 /* octets, for accounts that come meanwhile, */
#define MAKER_GROWTH   16    /* and besides the so-many-th part */
#define MAKER_ALL_KINDS                                                        \
	(1U << NAME_UID | 1U << NAME_ADDRESS | 1U << NAME_PRINCIPAL)
_Static_assert(NAME_KIND_COUNT == 3, "a bit for each kind");

enum maker_state {
	MAKER_NONE,
	MAKER_BEGUN,
	MAKER_STANDS
};

struct shortcut_maker {
	int fd;                     /* owned */
	struct shortcut_head *head; /* owned: mapped alone */
	char *map;                  /* owned: the whole; NULL: MAKER_NONE */
	size_t map_size;
	enum maker_state state;
	uint64_t nonce;
	unsigned slot_bits;
	size_t used, asked;     /* slots; of them those that say ASK */
	size_t end;             /* of the records so far */
	struct buf name, other; /* owned scratch */
};

static shortcut_slot *
maker_slots(const struct shortcut_maker *maker)
{
	return (shortcut_slot *)(void *)(maker->map + SHORTCUT_HEAD_SIZE);
}

static size_t
maker_slot_count(const struct shortcut_maker *maker)
{
	return (size_t)1 << maker->slot_bits;
}

static void
maker_unmap(struct shortcut_maker *maker)
{
	if (maker->map)
		(void)munmap(maker->map, maker->map_size);
	maker->map = NULL;
	maker->map_size = 0;
}

/* Readers that looked before this take nothing that comes after it. */
static void
maker_retire(struct shortcut_maker *maker)
{
	uint64_t generation = atomic_load(&maker->head->generation);

	if (generation % 2 == 0)
		atomic_store(&maker->head->generation, generation + 1);
	atomic_thread_fence(memory_order_seq_cst);
	maker->state = MAKER_NONE;
}

void
shortcut_maker_give_up(struct shortcut_maker *maker)
{
	maker_retire(maker);
	maker_unmap(maker);
}

static int
maker_map_head(struct shortcut_maker *maker)
{
	void *head;
	int code = posix_fallocate(maker->fd, 0, SHORTCUT_HEAD_SIZE);

	if (code != 0)
		return code;
	head = mmap(NULL, SHORTCUT_HEAD_SIZE, PROT_READ | PROT_WRITE,
	    MAP_SHARED, maker->fd, 0);
	if (head == MAP_FAILED)
		return errno;
	maker->head = head;
	return 0;
}

int
shortcut_maker_open(struct shortcut_maker **maker, int folder, const char **why)
{
	struct shortcut_maker *new = calloc(1, sizeof(*new));
	int code = 0;

	*maker = NULL;
	if (!new) {
		*why = "out of memory";
		return -1;
	}
	new->name = buf_bounded(NAME_SIZE_MAX + LAYOUT_NAME_TAIL);
	new->other = buf_bounded(NAME_SIZE_MAX + LAYOUT_NAME_TAIL);
	new->fd = openat(folder, SHORTCUT_FILE,
	    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, MAKER_MODE);
	code = new->fd < 0 ? errno : maker_map_head(new);
	if (code != 0) {
		shortcut_maker_free(&new);
		*why = layout_error(code);
		return -1;
	}
	maker_retire(new);
	*maker = new;
	return 0;
}

/* What stands goes on to serve readers while nobody changes accounts. */
void
shortcut_maker_free(struct shortcut_maker **maker)
{
	struct shortcut_maker *old = *maker;

	*maker = NULL;
	if (!old)
		return;
	maker_unmap(old);
	if (old->head)
		(void)munmap(old->head, SHORTCUT_HEAD_SIZE);
	if (old->fd >= 0)
		(void)close(old->fd);
	buf_free(&old->name);
	buf_free(&old->other);
	free(old);
}

bool
shortcut_maker_has_begun(const struct shortcut_maker *maker)
{
	return maker->state == MAKER_BEGUN;
}

bool
shortcut_maker_is_due(const struct shortcut_maker *maker)
{
	return maker->state != MAKER_STANDS ||
	       maker->asked > MAKER_ASK_MIN + maker->used / MAKER_ASK_PART;
}

uint64_t
shortcut_maker_nonce(const struct shortcut_maker *maker)
{
	return maker->nonce;
}

/* ---- making ---- */

/* Room in the file and in memory, the slots empty. 0, or a code of libc. */
static int
maker_make_room(struct shortcut_maker *maker, size_t size)
{
	size_t slots_end = SHORTCUT_HEAD_SIZE +
			   maker_slot_count(maker) * sizeof(shortcut_slot);
	struct stat now;
	int code;
	void *map;

	maker_unmap(maker);
	/* Never shorter: readers may have mapped all of it. A file that is
	 * full of holes reads as zeros. */
	if (fstat(maker->fd, &now) != 0 ||
	    (now.st_size > SHORTCUT_HEAD_SIZE &&
		fallocate(maker->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    SHORTCUT_HEAD_SIZE, now.st_size - SHORTCUT_HEAD_SIZE) != 0))
		return errno;
	/* Or a full disk would be noticed by a signal only. */
	code = posix_fallocate(maker->fd, 0, (off_t)size);
	if (code != 0)
		return code;
	map =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, maker->fd, 0);
	if (map == MAP_FAILED)
		return errno;
	maker->map = map;
	maker->map_size = size;
	maker->end = slots_end;
	return 0;
}

int
shortcut_maker_begin(struct shortcut_maker *maker, uint64_t names,
    uint64_t record_octets, const char **why)
{
	struct shortcut_head *head = maker->head;
	int code = 0;

	maker_retire(maker);
	maker->slot_bits = MAKER_BITS_MIN;
	while (maker->slot_bits < SHORTCUT_BITS_MAX &&
	       maker_slot_count(maker) / 2 < names)
		maker->slot_bits++;
	maker->used = maker->asked = 0;
	if (getrandom(&maker->nonce, sizeof(maker->nonce), 0) !=
		(ssize_t)sizeof(maker->nonce) ||
	    maker->nonce == 0)
		code = EAGAIN;
	if (code == 0 && shortcut_read_boot(head->boot) != 0)
		code = ENOTSUP;
	if (code == 0)
		code = maker_make_room(
		    maker, SHORTCUT_HEAD_SIZE +
			       maker_slot_count(maker) * sizeof(shortcut_slot) +
			       record_octets + record_octets / MAKER_GROWTH +
			       MAKER_SPARE);
	if (code != 0) {
		*why = layout_error(code);
		return -1;
	}
	head->magic = SHORTCUT_MAGIC;
	head->nonce = maker->nonce;
	head->slot_bits = maker->slot_bits;
	maker->state = MAKER_BEGUN;
	return 0;
}

/* The account's record as it lies there. */
static struct slice
maker_record(const struct shortcut_maker *maker, uint32_t position)
{
	const char *data = maker->map + (size_t)position * SHORTCUT_UNIT;
	uint32_t size;

	memcpy(&size, data, sizeof(size));
	return slice_of(data + sizeof(size), size);
}

/* 0 when there is no more room for it. */
static uint32_t
maker_add_record(struct shortcut_maker *maker, struct slice record)
{
	uint32_t size = (uint32_t)record.size;
	size_t at = maker->end;
	size_t end = at + sizeof(size) + record.size;

	if (record.size > LAYOUT_RECORD_MAX || end > maker->map_size ||
	    at / SHORTCUT_UNIT >= SHORTCUT_ASK)
		return 0;
	memcpy(maker->map + at, &size, sizeof(size));
	memcpy(maker->map + at + sizeof(size), record.data, record.size);
	maker->end = (end + SHORTCUT_UNIT - 1) / SHORTCUT_UNIT * SHORTCUT_UNIT;
	return (uint32_t)(at / SHORTCUT_UNIT);
}

static void
maker_set(struct shortcut_maker *maker, shortcut_slot *slot, uint32_t mark,
    uint32_t position)
{
	uint64_t old = atomic_load_explicit(slot, memory_order_relaxed);

	if (old == 0)
		maker->used++;
	if (position == SHORTCUT_ASK && (uint32_t)old != SHORTCUT_ASK)
		maker->asked++;
	atomic_store_explicit(
	    slot, (uint64_t)mark << 32 | position, memory_order_release);
}

/* The name of an account whose record lies there. */
static void
maker_lead(struct shortcut_maker *maker, struct slice name, uint32_t position)
{
	struct shortcut_place place =
	    shortcut_place(maker->nonce, maker->slot_bits, name);
	shortcut_slot *slots = maker_slots(maker);
	size_t at = place.slot;

	for (;; at = (at + 1) & (maker_slot_count(maker) - 1)) {
		uint64_t slot =
		    atomic_load_explicit(&slots[at], memory_order_relaxed);

		if (slot == 0) {
			maker_set(maker, &slots[at], place.mark, position);
			return;
		}
		if (slot >> 32 != place.mark)
			continue;
		/* It changed meanwhile, or is another kind of name of his. */
		if ((uint32_t)slot == SHORTCUT_ASK ||
		    (uint32_t)slot == position)
			return;
		if (shortcut_has_name(maker_record(maker, (uint32_t)slot),
			MAKER_ALL_KINDS, name, &maker->other)) {
			maker_set(maker, &slots[at], place.mark, SHORTCUT_ASK);
			return;
		}
	}
}

/* What holds of all names of a record that can be asked for. */
static bool
maker_next_name(struct shortcut_maker *maker, struct slice *rest)
{
	enum name_kind kind;
	struct slice value;
	const char *why;

	while (layout_next_name(rest, &kind, &value)) {
		buf_clear(&maker->name);
		if (layout_name_start(&maker->name, kind, value, &why) == 0)
			return true;
	}
	return false;
}

/* Chains of slots stay short, and end. */
static bool
maker_is_crowded(const struct shortcut_maker *maker)
{
	return maker->used > maker_slot_count(maker) / 4 * 3;
}

int
shortcut_maker_add(
    struct shortcut_maker *maker, struct slice record, const char **why)
{
	uint32_t position = maker_add_record(maker, record);
	struct slice rest = record;

	while (position != 0 && !maker_is_crowded(maker) &&
	       maker_next_name(maker, &rest))
		maker_lead(maker, buf_slice(&maker->name), position);
	if (position != 0 && !maker_is_crowded(maker))
		return 0;
	*why = "accounts outgrew the shortcut while it was made";
	return -1;
}

void
shortcut_maker_finish(struct shortcut_maker *maker)
{
	size_t end =
	    maker->end < maker->map_size ? maker->end : maker->map_size;

	maker->head->size = end;
	/* What is left over goes back to the disk, but the file stays. */
	if (end < maker->map_size)
		(void)fallocate(maker->fd,
		    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)end,
		    (off_t)(maker->map_size - end));
	maker->state = MAKER_STANDS;
	/* Names of several accounts ask forever. */
	maker->asked = 0;
	atomic_fetch_add(&maker->head->generation, 1);
}

/* ---- keeping it true ---- */

/*
 * All slots that might be this name's: where two names share a mark, both ask.
 * A name that has none gets one, for an account may be added that has it.
 */
static void
maker_ask_name(struct shortcut_maker *maker, struct slice name)
{
	struct shortcut_place place =
	    shortcut_place(maker->nonce, maker->slot_bits, name);
	shortcut_slot *slots = maker_slots(maker);
	size_t at = place.slot;
	bool any = false;

	for (;; at = (at + 1) & (maker_slot_count(maker) - 1)) {
		uint64_t slot =
		    atomic_load_explicit(&slots[at], memory_order_relaxed);

		if (slot == 0 && any)
			return;
		if (slot != 0 && slot >> 32 != place.mark)
			continue;
		maker_set(maker, &slots[at], place.mark, SHORTCUT_ASK);
		any = true;
		if (slot == 0)
			return;
	}
}

void
shortcut_maker_ask(struct shortcut_maker *maker, struct slice record)
{
	while (maker->state != MAKER_NONE && maker_next_name(maker, &record)) {
		maker_ask_name(maker, buf_slice(&maker->name));
		if (maker_is_crowded(maker))
			shortcut_maker_give_up(maker);
	}
}

void
shortcut_maker_cover(struct shortcut_maker *maker, uint64_t transaction)
{
	atomic_store(&maker->head->covered, transaction);
	/* The commit that follows is seen after all this. */
	atomic_thread_fence(memory_order_seq_cst);
}
