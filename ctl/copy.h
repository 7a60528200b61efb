/*
 * copy: all entries of a provider as LDIF, in the form that slapadd takes.
 *
 * contextCSN is read before the entries, so that what changes meanwhile comes
 * again by replication instead of being taken for known.
 */
#ifndef CTL_COPY_H
#define CTL_COPY_H

#include "ctl/directory.h"

/*
 * Writes them to a new file that its owner alone can read; *count of them.
 * EX_OK, or an exit status after a complaint.
 */
int copy_directory(struct directory *directory, const char *suffix,
    const char *path, size_t *count);

#endif
