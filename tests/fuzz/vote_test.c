#include <stdlib.h>

#include "lib/record.h"
#include "lib/vote.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "vote";

/*
 * The first line is the name of a host, the second a value of an observer's
 * votes: what we would write of that host is understood, and the input never
 * says anything of another one of the same name.
 */
static struct cell *
make_cell(struct slice name, struct slice vote)
{
	static const char *const kinds[] = { "server", "proxy" };
	struct cell *cell = cell_new();

	if (!cell)
		abort();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct buf record = buf_bounded(1 << 20);

		record_add(&record, CELL_KIND, slice_from(kinds[i]));
		record_add(&record, CELL_NAME, name);
		record_add(&record, CELL_VOTE, vote);
		if (record.failed || cell_add(cell, buf_slice(&record)) < 0)
			abort();
		buf_free(&record);
	}
	if (cell_finish(cell) < 0)
		abort();
	return cell;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size);
	size_t end = slice_find(text, '\n');
	struct slice name = slice_first(text, end);
	struct slice vote = slice_from_offset(text, name.size + 1);
	struct cell *cell;
	const struct host *server, *observer;

	if (name.size == 0 || end == SIZE_MAX || size > 4096)
		return 0;
	cell = make_cell(name, vote);
	server = cell_host(cell, HOST_SERVER, name);
	observer = cell_host(cell, HOST_PROXY, name);
	if (server && observer) {
		for (unsigned i = VOTE_DOWN; i <= VOTE_SILENT; i++)
			fuzz_require(!vote_says(cell, observer, server,
					 (enum vote_word)i) ||
					 !vote_says(cell, observer, observer,
					     (enum vote_word)i),
			    "one value is of one host");
		for (unsigned i = 0; i < VOTE_FAMILY_COUNT; i++)
			fuzz_require(!vote_says_family(cell, observer, server,
					 (enum vote_family)i) ||
					 !vote_says_family(cell, observer,
					     observer, (enum vote_family)i),
			    "one value is of one family of one host");
	}
	cell_free(&cell);
	return 0;
}
