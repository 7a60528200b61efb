/*
 * settings: configuration files, by libConfuse, from tables.
 *
 * A daemon describes each option by one row: name, kind, default, bounds and
 * where in its struct the value goes. Errors are collected with file and line,
 * all of them, not only the first. The same rows are what the tests hold
 * against manual pages and examples.
 */
#ifndef DAEMON_SETTINGS_H
#define DAEMON_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

enum setting_kind {
	SETTING_TEXT,   /* const char *; NULL when absent and without default */
	SETTING_NUMBER, /* long, min to max */
	SETTING_SWITCH, /* bool: yes or no */
	SETTING_CHOICE, /* int: index into words */
	SETTING_LIST    /* struct setting_list: { "a", "b" } */
};

struct setting_list {
	const char **items; /* owned by the settings, as are the strings */
	size_t count;
};

struct setting {
	const char *name;
	enum setting_kind kind;
	size_t offset; /* of the value in the section's struct */
	const char
	    *fallback; /* the default as one would write it; NULL: absent */
	long min, max; /* NUMBER */
	const char *const *words; /* CHOICE: ends in NULL */
};

struct setting_section {
	const char *name; /* NULL: the top level */
	const struct setting *rows;
	size_t row_count;
	size_t offset;    /* of the section in the target, or of its struct
			     setting_items */
	size_t item_size; /* not 0: may come several times, each with a title */
	size_t title_offset; /* of the title (const char *) in the item */
	size_t line_offset;  /* of the line number (long) in the item */
};

/* Sections that may come several times. */
struct setting_items {
	void *items; /* array, owned by the settings */
	size_t count;
};

struct settings; /* owns all that the target points to */

/*
 * Reads `path` into *target. sections[0] is the top level. 0; or -1 with the
 * reasons as lines "FILE:LINE: text" in errors, and *settings NULL.
 */
int settings_read(struct settings **settings_out, const char *path,
    const struct setting_section *sections, size_t section_count, void *target,
    struct buf *errors);
void settings_free(struct settings **settings);

/* Writes the rows as `section.name kind default bounds`, a line each, for
 * tests. */
void settings_describe(const struct setting_section *sections,
    size_t section_count, struct buf *out);

#endif
