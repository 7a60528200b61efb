/*
 * file: whole files and folders, read and written.
 *
 * All return EX_OK, or an exit status after a complaint that names the file.
 */
#ifndef CTL_FILE_H
#define CTL_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/slice.h"

#define FILE_SIZE_MAX ((size_t)64 * 1024 * 1024)

/* Adds what is in it. */
int file_read(const char *path, struct buf *out);
/* Makes it, with that mode and on the disk; it must not be there. */
int file_write(const char *path, mode_t mode, struct slice content);
/* Makes a folder; it must not be there. */
int file_make_folder(const char *path, mode_t mode);
/* Makes a new folder in /tmp, with a short name: sockets lie in it. */
int file_make_work(struct buf *path);
/* True when nothing is there, or a folder with nothing in it. */
bool file_is_vacant(const char *path);
/* A file, or a folder with all in it. What cannot be removed stays. */
void file_remove(const char *path);
/* Gives a file, or a folder and all in it, to a user. */
int file_give(const char *path, uid_t uid, gid_t gid);
/* Sees to it that what a folder holds is on the disk. */
int file_sync_folder(const char *path);

#endif
