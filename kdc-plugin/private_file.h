/*
 * private_file: small files that one user's programs share, and nobody else
 * writes.
 *
 * For code that any program may load, setuid ones included: the folder must be
 * the effective user's and writable to nobody else, links are not followed,
 * what is no plain file of that user is not read, and a program that runs with
 * more rights than who started it gets nothing at all.
 */
#ifndef KDC_PLUGIN_PRIVATE_FILE_H
#define KDC_PLUGIN_PRIVATE_FILE_H

#include "lib/buf.h"

/* folder: absolute; "%u" in it stands for the effective user's number. */

/* Adds the file's content, as far as it fits. 0, or -1. */
int private_file_read(const char *folder, const char *name, struct buf *text);
/* Puts the text in its place, in one step. 0, or -1. */
int private_file_write(const char *folder, const char *name, struct slice text);

#endif
