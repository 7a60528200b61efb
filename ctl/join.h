/*
 * join: `cell join`, by which further providers and KDCs come into a cell.
 *
 * A host of the cell makes a bundle (prepare.c): what the new one is called,
 * its own identities and certificate, and the master key. From it the new host
 * makes its configuration (join.c), with the directory as a provider has it at
 * that moment.
 */
#ifndef CTL_JOIN_H
#define CTL_JOIN_H

#include <jansson.h>

#include "ctl/ctl.h"

/* `bundle` of cell.json's kind of version. */
#define JOIN_FORMAT "postcell bundle 1"

/* Files of a bundle, by their names below the folder of configuration. */
#define JOIN_FILES 4
extern const char *const join_files[JOIN_FILES];
bool join_needs(const json_t *facts, const char *file);

/* With --prepare, with --peers, or with a bundle. */
int ctl_cell_join(const struct ctl *ctl, int count, char **words);

/* The first two: on a host that is in the cell. */
int prepare_host(const struct ctl *ctl, const char *bundle);
int prepare_peers(const struct ctl *ctl);

#endif
