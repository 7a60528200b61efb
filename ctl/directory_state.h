/*
 * directory_state: what the files of ctl/directory.h share.
 */
#ifndef CTL_DIRECTORY_STATE_H
#define CTL_DIRECTORY_STATE_H

#include <ldap.h>

#include "ctl/directory.h"

#define DIRECTORY_ANSWER_TIME 5 /* s for an answer */

struct directory {
	const struct config_directory *config; /* borrowed until it is open */
	char *uri;                             /* owned: the one in use */
	LDAP *ldap;                            /* owned */
	struct buf suffix, people;             /* DNs */
	struct buf why; /* of the last failure: server, entry, reason */
};

/*
 * Keeps what is to be said of a failure of `doing` at an entry; text: more
 * about it, NULL for what the server said.
 */
enum directory_result directory_keep_why(struct directory *directory, int code,
    const char *doing, struct slice dn, const char *text);

/* A DN as a string, which libldap wants; the caller frees it. */
char *directory_text(struct slice text);

#endif
