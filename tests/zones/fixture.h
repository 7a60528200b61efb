/* fixture: configurations, cells and record sets for the tests, from text. */
#ifndef TESTS_ZONES_FIXTURE_H
#define TESTS_ZONES_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/buf.h"
#include "tests/lib/entry.h"
#include "zones/config.h"
#include "zones/rrsets.h"

#define FIXTURE_SECRET "bG9uZy1lbm91Z2gtc2VjcmV0LWZvci10ZXN0aW5nIQ=="

static inline void
fixture_write(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		abort();
}

/* A key "k", a zone "cell.test" updated with it, and `more`. */
static inline struct config *
fixture_config(const char *more)
{
	char folder[] = "/tmp/postcell-zones-XXXXXX";
	char secret[64], path[64];
	struct buf text = buf_bounded(65536), errors = buf_bounded(65536);
	struct config *config = NULL;

	if (!mkdtemp(folder))
		abort();
	(void)snprintf(secret, sizeof(secret), "%s/secret", folder);
	(void)snprintf(path, sizeof(path), "%s/conf", folder);
	fixture_write(secret, FIXTURE_SECRET "\n");
	buf_printf(&text,
	    "publisher = \"host.test\"\n"
	    "key \"k\" { secret_file = \"%s\" }\n"
	    "zone \"cell.test\" { primaries = { \"127.0.0.1:1\" }\n"
	    "  key_name = \"k\"\n  hosts = \"h.cell.test\" }\n%s\n",
	    secret, more);
	fixture_write(path, buf_string(&text));
	if (config_read(&config, path, &errors) < 0) {
		(void)fputs(buf_string(&errors), stderr);
		abort();
	}
	(void)unlink(secret);
	(void)unlink(path);
	(void)rmdir(folder);
	buf_free(&text);
	buf_free(&errors);
	return config;
}

/* A set of records, a line each. */
static inline struct rrsets
fixture_set(const char *text)
{
	struct slice rest = slice_from(text), line;
	struct rrsets set = { 0 };
	const char *why;

	while (slice_next_word(&rest, '\n', &line)) {
		char *copy = strndup(line.data, line.size);

		if (!copy || rrsets_add_text(&set, copy, &why) < 0)
			abort();
		free(copy);
	}
	return set;
}

/* Of a set that has one. */
static inline ldns_rr *
fixture_first(const struct rrsets *set)
{
	if (set->count == 0 || !set->rrs)
		abort();
	return set->rrs[0];
}

/* The set's lines, spaces for tabs; the caller's to free. */
static inline char *
fixture_text(const struct rrsets *set)
{
	struct buf text = buf_bounded(1 << 20);
	char *copy;

	if (rrsets_print(&text, set) < 0)
		abort();
	copy = strdup(buf_string(&text));
	if (!copy)
		abort();
	for (char *c = copy; *c; c++)
		if (*c == '\t')
			*c = ' ';
	buf_free(&text);
	return copy;
}

#define FIXTURE_ASSERT_SET(set, expected)                                      \
	do {                                                                   \
		char *text_ = fixture_text(set);                               \
		assert_string_equal(text_, expected);                          \
		free(text_);                                                   \
	} while (0)

#endif
