#include "proxy/tls_names.h"

#include <stdlib.h>
#include <string.h>

#include "lib/name.h"

/* Copies in lower case, without the root's dot; false when it is too long. */
static bool
fold(char text[TLS_NAMES_SIZE_MAX + 1], struct slice name)
{
	if (name.size > 0 && name.data[name.size - 1] == '.')
		name.size--;
	if (name.size == 0 || name.size > TLS_NAMES_SIZE_MAX)
		return false;
	for (size_t i = 0; i < name.size; i++) {
		char c = name.data[i];

		text[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	text[name.size] = '\0';
	return true;
}

int
tls_names_add(struct tls_names *names, struct slice name, unsigned certificate)
{
	struct slice host = name;
	struct tls_name *more;

	if (slice_starts_nocase(name, "*."))
		host = slice_from_offset(name, 2);
	if (name.size > TLS_NAMES_SIZE_MAX || !name_is_host(host))
		return -1;
	more = reallocarray(names->names, names->count + 1, sizeof(*more));
	if (!more)
		abort();
	names->names = more;
	more += names->count;
	if (!fold(more->text, name))
		return -1;
	more->certificate = certificate;
	names->count++;
	return 0;
}

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct tls_name *)a)->text,
	    ((const struct tls_name *)b)->text);
}

const struct tls_name *
tls_names_seal(struct tls_names *names)
{
	if (names->count > 0)
		qsort(
		    names->names, names->count, sizeof(*names->names), compare);
	for (size_t i = 1; i < names->count; i++)
		if (compare(&names->names[i - 1], &names->names[i]) == 0 &&
		    names->names[i - 1].certificate !=
			names->names[i].certificate)
			return &names->names[i - 1];
	return NULL;
}

bool
tls_names_find(
    const struct tls_names *names, const char *name, unsigned *certificate)
{
	const struct tls_name *found;
	struct tls_name key;
	char *dot;

	if (names->count == 0 || !fold(key.text, slice_from(name)))
		return false;
	found = bsearch(&key, names->names, names->count, sizeof(key), compare);
	dot = strchr(key.text, '.');
	if (!found && dot && dot != key.text) {
		key.text[0] = '*';
		memmove(key.text + 1, dot, strlen(dot) + 1);
		found = bsearch(
		    &key, names->names, names->count, sizeof(key), compare);
	}
	if (found)
		*certificate = found->certificate;
	return found != NULL;
}

void
tls_names_free(struct tls_names *names)
{
	free(names->names);
	*names = (struct tls_names){ 0 };
}
