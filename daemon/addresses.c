#include "daemon/addresses.h"

#include <stdlib.h>
#include <string.h>

static void
free_texts(struct addresses_name *name)
{
	for (size_t i = 0; i < name->count; i++)
		free(name->texts[i]);
	free((void *)name->texts);
	name->texts = NULL;
	name->count = 0;
}

void
addresses_free(struct addresses *addresses)
{
	for (size_t i = 0; i < addresses->count; i++) {
		free_texts(&addresses->names[i]);
		free(addresses->names[i].name);
	}
	free(addresses->names);
	*addresses = (struct addresses){ 0 };
}

struct addresses_name *
addresses_find(const struct addresses *addresses, struct slice name)
{
	for (size_t i = 0; i < addresses->count; i++)
		if (slice_is_nocase(name, addresses->names[i].name))
			return &addresses->names[i];
	return NULL;
}

struct addresses_name *
addresses_want(struct addresses *addresses, struct slice name)
{
	struct addresses_name *found = addresses_find(addresses, name), *more;

	if (found || addresses->count >= ADDRESSES_NAMES_MAX)
		return found;
	more =
	    reallocarray(addresses->names, addresses->count + 1, sizeof(*more));
	if (!more)
		abort();
	addresses->names = more;
	found = &more[addresses->count++];
	*found =
	    (struct addresses_name){ .name = strndup(name.data, name.size) };
	if (!found->name)
		abort();
	return found;
}

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool
addresses_set(
    struct addresses_name *name, const char *const *texts, size_t count)
{
	size_t used = count < ADDRESSES_EACH_MAX ? count : ADDRESSES_EACH_MAX;
	char **copies = calloc(used + 1, sizeof(*copies));
	bool same = used == name->count;

	if (!copies)
		abort();
	for (size_t i = 0; i < used; i++) {
		copies[i] = strdup(texts[i]);
		if (!copies[i])
			abort();
	}
	qsort((void *)copies, used, sizeof(*copies), compare_texts);
	for (size_t i = 0; same && i < used; i++)
		same = strcmp(copies[i], name->texts[i]) == 0;
	free_texts(name);
	name->texts = copies;
	name->count = used;
	name->tried = true;
	return !same;
}
