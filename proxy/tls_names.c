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
tls_names_add(struct tls_names *names, struct slice name, enum tls_key key,
    int certificate)
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
	more->context = 0;
	for (size_t i = 0; i < TLS_KEY_COUNT; i++)
		more->certificates[i] = TLS_NO_CERTIFICATE;
	more->certificates[key] = certificate;
	names->count++;
	return 0;
}

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct tls_name *)a)->text,
	    ((const struct tls_name *)b)->text);
}

/* What both have of one name. False when they clash. */
static bool
merge(struct tls_name *name, const struct tls_name *more,
    struct tls_names_clash *clash)
{
	for (size_t i = 0; i < TLS_KEY_COUNT; i++) {
		int *have = &name->certificates[i];
		int other = more->certificates[i];

		if (other == TLS_NO_CERTIFICATE || other == *have)
			continue;
		if (*have != TLS_NO_CERTIFICATE) {
			*clash = (struct tls_names_clash){ name->text,
				{ *have, other } };
			return false;
		}
		*have = other;
	}
	return true;
}

bool
tls_names_seal(struct tls_names *names, struct tls_names_clash *clash)
{
	size_t kept = 0;

	if (names->count == 0)
		return true;
	qsort(names->names, names->count, sizeof(*names->names), compare);
	for (size_t i = 1; i < names->count; i++) {
		struct tls_name *last = &names->names[kept];

		if (compare(last, &names->names[i]) != 0)
			names->names[++kept] = names->names[i];
		else if (!merge(last, &names->names[i], clash))
			return false;
	}
	names->count = kept + 1;
	return true;
}

const struct tls_name *
tls_names_find(const struct tls_names *names, const char *name)
{
	const struct tls_name *found;
	struct tls_name key;
	char *dot;

	if (names->count == 0 || !fold(key.text, slice_from(name)))
		return NULL;
	found = bsearch(&key, names->names, names->count, sizeof(key), compare);
	dot = strchr(key.text, '.');
	if (!found && dot && dot != key.text) {
		key.text[0] = '*';
		memmove(key.text + 1, dot, strlen(dot) + 1);
		found = bsearch(
		    &key, names->names, names->count, sizeof(key), compare);
	}
	return found;
}

void
tls_names_free(struct tls_names *names)
{
	free(names->names);
	*names = (struct tls_names){ 0 };
}
