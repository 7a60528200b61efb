#include "ctl/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/base64.h"

#define LINE_SIZE_MAX ((size_t)64 * 1024 * 1024)

struct copy {
	FILE *file;
	const char *suffix;             /* borrowed */
	struct directory_entry *before; /* owned: the suffix, read at first */
	struct buf line;
	size_t count;
	bool is_cut; /* an entry has more values than are read */
};

/* What a server computes when it is asked, and would not take. */
static bool
is_computed(struct slice attribute)
{
	static const char *const names[] = { "entryDN", "subschemaSubentry",
		"hasSubordinates", "numSubordinates", "postcellServer" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (slice_is_nocase(attribute, names[i]))
			return true;
	return false;
}

static void
add_value(struct copy *copy, struct slice attribute, struct slice value)
{
	buf_clear(&copy->line);
	(void)buf_printf(&copy->line, "%.*s:: ", SLICE_ARGS(attribute));
	(void)base64_encode(&copy->line, value);
	(void)buf_add_char(&copy->line, '\n');
	(void)fwrite(copy->line.data, 1, copy->line.size, copy->file);
}

static bool
take_entry(void *context, const struct directory_entry *entry)
{
	struct copy *copy = context;
	bool is_suffix = slice_is_nocase(slice_from(entry->dn), copy->suffix);
	struct slice value;

	add_value(copy, slice_from("dn"), slice_from(entry->dn));
	for (size_t i = 0; i < entry->count; i++) {
		struct slice attribute = entry->values[i].attribute;

		if (!is_computed(attribute) &&
		    !slice_is_nocase(attribute, "contextCSN"))
			add_value(copy, attribute, entry->values[i].value);
	}
	for (size_t i = 0; is_suffix && directory_value(copy->before,
					    "contextCSN", i, &value);
	     i++)
		add_value(copy, slice_from("contextCSN"), value);
	(void)fputc('\n', copy->file);
	copy->count++;
	copy->is_cut = entry->count >= DIRECTORY_VALUES_MAX;
	if (copy->is_cut)
		ctl_complain(entry->dn, "has too many values");
	return !copy->is_cut && !ferror(copy->file);
}

static FILE *
open_file(const char *path)
{
	int fd = open(
	    path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (!file)
		ctl_complain(path, strerrordesc_np(errno));
	return file;
}

int
copy_directory(struct directory *directory, const char *suffix,
    const char *path, size_t *count)
{
	struct copy copy = { .suffix = suffix,
		.line = buf_bounded(LINE_SIZE_MAX),
		.file = open_file(path) };
	size_t found;
	int code = copy.file ? EX_OK : EX_CANTCREAT;

	if (code == EX_OK)
		code = directory_exit(
		    directory, directory_find(directory, suffix, true,
				   "(objectClass=*)", &found, &copy.before));
	if (code == EX_OK && !copy.before) {
		ctl_complain(suffix, "that provider does not show it");
		code = EX_UNAVAILABLE;
	}
	if (code == EX_OK)
		code = directory_exit(
		    directory, directory_each(directory, suffix,
				   "(objectClass=*)", take_entry, &copy));
	if (copy.file && (ferror(copy.file) | fclose(copy.file)) != 0 &&
	    code == EX_OK) {
		ctl_complain(path, "cannot be written: is the disk full?");
		code = EX_IOERR;
	}
	if (code == EX_OK && copy.is_cut)
		code = EX_DATAERR;
	directory_entry_free(&copy.before);
	buf_wipe(&copy.line);
	*count = copy.count;
	return code;
}
