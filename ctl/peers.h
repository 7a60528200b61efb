/*
 * peers: the providers of the cell, and how one follows the others.
 *
 * Each has an identity below ou=sync,ou=daemons whose description is
 * `NUMBER URI`: its server ID, which is also the number that others know it by
 * in their syncrepl (rid), and where it is reached. A provider binds at all
 * others as itself, so that a new one needs no secret of theirs.
 */
#ifndef CTL_PEERS_H
#define CTL_PEERS_H

#include <jansson.h>

#include "ctl/directory.h"
#include "lib/buf.h"

#define PEERS_MAX        64
#define PEERS_NUMBER_MAX 999 /* of a rid */

struct peer {
	unsigned number;
	char *name, *uri; /* owned */
};

struct peers {
	struct peer list[PEERS_MAX];
	size_t count;
};

/* EX_OK, or an exit status after a complaint; peers_free() in any case. */
int peers_read(
    struct peers *peers, struct directory *directory, const char *suffix);
void peers_free(struct peers *peers);
/* An array of {number, uri}, both text; a new object. */
json_t *peers_json(const struct peers *peers);

/* Adds what slapd.conf says to follow a provider, by the facts of a host. */
int peers_stanza(
    const json_t *given, const char *number, const char *uri, struct buf *out);

/*
 * Has the slapd of this host follow all others that it does not follow yet;
 * *added counts them. The facts hold sync_password. As above.
 */
int peers_follow(struct directory *directory, const json_t *facts,
    const struct peers *peers, size_t *added);

#endif
