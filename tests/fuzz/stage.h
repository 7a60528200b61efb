/*
 * stage: a relay in this process, for targets that play whole sessions.
 *
 * The relay's own code runs on a loop of its own; clients and servers are the
 * other ends of socket pairs, played by the target through struct stage_peer.
 * Nothing waits: octets move when the target calls stage_turn(), and time, of
 * all clocks, passes when it calls stage_advance(). The cell has STAGE_SERVERS
 * servers, s0 to s2, and accounts u0 to u5, each pinned to one of them; u6 is
 * disabled, u7 may not log in, u8's mail goes to u0.
 */
#ifndef TESTS_FUZZ_STAGE_H
#define TESTS_FUZZ_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "proxy/relay.h"

#define STAGE_SERVERS   3
#define STAGE_PEERS_MAX 16 /* connections to servers in one play */

/* The other end of one connection of the relay. */
struct stage_peer {
	int fd;            /* owned; -1: closed */
	unsigned server;   /* which one it plays */
	SSL *ssl;          /* owned; NULL: plain */
	bool secured;      /* it began TLS, whatever became of it */
	bool paused;       /* it reads nothing */
	bool ended;        /* the relay has closed or finished it */
	bool ending;       /* it says no more once all is said */
	struct buf unsent; /* owned, what the relay has not taken yet */
	struct buf said;   /* owned, all that it said since TLS or the start */
	struct buf heard;  /* owned, and all that it was told */
	void *context;     /* the target's own; borrowed */
};

struct stage {
	struct relay relay;
	struct relay_settings settings;
	struct config *config; /* the process's own: a play may set numbers */
	struct config_listener listener_config;
	struct listener listener;
	struct stage_peer client;
	struct stage_peer servers[STAGE_PEERS_MAX]; /* in order of connecting */
	size_t server_count;
	unsigned refused; /* a bit for each server that refuses connections */
	unsigned secured; /* and for each that begins with TLS */
	size_t room; /* octets that a socket holds; 0: as the system has it */
	struct event *guard; /* owned: ends a turn of the loop */
	int64_t ahead_ms;    /* time that has passed by stage_advance() */
};

/* A stage of its own for each play; the caller sets numbers of its config. */
void stage_open(struct stage *stage, enum service_kind service);
/* The client connects; listener_config is ready. */
void stage_connect(struct stage *stage);
/* Lets octets move until nobody has anything to do any more. */
void stage_turn(struct stage *stage);
void stage_advance(struct stage *stage, int64_t time_ms);
/* Everybody goes: nothing of the relay may be left. */
void stage_close(struct stage *stage);

void stage_say(struct stage_peer *peer, struct slice octets);
/* It begins TLS, as a client or server; what it said and heard begins anew. */
void stage_begin_tls(struct stage_peer *peer, bool as_client);
bool stage_is_secured(const struct stage_peer *peer);
/* It closes its end at once. */
void stage_hang_up(struct stage_peer *peer);
/* The id of account uN. */
struct slice stage_account(unsigned number);

/* ---- stage_world.c: what all plays of a process share ---- */

struct stage_world {
	struct config *config;
	struct tls_front *front;  /* TLS towards clients */
	SSL_CTX *back;            /* towards servers */
	SSL_CTX *server, *client; /* of peers */
	struct router router;
	struct stats *stats;
};

struct stage_world *stage_world(void);

/* ---- stage_peer.c ---- */

void stage_peer_open(struct stage_peer *peer, int fd);
void stage_peer_close(struct stage_peer *peer);
/* Moves what can be moved; true when something was. */
bool stage_peer_turn(struct stage_peer *peer);

/* ---- stage_clock.c ---- */

/* All clocks of the process are so far ahead. Back at 0 between two plays. */
void stage_clock_set(int64_t ahead_ms);

#endif
