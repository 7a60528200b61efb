/*
 * dovecot: what `doveconf -n` prints, as a list of settings.
 *
 * Pure. A setting stands in a path of blocks, outermost first:
 * "service imap-login/inet_listener imap", "passdb", or "" at the top. Blocks
 * of one path (several passdb) are told apart by their number.
 */
#ifndef CTL_DOVECOT_H
#define CTL_DOVECOT_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/slice.h"

struct dovecot_setting {
	char *path; /* owned */
	unsigned block;
	struct slice key, value; /* borrowed from the text */
};

struct dovecot {
	struct dovecot_setting *settings; /* owned */
	size_t count;
	struct slice host; /* of the comment "# Hostname:"; may be empty */
};

/*
 * 0; or -1 with the number of the line and *why (static text). `text` outlives
 * the result; dovecot_free() in both cases.
 */
int dovecot_read(
    struct dovecot *dovecot, struct slice text, size_t *line, const char **why);
void dovecot_free(struct dovecot *dovecot);

/* The value at a path; empty when it is not there. The last one counts. */
struct slice dovecot_value(
    const struct dovecot *dovecot, const char *path, const char *key);

#endif
