/*
 * observer_state: what an observer is made of, for the files that carry it:
 * observer.c (whom to watch, and what becomes of a host), watched.c (one
 * service, probed again and again), observer_votes.c (what the auth process is
 * told).
 */
#ifndef PROXY_OBSERVER_STATE_H
#define PROXY_OBSERVER_STATE_H

#include "lib/vote.h"
#include "proxy/observe.h"
#include "proxy/observer.h"
#include "proxy/watched.h"

/* One address family of a proxy or other host: each service by it alone. */
struct family {
	struct watched services[SERVICE_KIND_COUNT];
	enum opinion opinion; /* COUNT: the target has none of it */
};

struct target {
	enum host_kind kind;
	struct buf name;                /* owned */
	struct credentials credentials; /* owned; of the probe's account */
	struct watched services[SERVICE_KIND_COUNT];
	struct observed observed; /* as a whole */
	struct family families[VOTE_FAMILY_COUNT];
	bool is_in_map;
	struct observer *observer;
	struct target *next;
};

struct observer {
	struct event_base *base; /* borrowed */
	const struct config *config;
	SSL_CTX *context;      /* borrowed */
	const struct log *log; /* borrowed */
	struct replica *replica;
	struct resolver *resolver;
	struct cell *cell; /* owned; NULL until there is one */
	uint64_t generation;
	struct buf password;
	struct observe_settings settings;
	struct target *targets;     /* owned */
	struct event *tick, *speak; /* owned */
	int auth_fd;                /* owned; -1: none yet */
	int64_t started_ms, spoke_ms;
	bool settled;  /* knows enough to have a say */
	bool told_why; /* that it has no entry */
};

/* Tells the auth process what is held of everybody, now or in that time; an
 * earlier appointment stands. */
void observer_speak(struct observer *observer);
void observer_speak_soon(struct observer *observer, int64_t after_ms);
/* evtimer's: observer_speak. */
void observer_on_speak(evutil_socket_t fd, short what, void *context);

/* A service of the target was probed: what is held of it as a whole? */
void observer_sum_up(struct target *target);

#endif
