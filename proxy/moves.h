/*
 * moves: sessions and deliveries follow their accounts.
 *
 * Whoever sends an account to a server owes that it leaves that server in time
 * (lib/placement.h, Promise). So whoever was routed is asked about again when
 * the account changes, when the map of the cell changes, and at the moment
 * from which the answer may be another by itself; and is told when it may not
 * stay.
 *
 * One who should have left longer ago than the guard may have been with two
 * servers at once: event=late_move says so, at most once a second.
 */
#ifndef PROXY_MOVES_H
#define PROXY_MOVES_H

#include <stdint.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <jansson.h>

#include "lib/account.h"

struct relay;

#define MOVES_BUCKETS 4096

LIST_HEAD(follower_list, follower);

/* The account may not stay with that server; why is static text. */
typedef void follower_moved(void *context, const char *why);

/* What moves keeps of one who follows; part of it. */
struct follower {
	LIST_ENTRY(follower) link;
	struct relay *relay; /* NULL: it does not follow anybody */
	follower_moved *moved;
	void *context;
	const char *server; /* borrowed: name of the server that it is with */
	bool logged_in;     /* an account that may not log in must leave */
	char id[ACCOUNT_ID_SIZE];
	struct event *next; /* owned: when to ask by itself; NULL for never */
};

struct moves {
	struct follower_list *buckets; /* owned: MOVES_BUCKETS, by account */
	struct event *poll;            /* owned */
	uint64_t journal; /* what was seen of the replica's journal */
	uint64_t digest;  /* of the map that all were asked with */
	int64_t late_ms;  /* when it was last said that a move came late */
};

void moves_open(struct relay *relay);
void moves_close(struct relay *relay);

/*
 * Follows this account, which was just routed to `server`. Fill in moved,
 * context, server and logged_in; called again for another account or server.
 */
void moves_follow(struct relay *relay, struct follower *follower,
    const struct account *account);
/*
 * Has all leave that follow this account (by its id, ACCOUNT_ID_SIZE octets)
 * or, with an empty id, are with this server; `why` is static text. Who they
 * were, an object each; the caller owns the list.
 */
json_t *moves_end(
    struct relay *relay, struct slice id, struct slice server, const char *why);
/* It is with no server any more. Also takes a follower of zeros. */
void moves_forget(struct follower *follower);

#endif
