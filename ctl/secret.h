/*
 * secret: a password that somebody gives, never as an argument.
 *
 * At a terminal it is asked for twice, without echo; else it is the first line
 * of the standard input.
 */
#ifndef CTL_SECRET_H
#define CTL_SECRET_H

#include "lib/buf.h"

/*
 * Adds it to `out`, which the caller wipes, and which holds at least
 * PASSWORD_SIZE_MAX + 2. EX_OK; or the exit status after a complaint, when it
 * is none (lib/password.h) or the two differ.
 */
int secret_read(struct buf *out, const char *user);

#endif
