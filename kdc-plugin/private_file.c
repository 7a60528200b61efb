#include "kdc-plugin/private_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRIVATE_FILE_FORBIDDEN (S_IWGRP | S_IWOTH)

static int
private_file_expand(const char *folder, struct buf *path)
{
	const char *mark = strstr(folder, "%u");

	if (!mark)
		return buf_add_string(path, folder);
	(void)buf_add(path, folder, (size_t)(mark - folder));
	(void)buf_add_number(path, geteuid());
	return buf_add_string(path, mark + 2);
}

/* Whether it is of that type, and ours alone to write. */
static bool
private_file_is_ours(int fd, mode_t type, struct stat *status)
{
	return fstat(fd, status) == 0 && (status->st_mode & S_IFMT) == type &&
	       status->st_uid == geteuid() &&
	       (status->st_mode & PRIVATE_FILE_FORBIDDEN) == 0;
}

/* A descriptor, or -1. */
static int
private_file_folder(const char *folder)
{
	struct buf path = buf_bounded(PATH_MAX);
	struct stat status;
	int fd = -1;

	if (folder[0] == '/' && getauxval(AT_SECURE) == 0 &&
	    getuid() == geteuid() && private_file_expand(folder, &path) == 0)
		fd = open(buf_string(&path),
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	buf_free(&path);
	if (fd >= 0 && !private_file_is_ours(fd, S_IFDIR, &status)) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

int
private_file_read(const char *folder, const char *name, struct buf *text)
{
	int at = private_file_folder(folder), fd = -1;
	size_t room = text->size_max - text->size;
	char *data = buf_reserve(text, room);
	struct stat status;
	ssize_t size = -1;

	/* Not to be held up by a pipe. */
	if (at >= 0)
		fd = openat(
		    at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && data && private_file_is_ours(fd, S_IFREG, &status) &&
	    status.st_nlink == 1)
		size = read(fd, data, room);
	if (data)
		buf_grow(text, size > 0 ? (size_t)size : 0);
	if (fd >= 0)
		(void)close(fd);
	if (at >= 0)
		(void)close(at);
	return size < 0 ? -1 : 0;
}

/* 0, or -1 with nothing left behind. */
static int
private_file_make(
    int at, const char *draft, const char *name, struct slice text)
{
	int fd = openat(at, draft,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool good;

	/* One that a program left that had our number and was killed. */
	if (fd < 0 && errno == EEXIST) {
		(void)unlinkat(at, draft, 0);
		return -1;
	}
	if (fd < 0)
		return -1;
	good = write(fd, text.data, text.size) == (ssize_t)text.size;
	if (close(fd) == 0 && good && renameat(at, draft, at, name) == 0)
		return 0;
	(void)unlinkat(at, draft, 0);
	return -1;
}

int
private_file_write(const char *folder, const char *name, struct slice text)
{
	int at = private_file_folder(folder), result = -1;
	char draft[NAME_MAX + 1];

	if (at < 0)
		return -1;
	(void)snprintf(draft, sizeof(draft), ".%s.%d", name, (int)gettid());
	result = private_file_make(at, draft, name, text);
	(void)close(at);
	return result;
}
