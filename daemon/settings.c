#include "daemon/settings.h"

#include <assert.h>
#include <confuse.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTIONS_MAX    16
#define ERROR_LINE_SIZE 1024
#define FILE_SIZE_MAX   1048576

struct settings {
	cfg_t *cfg;
	struct buf text; /* owned: the file, its remarks blanked */
	cfg_opt_t *opts[SECTIONS_MAX];
	void **arrays; /* lists and items handed out */
	size_t array_count;
};

/*
 * libConfuse's callbacks carry no context of the caller, so the one reading
 * that is under way stands here. Configuration is read before any thread.
 */
static struct {
	const struct setting_section *sections;
	size_t section_count;
	const char *path;
	struct buf *errors;
	bool failed;
} reading;

__attribute__((format(printf, 2, 0))) static void
on_error(cfg_t *cfg, const char *format, va_list arguments)
{
	char text[ERROR_LINE_SIZE];

	(void)vsnprintf(text, sizeof(text), format, arguments);
	reading.failed = true;
	/* A section of libConfuse's does not know its file. */
	buf_printf(reading.errors, "%s:%d: %s\n", reading.path,
	    cfg ? cfg->line : 1, text);
}

static const struct setting *
find_row(const char *section_name, const char *name)
{
	for (size_t i = 0; i < reading.section_count; i++) {
		const struct setting_section *section = &reading.sections[i];

		if (strcmp(section->name ? section->name : "root",
			section_name) != 0)
			continue;
		for (size_t k = 0; k < section->row_count; k++)
			if (strcmp(section->rows[k].name, name) == 0)
				return &section->rows[k];
	}
	return NULL;
}

static int
word_index(const char *const *words, const char *word)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	return -1;
}

static int
check_choice(cfg_t *cfg, const struct setting *row, const char *word)
{
	char choices[ERROR_LINE_SIZE / 2] = "";
	size_t size = 0;

	if (word_index(row->words, word) >= 0)
		return 0;
	for (size_t i = 0; row->words[i] && size < sizeof(choices) - 1; i++) {
		int added = snprintf(choices + size, sizeof(choices) - size,
		    "%s%s", i > 0 ? ", " : "", row->words[i]);

		size += added > 0 ? (size_t)added : 0;
	}
	cfg_error(
	    cfg, "%s is \"%s\", but may be: %s", row->name, word, choices);
	return -1;
}

/* Called by libConfuse for each value, while cfg still knows its line. */
static int
on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct setting *row = find_row(cfg_name(cfg), cfg_opt_name(opt));
	unsigned last = cfg_opt_size(opt) - 1;
	long number;

	assert(row);
	if (row->kind == SETTING_CHOICE)
		return check_choice(cfg, row, cfg_opt_getnstr(opt, last));
	if (row->kind != SETTING_NUMBER)
		return 0;
	number = cfg_opt_getnint(opt, last);
	if (number >= row->min && number <= row->max)
		return 0;
	cfg_error(cfg, "%s is %ld, but must be %ld to %ld", row->name, number,
	    row->min, row->max);
	return -1;
}

static cfg_opt_t
row_option(const struct setting *row)
{
	switch (row->kind) {
	case SETTING_NUMBER:
		return (cfg_opt_t)CFG_INT(
		    row->name, strtol(row->fallback, NULL, 10), CFGF_NONE);
	case SETTING_SWITCH:
		return (cfg_opt_t)CFG_BOOL(row->name,
		    strcmp(row->fallback, "yes") == 0 ? cfg_true : cfg_false,
		    CFGF_NONE);
	case SETTING_LIST:
		return (cfg_opt_t)CFG_STR_LIST(
		    /* Declared without const, never written. */
		    /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
		    row->name, (char *)(uintptr_t)row->fallback, CFGF_NONE);
	case SETTING_TEXT:
	case SETTING_CHOICE:
		break;
	}
	return (cfg_opt_t)CFG_STR(row->name, row->fallback, CFGF_NONE);
}

