/*
 * manifest: what a backup consists of, with the sum of each file.
 *
 * A folder with a file manifest.json:
 *
 *   format      "postcell backup 1"
 *   time realm suffix name      when, and of which host
 *   etc state run slapd_run log local_uri where that host had its things
 *   contextCSN  up to where in the directory's history, an array
 *   secrets     whether the master key and the host's passwords are in it
 *   files       an array of {name, size, mode, sha256}
 */
#ifndef CTL_MANIFEST_H
#define CTL_MANIFEST_H

#include <stdbool.h>

#include <jansson.h>

#include "lib/buf.h"

#define MANIFEST_FILE      "manifest.json"
#define MANIFEST_DIRECTORY "directory.ldif"
#define MANIFEST_CONFIG    "config.ldif"
#define MANIFEST_ETC       "etc/" /* before names of configuration files */

/* A new one without files. */
json_t *manifest_new(void);

/*
 * Adds a file of the folder, with its mode where it came from. EX_OK, or an
 * exit status after a complaint.
 */
int manifest_add(
    json_t *manifest, const char *folder, const char *name, unsigned mode);

/* Writes it into the folder. As above. */
int manifest_write(const json_t *manifest, const char *folder);

/*
 * Reads that of a folder, and verifies each file. EX_OK; or after a complaint
 * EX_NOINPUT when there is none, EX_DATAERR when something is wrong, and *out
 * NULL. `says`: with progress, on the standard error.
 */
int manifest_read(json_t **out, const char *folder, bool says);

#endif
