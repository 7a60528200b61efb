#include "lib/vote.h"

static const char *const words[] = {
	[VOTE_DOWN] = "down",
	[VOTE_SILENT] = "silent",
};

static const char *const families[] = {
	[VOTE_IPV4] = "ipv4",
	[VOTE_IPV6] = "ipv6",
};
_Static_assert(ARRAY_SIZE(families) == VOTE_FAMILY_COUNT, "a text for each");

static bool
is_only_one(const struct cell *cell, const struct host *host)
{
	for (unsigned i = HOST_SERVER; i <= HOST_OTHER; i++)
		if ((enum host_kind)i != host->kind &&
		    cell_host(cell, (enum host_kind)i, host->name))
			return false;
	return true;
}

static void
add_name(struct buf *out, const struct cell *cell, const struct host *host)
{
	/* A slash in the name itself would be taken for one after the kind. */
	if (!is_only_one(cell, host) || slice_find(host->name, '/') != SIZE_MAX)
		buf_printf(out, "%s/", host_kind_text(host->kind));
	buf_add_slice(out, host->name);
}

int
vote_format(struct buf *out, const struct cell *cell, const struct host *host,
    enum vote_word word)
{
	add_name(out, cell, host);
	return buf_printf(out, " %s", words[word]);
}

int
vote_format_family(struct buf *out, const struct cell *cell,
    const struct host *host, enum vote_family family)
{
	add_name(out, cell, host);
	return buf_printf(out, "/%s %s", families[family], words[VOTE_DOWN]);
}

const char *
vote_family_text(enum vote_family family)
{
	return families[family];
}

/* Whether `name` of a vote means this host. */
static bool
is_name_of(const struct cell *cell, const struct host *host, struct slice name)
{
	size_t slash = slice_find(name, '/');

	if (slash == SIZE_MAX)
		return slice_equal_nocase(name, host->name) &&
		       is_only_one(cell, host);
	return slice_is_nocase(
		   slice_first(name, slash), host_kind_text(host->kind)) &&
	       slice_equal_nocase(
		   slice_from_offset(name, slash + 1), host->name);
}

/* What stands before the word; false when it is another one. */
static bool
take_name(struct slice vote, enum vote_word word, struct slice *name)
{
	size_t space = slice_find_last(vote, ' ');

	if (space == SIZE_MAX ||
	    !slice_is_nocase(slice_from_offset(vote, space + 1), words[word]))
		return false;
	*name = slice_first(vote, space);
	return true;
}

bool
vote_says(const struct cell *cell, const struct host *observer,
    const struct host *host, enum vote_word word)
{
	struct slice name;

	for (size_t i = 0; i < observer->vote_count; i++)
		if (take_name(observer->votes[i], word, &name) &&
		    is_name_of(cell, host, name))
			return true;
	return false;
}

bool
vote_says_family(const struct cell *cell, const struct host *observer,
    const struct host *host, enum vote_family family)
{
	struct slice name;

	for (size_t i = 0; i < observer->vote_count; i++) {
		size_t slash;

		if (!take_name(observer->votes[i], VOTE_DOWN, &name))
			continue;
		slash = slice_find_last(name, '/');
		if (slash != SIZE_MAX &&
		    slice_is_nocase(
			slice_from_offset(name, slash + 1), families[family]) &&
		    is_name_of(cell, host, slice_first(name, slash)))
			return true;
	}
	return false;
}