/* The options of one section; the top level also holds the other sections. */
static cfg_opt_t *
section_options(struct settings *settings,
    const struct setting_section *sections, size_t section_count, size_t index)
{
	const struct setting_section *section = &sections[index];
	size_t inner = index == 0 ? section_count - 1 : 0;
	cfg_opt_t *opts = calloc(section->row_count + inner + 1, sizeof(*opts));
	size_t at = 0;

	if (!opts)
		return NULL;
	for (size_t i = 0; i < section->row_count; i++)
		opts[at++] = row_option(&section->rows[i]);
	for (size_t i = 1; i <= inner; i++) {
		cfg_flag_t flags =
		    sections[i].item_size
			? CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES
			: CFGF_NONE;

		opts[at++] = (cfg_opt_t)CFG_SEC(
		    sections[i].name, settings->opts[i], flags);
	}
	opts[at] = (cfg_opt_t)CFG_END();
	return opts;
}

static void
set_validators(
    cfg_t *cfg, const struct setting_section *sections, size_t section_count)
{
	char path[256];

	for (size_t i = 0; i < section_count; i++) {
		for (size_t k = 0; k < sections[i].row_count; k++) {
			(void)snprintf(path, sizeof(path), "%s%s%s",
			    sections[i].name ? sections[i].name : "",
			    sections[i].name ? "|" : "",
			    sections[i].rows[k].name);
			cfg_set_validate_func(cfg, path, on_value);
		}
	}
}

static void *
new_array(struct settings *settings, size_t count, size_t size)
{
	void **more = reallocarray(settings->arrays, settings->array_count + 1,
	    sizeof(*settings->arrays));
	void *array = calloc(count + 1, size);

	if (!more || !array)
		abort();
	settings->arrays = more;
	settings->arrays[settings->array_count++] = array;
	return array;
}

static void
store_list(struct settings *settings, cfg_t *cfg, const struct setting *row,
    void *value)
{
	struct setting_list *list = value;

	list->count = cfg_size(cfg, row->name);
	list->items = new_array(settings, list->count, sizeof(*list->items));
	for (size_t i = 0; i < list->count; i++)
		list->items[i] = cfg_getnstr(cfg, row->name, (unsigned)i);
}

static void
store_section(struct settings *settings, cfg_t *cfg,
    const struct setting_section *section, char *target)
{
	for (size_t i = 0; i < section->row_count; i++) {
		const struct setting *row = &section->rows[i];
		void *value = target + row->offset;

		switch (row->kind) {
		case SETTING_TEXT:
			*(const char **)value = cfg_getstr(cfg, row->name);
			break;
		case SETTING_NUMBER:
			*(long *)value = cfg_getint(cfg, row->name);
			break;
		case SETTING_SWITCH:
			*(bool *)value =
			    cfg_getbool(cfg, row->name) == cfg_true;
			break;
		case SETTING_CHOICE:
			*(int *)value =
			    word_index(row->words, cfg_getstr(cfg, row->name));
			break;
		case SETTING_LIST:
			store_list(settings, cfg, row, value);
			break;
		}
	}
}

/* Octets of the file that part words, outside quotes. */
static bool
is_between_words(char c)
{
	return c == '\0' || strchr(" \t\r\n={}(),+;\"'", c);
}

/* Behind the quoted text that begins at `at`. */
static size_t
skip_quoted(const char *text, size_t at)
{
	char quote = text[at++];

	while (text[at] != '\0' && text[at] != quote)
		at += text[at] == '\\' && text[at + 1] != '\0' ? 2 : 1;
	return text[at] == '\0' ? at : at + 1;
}

/* How long the remark is that begins at `at`; 0: none does. SIZE_MAX: it has
 * no end. */
