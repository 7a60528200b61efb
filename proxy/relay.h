/*
 * relay: a process that serves sessions, one for each core.
 *
 * It has no privileges, an empty root and never blocks. All that it needs is
 * opened before the jail: listening sockets, TLS contexts, the replica, the
 * resolver. It talks to nobody but clients, back ends, DNS servers and, over
 * two sockets, the parent (which may retire it) and the health process (which
 * asks who is there).
 */
#ifndef PROXY_RELAY_H
#define PROXY_RELAY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <event2/event.h>
#include <openssl/ssl.h>

#include "daemon/jail.h"
#include "daemon/log.h"
#include "proxy/config.h"
#include "proxy/front.h"
#include "proxy/moves.h"
#include "proxy/pump.h"
#include "proxy/resolve.h"
#include "proxy/route.h"
#include "proxy/stats.h"
#include "proxy/trace.h"
#include "proxy/verdict.h"

#define RELAY_ID_SIZE 28 /* octets of a session's id, its NUL included */

struct arrival;
struct learner;
struct delivery;
struct session;
LIST_HEAD(arrival_list, arrival);
LIST_HEAD(delivery_list, delivery);
TAILQ_HEAD(session_list, session);

/* A listening socket, opened by the parent, inherited by every generation. */
struct listener {
	int fd;
	const struct config_listener *config; /* borrowed */
	union address address;
};

/* Sessions wait in the queue of the time-out that applies to them, oldest
 * first. */
enum session_queue {
	QUEUE_LOGIN,   /* limits.login_time from accept */
	QUEUE_IDLE,    /* limits.idle_time from the last octet */
	QUEUE_STALLED, /* limits.write_stall_time since a side took nothing */
	QUEUE_CLOSING, /* a few seconds for the last words */
	QUEUE_DEAD,    /* freed from the loop, at once */
	QUEUE_COUNT
};

/* What the parent prepares and a relay inherits. */
struct relay_settings {
	const struct config *config;
	struct log log;
	struct jail jail;
	SSL_CTX *front_context; /* NULL: no TLS */
	SSL_CTX *back_context;
	const struct listener *listeners;
	size_t listener_count;
	struct stats *stats;
	struct stats_slot *slot;
	unsigned slot_number;
	struct failures *failures; /* shared by all relays */
	/* Closed by the parent: retire. It sends "auth" and a channel. */
	int parent_fd;
	int health_fd; /* SOCK_SEQPACKET: questions of the health process */
};

struct relay {
	const struct relay_settings *settings;
	const struct config *config;
	struct event_base *base;
	struct log log;
	struct router router;
	struct moves moves;
	struct resolver *resolver;
	struct pump pump;
	struct front_settings front_settings;
	struct offers offers;
	struct learner *learner;
	struct verdicts *verdicts;
	int64_t refusal_ms; /* what back ends take to refuse, smoothed */
	struct event **accept_events; /* one for each listener */
	struct event *tick, *reaper, *stop_event, *parent_event, *health_event;
	struct session_list queues[QUEUE_COUNT];
	struct arrival_list arrivals;
	struct delivery_list deliveries;
	struct trace_list traces;
	uint32_t session_count; /* arrivals and deliveries included */
	uint32_t sequence;      /* of sessions, for their ids */
	uint32_t started_s;     /* since 1970, for their ids */
	uint32_t drawn; /* at random: other proxies started this second too */
	int64_t reported_ms; /* the last time that the observer was told */
	int64_t now_s;       /* monotonic, as of the last tick or event */
	bool accepting;
	bool retiring; /* no new sessions; ends with the last */
	bool failed;
};

/* Runs until it was retired and its last session ended. Returns the exit
 * status. */
int relay_run(const struct relay_settings *settings);

/* For sessions: one of them is gone, or another may be let in. */
void relay_session_ended(struct relay *relay);
/* All that servers can be asked was asked. */
void relay_learned(struct relay *relay);
/* A server does not serve as it should: the observer looks at once. */
void relay_report(struct relay *relay, const char *server);
/* Something happened, or is there no more, at that listener. */
void relay_count(const struct relay *relay, const struct listener *listener,
    enum stats_counter counter, uint64_t number);
void relay_uncount(const struct relay *relay, const struct listener *listener,
    enum stats_counter counter, uint64_t number);
int64_t relay_now_ms(void);
int64_t relay_now_us(void); /* of the same clock */
/* A new session's id, ending in NUL: no other proxy's session has it. */
void relay_session_id(struct relay *relay, char *id, size_t size);

#endif
