/*
 * session_state: what a session is made of, for the files that carry it along:
 * session.c (life and table of states), session_front.c (the client speaks),
 * session_auth.c (is it who it says?), session_failure.c (it is not),
 * session_back.c (its account is routed and the back end speaks),
 * session_relay.c (nobody is listened to any more).
 */
#ifndef PROXY_SESSION_STATE_H
#define PROXY_SESSION_STATE_H

#include <event2/event_struct.h>

#include "proxy/admission.h"
#include "proxy/back.h"
#include "proxy/front.h"
#include "proxy/relay.h"
#include "proxy/session.h"

#define SESSION_READ_CHUNK                                                     \
	4095 /* octets read at once before login; with its NUL a page */
#define SESSION_BACK_LINE_SIZE                                                 \
	8192 /* octets of one line of a back end before login */

enum session_state {
	SESSION_FRONT_TLS, /* handshake with the client */
	SESSION_FRONT,     /* the client speaks */
	SESSION_VERIFY,    /* an auth process is asked */
	SESSION_PENALTY,   /* a failed login, not answered yet */
	SESSION_ROUTE,     /* its account moves: wait for the guard */
	SESSION_RESOLVE,   /* the back end's name */
	SESSION_CONNECT,   /* to one address after the other */
	SESSION_GREETING,  /* the same, where the server speaks first */
	SESSION_BACK_TLS,  /* handshake with the back end */
	SESSION_BACK,      /* the back end speaks */
	SESSION_RELAY,     /* nobody is listened to */
	SESSION_CLOSE,     /* the client may read our last words */
	SESSION_DEAD,      /* waits to be freed */
	SESSION_STATE_COUNT
};

/* All that is needed until login and not afterwards. */
struct login {
	struct buf front_in, front_out; /* owned; may hold secrets */
	struct buf back_in, back_out;
	struct front front;
	struct back back;
	struct back_client client;
	union address local; /* where the client connected to */
	char client_address[INET6_ADDRSTRLEN], local_address[INET6_ADDRSTRLEN];
	struct buf account_store; /* owned: what the account borrows from */
	struct account account;
	struct route route;
	/* owned while VERIFY, and while an exchange of GSSAPI goes on, with the
	 * client or the back end */
	struct verdict_query *verdict;
	/* owned: what an auth process keeps of the client's, to log in at the
	 * back end as the user */
	struct verdict_query *kept;
	/* owned, what the back end is told once a login was verified; NULL:
	 * what the client said */
	struct credentials *granted;
	bool accepting; /* VERIFY: who it is, by GSSAPI; what may come later */
	bool verified;  /* by us: failures to come are not the user's */
	enum refusal_kind refused;   /* PENALTY: what the client will be told */
	struct buf refused_text;     /* owned */
	unsigned attempts;           /* that failed */
	uint64_t guessed_key;        /* counted before it is tried; 0: none */
	int64_t guessed_since_s;     /* failures.h */
	struct resolve_query *query; /* owned while RESOLVE */
	struct address_list addresses;
	size_t address_next;
	struct event timer;      /* guard, one connection attempt, penalty */
	const char *connect_why; /* static: the last attempt's failure */
	unsigned mechanisms;     /* that this client's network may use */
	int64_t connect_ms;      /* when that attempt began */
	int64_t phase_us;        /* when its phase began (stats.h) */
	int64_t asked_ms;        /* when the credentials were complete */
	unsigned retries;        /* of this login, after its server failed */
	size_t memory;           /* octets that it was last counted with */
	bool challenged; /* server and client talk: it cannot be done again */
	bool resumed;    /* front_in was not looked at since a refusal */
};

struct session {
	TAILQ_ENTRY(session) link; /* in relay->queues[queue] */
	struct relay *relay;       /* borrowed */
	const struct listener *listener;
	struct login *login; /* owned; NULL once logged in */
	char *user, *server; /* owned; NULL until logged in */
	const char *why;     /* static: why it ended */
	struct stream front, back;
	struct event front_event, back_event;
	struct follower follower; /* while it is with a server, or on its way */
	struct flow to_back, to_front;
	union address client;
	struct admission held;
	int64_t accepted_ms;
	int64_t queued_s;
	char id[RELAY_ID_SIZE];
	enum session_state state;
	enum session_queue queue;
	short front_events, back_events; /* what libevent waits for */
	unsigned login_ms;
	unsigned drained;
	bool front_early; /* the client spoke while nobody listened */
};

/* Goes to a state; every change of state is made and traced here. */
void session_enter(struct session *session, enum session_state state);
/* Which time-out applies from now on (relay.h). */
void session_enter_queue(struct session *session, enum session_queue queue);
/* A phase of its login is over, and the next one begins. */
void session_end_phase(struct session *session, enum stats_phase phase);
/* Has libevent wait for what the state and the unsent output call for. */
void session_arm(struct session *session);
/* The only way out; what is left is freed from the loop. `why`: static text. */
void session_end(struct session *session, const char *why);
/* Says what is in front_out, gives the client time to read it, and ends. */
void session_close(struct session *session, const char *why);
/* Sends what waits for the client before login. False when the session ended.
 */
bool session_flush_front(struct session *session);
/* Closes the back end's connection, if there is one. */
void session_drop_back(struct session *session);
/* All of the login, if it has one. */
void session_login_free(struct session *session);

#endif