static size_t
remark_size(const char *text, size_t at)
{
	const char *end;

	if (at > 0 && !is_between_words(text[at - 1]))
		return 0;
	if (text[at] == '#' || strncmp(text + at, "//", 2) == 0)
		return strcspn(text + at, "\n");
	if (strncmp(text + at, "/*", 2) != 0)
		return 0;
	end = strstr(text + at + 2, "*/");
	return end ? (size_t)(end - text) + 2 - at : SIZE_MAX;
}

/*
 * libConfuse counts the lines of remarks twice and more, and errors would name
 * the wrong line: so it is shown none. -1 when one has no end.
 */
static int
blank_remarks(char *text)
{
	for (size_t at = 0; text[at] != '\0';) {
		size_t size = remark_size(text, at);

		if (size == SIZE_MAX)
			return -1;
		if (text[at] == '"' || text[at] == '\'') {
			at = skip_quoted(text, at);
			continue;
		}
		if (size == 0)
			size = 1;
		else
			for (size_t i = 0; i < size; i++)
				if (text[at + i] != '\n')
					text[at + i] = ' ';
		at += size;
	}
	return 0;
}

/* Does the section of that name and title begin at `at`? */
static bool
begins_section(const char *text, size_t at, const char *name, const char *title)
{
	size_t size = strlen(name);

	if ((at > 0 && !is_between_words(text[at - 1])) ||
	    strncmp(text + at, name, size) != 0 ||
	    !is_between_words(text[at + size]))
		return false;
	at += size + strspn(text + at + size, " \t\r\n");
	if (text[at] == '"' || text[at] == '\'')
		at++;
	size = strlen(title);
	return strncmp(text + at, title, size) == 0 &&
	       is_between_words(text[at + size]);
}

/*
 * The line on which a section begins; libConfuse knows where it ends. Without
 * a name: the last line, and *open says how many braces are open there.
 */
static long
section_line(const char *text, const char *name, const char *title, int *open)
{
	long line = 1;
	int depth = 0;

	for (size_t at = 0; text[at] != '\0';) {
		size_t next = at + 1;

		if (name && depth == 0 && begins_section(text, at, name, title))
			return line;
		if (text[at] == '"' || text[at] == '\'')
			next = skip_quoted(text, at);
		depth += text[at] == '{' ? 1 : text[at] == '}' ? -1 : 0;
		for (; at < next; at++)
			line += text[at] == '\n';
	}
	*open = depth;
	return line;
}

static void
store_items(struct settings *settings, const struct setting_section *section,
    char *target)
{
	struct setting_items *items =
	    (struct setting_items *)(void *)(target + section->offset);

	items->count = cfg_size(settings->cfg, section->name);
	items->items = new_array(settings, items->count, section->item_size);
	for (size_t i = 0; i < items->count; i++) {
		cfg_t *cfg =
		    cfg_getnsec(settings->cfg, section->name, (unsigned)i);
		char *item = (char *)items->items + i * section->item_size;
		int open;

		store_section(settings, cfg, section, item);
		*(const char **)(void *)(item + section->title_offset) =
		    cfg_title(cfg);
		*(long *)(void *)(item + section->line_offset) =
		    section_line(buf_string(&settings->text), section->name,
			cfg_title(cfg), &open);
	}
}

static void
store(struct settings *settings, const struct setting_section *sections,
    size_t section_count, char *target)
{
	store_section(settings, settings->cfg, &sections[0], target);
	for (size_t i = 1; i < section_count; i++) {
		if (sections[i].item_size)
			store_items(settings, &sections[i], target);
		else
			store_section(settings,
			    cfg_getsec(settings->cfg, sections[i].name),
			    &sections[i], target + sections[i].offset);
	}
}

/* 0; or -1 with errno, or 0 there when the content is at fault. */
static int
read_file(struct settings *settings, const char *path)
{
	FILE *file = fopen(path, "re");
	size_t got = 0;
	int error = 0;
	char *room;

	if (!file)
		return -1;
	do {
		room = buf_reserve(&settings->text, BUFSIZ);
		got = room ? fread(room, 1, BUFSIZ, file) : 0;
		if (got > 0)
			buf_grow(&settings->text, got);
	} while (got > 0);
	error = ferror(file) ? errno : 0;
	(void)fclose(file);
	errno = error;
	return error || settings->text.failed ||
		       slice_find(buf_slice(&settings->text), '\0') != SIZE_MAX
		   ? -1
		   : 0;
}

