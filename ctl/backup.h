/*
 * backup: `cell backup` and `cell restore`, of one host of the cell.
 *
 * Without the master key a backup holds keys that nobody can open, and no
 * password of the host; both come from another backup when it is restored,
 * which was made with them and is kept elsewhere.
 */
#ifndef CTL_BACKUP_H
#define CTL_BACKUP_H

#include "ctl/ctl.h"

/* Stands for the host's own password in the configuration of slapd. */
#define BACKUP_MASK "postcell-masked"

int ctl_cell_backup(const struct ctl *ctl, int count, char **words);
int ctl_cell_restore(const struct ctl *ctl, int count, char **words);

#endif
