#include "ctl/dovecot.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX     8
#define SETTINGS_MAX  100000
#define PATH_SIZE_MAX 1024

/* Where the reading is: the open blocks. */
struct reading {
	struct dovecot *dovecot;
	struct slice names[DEPTH_MAX];
	unsigned numbers[DEPTH_MAX];
	size_t depth;
	unsigned blocks; /* opened so far */
	size_t capacity;
};

static char *
path_of(const struct reading *reading)
{
	struct buf path = buf_bounded(PATH_SIZE_MAX);

	for (size_t i = 0; i < reading->depth; i++) {
		if (i > 0)
			(void)buf_add_char(&path, '/');
		(void)buf_add_slice(&path, reading->names[i]);
	}
	return path.data ? path.data : calloc(1, 1);
}

static const char *
add_setting(struct reading *reading, struct slice key, struct slice value)
{
	struct dovecot *dovecot = reading->dovecot;
	size_t depth = reading->depth;

	if (dovecot->count == SETTINGS_MAX)
		return "too many settings";
	if (dovecot->count == reading->capacity) {
		reading->capacity = reading->capacity * 2 + 64;
		dovecot->settings = reallocarray(dovecot->settings,
		    reading->capacity, sizeof(*dovecot->settings));
		if (!dovecot->settings)
			abort();
	}
	dovecot->settings[dovecot->count++] =
	    (struct dovecot_setting){ .path = path_of(reading),
		    .block = depth > 0 ? reading->numbers[depth - 1] : 0,
		    .key = key,
		    .value = value };
	return NULL;
}

static const char *
open_block(struct reading *reading, struct slice name)
{
	if (reading->depth == DEPTH_MAX)
		return "blocks are nested too deep";
	reading->names[reading->depth] = name;
	reading->numbers[reading->depth++] = ++reading->blocks;
	return NULL;
}

/* `key = value`, `name {`, `}`, a comment, or nothing; else why not. */
static const char *
read_line(struct reading *reading, struct slice line)
{
	static const char host[] = "# Hostname:";
	size_t equals = slice_find(line, '=');

	if (line.size == 0)
		return NULL;
	if (line.data[0] == '#') {
		if (slice_starts_nocase(line, host))
			reading->dovecot->host =
			    slice_trim(slice_from_offset(line, strlen(host)));
		return NULL;
	}
	if (slice_is(line, "}")) {
		if (reading->depth == 0)
			return "a block ends that did not begin";
		reading->depth--;
		return NULL;
	}
	if (line.data[line.size - 1] == '{' && equals == SIZE_MAX)
		return open_block(
		    reading, slice_trim(slice_first(line, line.size - 1)));
	if (equals == SIZE_MAX || equals == 0)
		return "neither a setting nor a block";
	return add_setting(reading, slice_trim(slice_first(line, equals)),
	    slice_trim(slice_from_offset(line, equals + 1)));
}

int
dovecot_read(
    struct dovecot *dovecot, struct slice text, size_t *line, const char **why)
{
	struct reading reading = { .dovecot = dovecot };

	*dovecot = (struct dovecot){ .settings = NULL };
	*why = NULL;
	for (*line = 1; text.size > 0 && !*why; ++*line) {
		size_t end = slice_find(text, '\n');
		struct slice rest = slice_first(text, end);

		text = slice_from_offset(
		    text, end == SIZE_MAX ? text.size : end + 1);
		if (rest.size > 0 && rest.data[rest.size - 1] == '\r')
			rest.size--;
		*why = read_line(&reading, slice_trim(rest));
		if (*why)
			return -1;
	}
	if (reading.depth == 0)
		return 0;
	*why = "the last block does not end";
	return -1;
}

void
dovecot_free(struct dovecot *dovecot)
{
	for (size_t i = 0; i < dovecot->count; i++)
		free(dovecot->settings[i].path);
	free(dovecot->settings);
	*dovecot = (struct dovecot){ .settings = NULL };
}

struct slice
dovecot_value(const struct dovecot *dovecot, const char *path, const char *key)
{
	for (size_t i = dovecot->count; i-- > 0;)
		if (strcmp(dovecot->settings[i].path, path) == 0 &&
		    slice_is(dovecot->settings[i].key, key))
			return dovecot->settings[i].value;
	return slice_from("");
}