static int
parse(struct settings *settings, const char *path)
{
	long last;
	int open;

	if (read_file(settings, path) < 0) {
		buf_printf(reading.errors, "%s: %s\n", path,
		    errno ? strerror(errno)
			  : "the file is too long or has a NUL");
		return -1;
	}
	if (settings->text.size == 0)
		return 0;
	last = section_line(settings->text.data, NULL, NULL, &open);
	if (blank_remarks(settings->text.data) < 0) {
		buf_printf(reading.errors, "%s:%ld: a remark has no end\n",
		    path, last);
		return -1;
	}
	last = section_line(settings->text.data, NULL, NULL, &open);
	if (cfg_parse_buf(settings->cfg, settings->text.data) != CFG_SUCCESS ||
	    reading.failed)
		return -1;
	/* libConfuse takes the end of the file for that of a section. */
	if (open == 0)
		return 0;
	buf_printf(
	    reading.errors, "%s:%ld: a section has no end\n", path, last);
	return -1;
}

int
settings_read(struct settings **settings_out, const char *path,
    const struct setting_section *sections, size_t section_count, void *target,
    struct buf *errors)
{
	struct settings *settings = calloc(1, sizeof(*settings));

	assert(section_count <= SECTIONS_MAX && !sections[0].name);
	*settings_out = NULL;
	if (!settings)
		abort();
	settings->text = buf_bounded(FILE_SIZE_MAX);
	reading.sections = sections;
	reading.section_count = section_count;
	reading.path = path;
	reading.errors = errors;
	reading.failed = false;
	for (size_t i = section_count; i-- > 0;) {
		settings->opts[i] =
		    section_options(settings, sections, section_count, i);
		if (!settings->opts[i])
			abort();
	}
	settings->cfg = cfg_init(settings->opts[0], CFGF_NONE);
	if (!settings->cfg)
		abort();
	cfg_set_error_function(settings->cfg, on_error);
	set_validators(settings->cfg, sections, section_count);
	if (parse(settings, path) < 0) {
		settings_free(&settings);
		return -1;
	}
	store(settings, sections, section_count, target);
	*settings_out = settings;
	return 0;
}

void
settings_free(struct settings **settings)
{
	struct settings *old = *settings;

	*settings = NULL;
	if (!old)
		return;
	if (old->cfg)
		cfg_free(old->cfg);
	buf_free(&old->text);
	for (size_t i = 0; i < SECTIONS_MAX; i++)
		free(old->opts[i]);
	for (size_t i = 0; i < old->array_count; i++)
		free(old->arrays[i]);
	free((void *)old->arrays);
	free(old);
}

void
settings_describe(const struct setting_section *sections, size_t section_count,
    struct buf *out)
{
	static const char *const kinds[] = {
		[SETTING_TEXT] = "text",
		[SETTING_NUMBER] = "number",
		[SETTING_SWITCH] = "switch",
		[SETTING_CHOICE] = "choice",
		[SETTING_LIST] = "list",
	};

	for (size_t i = 0; i < section_count; i++) {
		for (size_t k = 0; k < sections[i].row_count; k++) {
			const struct setting *row = &sections[i].rows[k];

			buf_printf(out, "%s%s%s %s %s",
			    sections[i].name ? sections[i].name : "",
			    sections[i].name ? "." : "", row->name,
			    kinds[row->kind],
			    row->fallback ? row->fallback : "-");
			if (row->kind == SETTING_NUMBER)
				buf_printf(
				    out, " %ld..%ld", row->min, row->max);
			buf_add_char(out, '\n');
		}
	}
}
