#include "slapd-overlay/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NEAR 4 /* places that a digest may be at */

struct place {
	unsigned char digest[KEYS_DIGEST_SIZE];
	int64_t end_ms; /* 0: free */
};

struct memory {
	pthread_mutex_t mutex;
	int64_t keep_ms;
	size_t size; /* places, at least NEAR */
	struct place places[];
};

struct memory *
memory_new(size_t size, int64_t keep_ms)
{
	size_t places = size < NEAR ? NEAR : size;
	struct memory *memory =
	    calloc(1, sizeof(*memory) + places * sizeof(struct place));

	if (!memory)
		return NULL;
	memory->size = places;
	memory->keep_ms = keep_ms;
	if (pthread_mutex_init(&memory->mutex, NULL) == 0)
		return memory;
	free(memory);
	return NULL;
}

void
memory_free(struct memory **memory)
{
	if (!*memory)
		return;
	(void)pthread_mutex_destroy(&(*memory)->mutex);
	explicit_bzero(
	    (*memory)->places, (*memory)->size * sizeof(struct place));
	free(*memory);
	*memory = NULL;
}

static struct place *
place_near(struct memory *memory, const unsigned char *digest, size_t step)
{
	uint64_t first;

	memcpy(&first, digest, sizeof(first));
	return &memory->places[(first + step) % memory->size];
}

static bool
is_digest(const struct place *place, const unsigned char *digest)
{
	return slice_equal_secret(slice_of(place->digest, KEYS_DIGEST_SIZE),
	    slice_of(digest, KEYS_DIGEST_SIZE));
}

bool
memory_knows(struct memory *memory,
    const unsigned char digest[KEYS_DIGEST_SIZE], int64_t now_ms)
{
	bool known = false;

	(void)pthread_mutex_lock(&memory->mutex);
	for (size_t i = 0; i < NEAR && !known; i++) {
		struct place *place = place_near(memory, digest, i);

		known = place->end_ms > now_ms && is_digest(place, digest);
	}
	(void)pthread_mutex_unlock(&memory->mutex);
	return known;
}

void
memory_learn(struct memory *memory,
    const unsigned char digest[KEYS_DIGEST_SIZE], int64_t now_ms)
{
	struct place *oldest = NULL;

	(void)pthread_mutex_lock(&memory->mutex);
	for (size_t i = 0; i < NEAR; i++) {
		struct place *place = place_near(memory, digest, i);

		if (is_digest(place, digest)) {
			oldest = place;
			break;
		}
		if (!oldest || place->end_ms < oldest->end_ms)
			oldest = place;
	}
	memcpy(oldest->digest, digest, KEYS_DIGEST_SIZE);
	oldest->end_ms = now_ms + memory->keep_ms;
	(void)pthread_mutex_unlock(&memory->mutex);
}
