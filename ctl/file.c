#include "ctl/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/ctl.h"

#define PIECE 4096

/* After a complaint about the last call that failed. */
static int
fault(const char *path, int code)
{
	ctl_complain(path, strerrordesc_np(errno));
	return code;
}

int
file_read(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : 1;
	int code = EX_OK;

	while (size > 0) {
		char *room = buf_reserve(out, PIECE);

		errno = EFBIG;
		size = room ? read(fd, room, PIECE) : -1;
		if (size > 0)
			buf_grow(out, (size_t)size);
	}
	if (size < 0)
		code = fault(path, EX_NOINPUT);
	if (fd >= 0)
		(void)close(fd);
	return code;
}

int
file_write(const char *path, mode_t mode, struct slice content)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	bool good = fd >= 0 && fchmod(fd, mode) == 0;

	while (good && content.size > 0) {
		ssize_t size = write(fd, content.data, content.size);

		good = size > 0;
		if (good)
			content = slice_from_offset(content, (size_t)size);
	}
	good = good && fsync(fd) == 0;
	if (good && close(fd) == 0)
		return EX_OK;
	(void)fault(path, 0);
	if (fd >= 0 && !good)
		(void)close(fd);
	return EX_CANTCREAT;
}

int
file_make_folder(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == 0 && chmod(path, mode) == 0)
		return EX_OK;
	return fault(path, EX_CANTCREAT);
}

int
file_make_work(struct buf *path)
{
	*path = buf_bounded(PIECE);
	(void)buf_add_string(path, "/tmp/postcell.XXXXXX");
	if (!path->failed && mkdtemp(path->data))
		return EX_OK;
	buf_clear(path);
	return fault("/tmp", EX_CANTCREAT);
}

bool
file_is_vacant(const char *path)
{
	DIR *folder = opendir(path);
	const struct dirent *entry;
	bool vacant = true;

	if (!folder)
		return errno == ENOENT;
	while (vacant && (entry = readdir(folder)))
		vacant = strcmp(entry->d_name, ".") == 0 ||
			 strcmp(entry->d_name, "..") == 0;
	(void)closedir(folder);
	return vacant;
}

/* Does `act` to each file and folder, these last; -1 when one failed. */
static int
for_each(const char *path, int (*act)(const FTSENT *, const void *),
    const void *context)
{
	union {
		const char *given;
		char *wanted;
	} name = { .given = path };

	char *const paths[] = { name.wanted, NULL };
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	const FTSENT *entry;
	int result = tree ? 0 : -1;

	while (tree && (entry = fts_read(tree))) {
		if (entry->fts_info == FTS_D)
			continue;
		if (act(entry, context) < 0)
			result = -1;
	}
	if (tree)
		(void)fts_close(tree);
	return result;
}

static int
remove_one(const FTSENT *entry, const void *context)
{
	(void)context;
	return remove(entry->fts_accpath);
}

void
file_remove(const char *path)
{
	(void)for_each(path, remove_one, NULL);
}

struct owner {
	uid_t uid;
	gid_t gid;
};

static int
give_one(const FTSENT *entry, const void *context)
{
	const struct owner *owner = context;

	return lchown(entry->fts_accpath, owner->uid, owner->gid);
}

int
file_give(const char *path, uid_t uid, gid_t gid)
{
	struct owner owner = { uid, gid };

	return for_each(path, give_one, &owner) == 0 ? EX_OK
						     : fault(path, EX_NOPERM);
}

int
file_sync_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		(void)close(fd);
	return good ? EX_OK : fault(path, EX_IOERR);
}
