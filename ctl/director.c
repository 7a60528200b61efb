#include "ctl/director.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/import.h"
#include "ctl/output.h"

#define INPUT_MAX  ((size_t)4 * 1024 * 1024)
#define OUTPUT_MAX ((size_t)16 * 1024 * 1024)
#define CHUNK      65536

static int
read_all(const char *path, struct buf *text)
{
	bool standard = strcmp(path, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : 1;

	while (size > 0) {
		char *room = buf_reserve(text, CHUNK);

		if (!room) {
			errno = EFBIG;
			size = -1;
			break;
		}
		size = read(fd, room, CHUNK);
		if (size > 0)
			buf_grow(text, (size_t)size);
	}
	if (size < 0)
		ctl_complain(path, strerrordesc_np(errno));
	if (fd >= 0 && !standard)
		(void)close(fd);
	return size < 0 ? EX_NOINPUT : EX_OK;
}

/* Never over a file that is there. */
static int
write_new(const char *path, struct slice text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	ssize_t size = fd < 0 ? -1 : write(fd, text.data, text.size);

	if (fd >= 0 && close(fd) < 0)
		size = -1;
	if (size == (ssize_t)text.size)
		return EX_OK;
	ctl_complain(path, strerrordesc_np(errno));
	return EX_CANTCREAT;
}

static json_t *
lines_of(struct slice text)
{
	json_t *lines = json_array();
	struct slice line;

	while (slice_next_word(&text, '\n', &line))
		json_array_append_new(lines, output_text(line));
	return lines;
}

static void
complain_lines(const char *about, struct slice text)
{
	struct slice line;

	while (slice_next_word(&text, '\n', &line))
		(void)fprintf(stderr, "%s: %.*s\n", about, SLICE_ARGS(line));
}

static int
write_out(const struct ctl *ctl, const char *file, const struct import *import,
    const struct buf *ldif, const struct buf *proxyd)
{
	int code = EX_OK;

	if (ctl->options.proxyd)
		code = write_new(ctl->options.proxyd, buf_slice(proxyd));
	if (code != EX_OK)
		return code;
	if (ctl->json)
		return output_json(json_pack("{s:o, s:o, s:o}", "ldif",
		    output_text(buf_slice(ldif)), "proxyd",
		    output_text(buf_slice(proxyd)), "notes",
		    lines_of(buf_slice(&import->notes))));
	complain_lines(file, buf_slice(&import->notes));
	(void)fputs(buf_string(ldif), stdout);
	return EX_OK;
}

static int
convert(const struct ctl *ctl, const char *file, struct slice text,
    struct slice suffix)
{
	struct buf errors = buf_bounded(INPUT_MAX);
	struct buf ldif = buf_bounded(OUTPUT_MAX);
	struct buf proxyd = buf_bounded(OUTPUT_MAX);
	struct import import;
	int code = EX_OK;

	if (import_read(&import, text, &errors) < 0) {
		complain_lines(file, buf_slice(&errors));
		code = EX_DATAERR;
	} else {
		import_ldif(&import, suffix, &ldif);
		import_proxyd(&import, &proxyd);
		code = write_out(ctl, file, &import, &ldif, &proxyd);
	}
	import_free(&import);
	buf_free(&errors);
	buf_free(&ldif);
	buf_free(&proxyd);
	return code;
}

int
director_import(const struct ctl *ctl, int count, char **words)
{
	struct buf text = buf_bounded(INPUT_MAX);
	struct slice suffix = slice_from(
	    ctl->options.suffix ? ctl->options.suffix : ctl->directory->suffix);
	int code;

	(void)count;
	if (suffix.size == 0 || !slice_is_printable(suffix)) {
		ctl_complain("import-director",
		    "--suffix DN is missing (or directory { suffix } in the configuration)");
		return EX_USAGE;
	}
	code = read_all(words[0], &text);
	if (code == EX_OK)
		code = convert(ctl, words[0], buf_slice(&text), suffix);
	buf_free(&text);
	return code;
}
