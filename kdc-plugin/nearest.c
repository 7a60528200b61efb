#include "kdc-plugin/nearest.h"

#define NEAREST_WORDS 7

static enum nearest_rank
nearest_rank(struct slice site, struct slice state, struct slice own_site)
{
	if (slice_is(state, "down"))
		return NEAREST_DOWN;
	return own_site.size > 0 && slice_equal_nocase(site, own_site)
		   ? NEAREST_HERE
		   : NEAREST_UP;
}

/* False for a line of another service or realm, or of none. */
static bool
nearest_take(
    struct nearest *server, struct slice line, const struct nearest_wish *wish)
{
	const char *service =
	    wish->service == SERVICE_KERBEROS ? "kdc" : "kpasswd";
	struct slice words[NEAREST_WORDS] = { { NULL, 0 } };
	size_t count = 0;
	uint64_t port;

	while (
	    count < NEAREST_WORDS && slice_next_word(&line, ' ', &words[count]))
		count++;
	if (count < 5 || slice_trim(line).size > 0 ||
	    !slice_is(words[0], service) ||
	    !slice_equal(words[1], wish->realm) ||
	    slice_to_uint(words[3], UINT16_MAX, &port) != 0 || port == 0 ||
	    (count == NEAREST_WORDS && !slice_is(words[6], "up") &&
		!slice_is(words[6], "down")))
		return false;
	*server = (struct nearest){
		.rank = nearest_rank(words[5], words[6], wish->site),
		.said = EXPERIENCE_NONE,
	};
	return slice_find(words[2], '[') == SIZE_MAX &&
	       endpoint_parse(&server->place, words[2], (uint16_t)port) == 0;
}

size_t
nearest_find(struct nearest servers[NEAREST_MAX], struct slice text,
    const struct nearest_wish *wish)
{
	struct slice line;
	size_t count = 0;

	while (count < NEAREST_MAX && slice_next_word(&text, '\n', &line)) {
		size_t hash = slice_find(line, '#');

		line = slice_trim(
		    hash == SIZE_MAX ? line : slice_first(line, hash));
		if (nearest_take(&servers[count], line, wish))
			count++;
	}
	return count;
}

static bool
nearest_is_before(const struct nearest *a, const struct nearest *b)
{
	return a->said != b->said ? a->said < b->said : a->rank < b->rank;
}

/* Stable, and there are few. */
void
nearest_sort(struct nearest *servers, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct nearest moved = servers[i];
		size_t at = i;

		for (; at > 0 && nearest_is_before(&moved, &servers[at - 1]);
		     at--)
			servers[at] = servers[at - 1];
		servers[at] = moved;
	}
}

bool
nearest_is_settled(const struct nearest *servers, size_t count)
{
	size_t known = 0;

	for (size_t i = 0; i < count; i++) {
		if (servers[i].rank != NEAREST_DOWN &&
		    servers[i].said == EXPERIENCE_ANSWERED)
			return true;
		known += servers[i].said != EXPERIENCE_NONE;
	}
	return known == count;
}
