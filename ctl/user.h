/*
 * user: one account is moved, unpinned, kicked.
 *
 * Every change of pin or pool is written with a postcellMoved that says what
 * was before (lib/change.h), in one modify, from what the directory says.
 */
#ifndef CTL_USER_H
#define CTL_USER_H

#include "ctl/ctl.h"
#include "lib/buf.h"

ctl_verb user_move;  /* USER [SERVER], with --pool */
ctl_verb user_unpin; /* USER */
ctl_verb user_kick;  /* USER: ends the proxy's sessions of the user */
ctl_verb user_who;   /* USER, by any name of the account */

/* Adds an account's id in hexadecimal, as the proxy is asked about it. EX_OK,
 * or the exit status after a complaint. */
int user_add_id(const struct ctl *ctl, const char *user, struct buf *out);

#endif
