/*
 * trace: octets of one user's sessions, for an administrator who asked.
 *
 * A relay cannot write files: each trace is a channel (SOCK_SEQPACKET) to
 * postcellctl, which can. A datagram has one line and then octets:
 *
 *   C SESSION       the client said
 *   S SESSION       the server said
 *   L SESSION       so many pieces were lost, in decimal: nobody waits for
 *                   whoever reads too slowly
 *
 * Only what is passed on after a login is told, so no credentials of a login
 * are in it. A trace ends by its time, or when nobody reads any more.
 */
#ifndef PROXY_TRACE_H
#define PROXY_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "lib/account.h"

#define TRACE_PIECE_MAX 32768 /* octets of one datagram */
#define TRACES_MAX      16    /* at one time */

struct relay;
struct trace;
LIST_HEAD(trace_list, trace);

/* Takes the channel. The account's sessions that are there are traced too. */
void trace_begin(struct relay *relay, int fd, struct slice id, int64_t seconds);
/* Is anything of that account to be told? */
bool trace_wants(const struct relay *relay, const char id[ACCOUNT_ID_SIZE]);
/* who: 'C' or 'S'. */
void trace_tell(struct relay *relay, const char id[ACCOUNT_ID_SIZE], char who,
    const char *session, struct slice octets);
/* Once a second: ends those whose time is over. */
void trace_tick(struct relay *relay);
void trace_end_all(struct relay *relay);

#endif
