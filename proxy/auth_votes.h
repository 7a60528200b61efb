/*
 * auth_votes: writes what this proxy observes into its own entry.
 *
 * The health process hands over the observer's votes, one datagram each time
 * (SOCK_SEQPACKET):
 *
 *   DN of the proxy's own entry LF (vote LF)*
 *
 * postcellVote of that entry is kept as the latest datagram says, by writing
 * differences alone, and postcellAlive fresh while datagrams keep coming. This
 * may block, bounded by directory.timeout; a server that does not answer is
 * left for the next one. So it has an auth process to itself.
 */
#ifndef PROXY_AUTH_VOTES_H
#define PROXY_AUTH_VOTES_H

#include "lib/buf.h"
#include "proxy/auth.h"

#define AUTH_ALIVE_MS     5000  /* between two postcellAlive */
#define AUTH_HEARD_MS     5000  /* health silent for longer: we say nothing */
#define AUTH_MESSAGE_SIZE 65536 /* octets of a datagram */

/* Runs until the parent closes its end. password: of directory.bind_dn. */
void auth_votes_run(
    const struct auth_settings *settings, const struct buf *password);

#endif
