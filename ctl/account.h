/*
 * account: accounts are made, shut, unlocked, given passwords, looked at.
 *
 * Everything is read from the directory and written to it; a user is named by
 * uid, address or principal.
 */
#ifndef CTL_ACCOUNT_H
#define CTL_ACCOUNT_H

#include "ctl/ctl.h"
#include "ctl/directory.h"
#include "ctl/person.h"
#include "lib/buf.h"
#include "lib/locked.h"

#define CTL_ACCOUNT_LOCKS_MAX 64

ctl_verb ctl_account_add;     /* UID, with --mail, --name, --pool, --group */
ctl_verb ctl_account_disable; /* USER, with --reason */
ctl_verb ctl_account_enable;  /* USER */
ctl_verb ctl_account_unlock;  /* USER */
ctl_verb ctl_account_passwd;  /* USER */
ctl_verb ctl_account_show;    /* USER; account_show.c */
ctl_verb ctl_account_import;  /* FILE; account_import.c */

/* The entry of that name; EX_OK, or the exit status after a complaint. */
int ctl_account_find(struct directory *directory, const char *user,
    struct directory_entry **entry);
/* Whether the directory's schema has postcellLogin. */
enum directory_result ctl_account_schema(
    struct directory *directory, bool *login);
/*
 * Adds the account and sets its password; where that is refused the entry is
 * taken away again. *why gets what is to be said of a failure.
 */
enum directory_result ctl_account_make(struct directory *directory,
    const struct person *person, bool login, struct buf *why);
/* Its postcellLocked that can be read; at most CTL_ACCOUNT_LOCKS_MAX. */
size_t ctl_account_locks(
    const struct directory_entry *entry, struct locked *locks);

#endif
