/*
 * moves: sessions follow their accounts.
 *
 * Whoever sends an account to a server owes that it leaves that server in time
 * (lib/placement.h, Promise). So a session that was routed is asked about
 * again when its account changes, when the map of the cell changes, and at
 * the moment from which the answer may be another by itself. A session that
 * may not stay is told so by session_moved().
 */
#ifndef PROXY_MOVES_H
#define PROXY_MOVES_H

#include <stdint.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "lib/account.h"

struct relay;
struct session;

#define MOVES_BUCKETS 4096

LIST_HEAD(follower_list, follower);

/* What moves keeps of a session; part of it. */
struct follower {
	LIST_ENTRY(follower) link;
	struct session *session; /* NULL: it does not follow anybody */
	struct relay *relay;
	char id[ACCOUNT_ID_SIZE];
	struct event *next; /* owned: when to ask by itself; NULL for never */
};

struct moves {
	struct follower_list *buckets; /* owned: MOVES_BUCKETS, by account */
	struct event *poll;            /* owned */
	uint64_t journal; /* what was seen of the replica's journal */
	uint64_t digest;  /* of the map that all were asked with */
};

void moves_open(struct relay *relay);
void moves_close(struct relay *relay);

/*
 * The session was just routed by this account. It is asked about again from
 * now on, with another account or server each time this is called.
 */
void moves_follow(struct relay *relay, struct follower *follower,
    struct session *session, const struct account *account);
/* It is with no server any more. Also takes a follower of zeros. */
void moves_forget(struct follower *follower);

#endif
