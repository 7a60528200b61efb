#include "lib/vote.h"

static const char *const words[] = {
	[VOTE_DOWN] = "down",
	[VOTE_SILENT] = "silent",
};

static bool
is_only_one(const struct cell *cell, const struct host *host)
{
	for (unsigned i = HOST_SERVER; i <= HOST_OTHER; i++)
		if ((enum host_kind)i != host->kind &&
		    cell_host(cell, (enum host_kind)i, host->name))
			return false;
	return true;
}

int
vote_format(struct buf *out, const struct cell *cell, const struct host *host,
    enum vote_word word)
{
	/* A slash in the name itself would be taken for one after the kind. */
	if (!is_only_one(cell, host) || slice_find(host->name, '/') != SIZE_MAX)
		buf_printf(out, "%s/", host_kind_text(host->kind));
	buf_add_slice(out, host->name);
	return buf_printf(out, " %s", words[word]);
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

bool
vote_says(const struct cell *cell, const struct host *observer,
    const struct host *host, enum vote_word word)
{
	for (size_t i = 0; i < observer->vote_count; i++) {
		struct slice vote = observer->votes[i];
		size_t space = slice_find_last(vote, ' ');

		if (space != SIZE_MAX &&
		    slice_is_nocase(
			slice_from_offset(vote, space + 1), words[word]) &&
		    is_name_of(cell, host, slice_first(vote, space)))
			return true;
	}
	return false;
}
