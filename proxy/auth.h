/*
 * auth: the process that may block, and holds what the directory knows us by.
 *
 * It runs as a user of its own, outside the chroot, and talks to nobody but
 * the directory's servers, through libldap, and over SOCK_SEQPACKET to the
 * health process, which hands it the observer's votes: one datagram each time,
 *
 *   DN of the proxy's own entry LF (vote LF)*
 *
 * It keeps postcellVote of that entry as the latest datagram says, writing
 * differences alone, and postcellAlive fresh while datagrams keep coming. All
 * that blocks is bounded by directory.timeout; a server that does not answer
 * is left for the next one.
 */
#ifndef PROXY_AUTH_H
#define PROXY_AUTH_H

#include "daemon/jail.h"
#include "daemon/log.h"
#include "proxy/config.h"

#define AUTH_ALIVE_MS     5000  /* between two postcellAlive */
#define AUTH_HEARD_MS     5000  /* health silent for longer: we say nothing */
#define AUTH_MESSAGE_SIZE 65536 /* octets of a datagram */

struct auth_settings {
	const struct config *config;
	struct log log;
	struct jail jail; /* its own user, no chroot */
	int parent_fd;    /* closed by the parent: end */
	int health_fd;    /* SOCK_SEQPACKET: the observer's votes */
};

/* Runs until the parent closes its end. Returns the exit status. */
int auth_run(const struct auth_settings *settings);

/*
 * Reads the first line of a file with a password; 0, or -1 (errno). The buffer
 * is the caller's, bounded by the size that a password may have.
 */
int auth_read_password(const char *path, struct buf *password);

#endif
