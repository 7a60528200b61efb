/*
 * stats: what all processes of a proxy count, in memory that they share.
 *
 * Each relay owns one slot and is its only writer; anybody may read. All is
 * counted by the service of the listener that it happened at. Slots live in a
 * memfd that the parent hands from one generation to the next, so
 * counters go on over a reload.
 */
#ifndef PROXY_STATS_H
#define PROXY_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/service.h"
#include "proxy/failures.h"
#include "proxy/limits.h"

#define STATS_SLOTS    1024 /* relays of all generations that still live */
#define STATS_SERVICES (SERVICE_SMTP + 1) /* those that clients speak */

enum stats_counter {
	STATS_ACCEPTED,    /* connections */
	STATS_SESSIONS,    /* now, logged in or not; of hubs too */
	STATS_LOGGED_IN,   /* now */
	STATS_LOGINS,      /* ended well */
	STATS_REFUSED,     /* by the back end */
	STATS_UNKNOWN,     /* users */
	STATS_FAILED,      /* wrong credentials, unknown users included */
	STATS_BLOCKED,     /* of them: not even tried, after too many */
	STATS_VERIFIED,    /* by this proxy */
	STATS_UNAVAILABLE, /* temporary errors said to clients */
	STATS_MOVED,      /* sessions ended, or logins routed anew, by a move */
	STATS_RETRIED,    /* logins tried again after their server failed */
	STATS_TLS_FAILED, /* handshakes with clients */
	STATS_HEADER_REFUSED,  /* of the PROXY protocol */
	STATS_LIMITED_ADDRESS, /* connections: too many of the address */
	STATS_LIMITED_WAITING, /* of them not logged in */
	STATS_LIMITED_MEMORY,  /* too much memory before logins */
	STATS_LIMITED_USER,    /* logins: the user has too many sessions */
	STATS_UNCOUNTED,       /* for want of room in limits.h's tables */
	STATS_LOGIN_MEMORY,    /* now, octets of sessions before login */
	STATS_BYTES_IN,        /* from clients, after login */
	STATS_BYTES_OUT,       /* to clients, after login */
	STATS_MESSAGES,        /* of hubs that were answered */
	STATS_COUNTER_COUNT
};

/* From one station of a session to the next. */
enum stats_phase {
	STATS_PHASE_TLS,          /* the handshake with the client */
	STATS_PHASE_AUTHENTICATE, /* from there, or from accept, until the
				     credentials are complete */
	STATS_PHASE_CONNECT,      /* until the back end is connected; the
				     user was verified where we do that */
	STATS_PHASE_LOGIN,        /* until it has let the user in */
	STATS_PHASE_COUNT
};

#define STATS_BUCKETS 13 /* the last has no bound */

struct stats_histogram {
	_Atomic uint64_t buckets[STATS_BUCKETS]; /* each by itself */
	_Atomic uint64_t sum_us;
};

struct stats_slot {
	_Atomic int32_t pid; /* of the relay; 0: free */
	_Atomic uint32_t generation;
	_Atomic bool serving; /* it accepts clients */
	_Atomic uint64_t counters[STATS_SERVICES][STATS_COUNTER_COUNT];
	struct stats_histogram phases[STATS_PHASE_COUNT];
};

/* The tables begin on cache lines of their own. */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
struct stats {
	_Atomic uint64_t
	    retired[STATS_SERVICES]
		   [STATS_COUNTER_COUNT]; /* of relays that ended */
	struct stats_histogram retired_phases[STATS_PHASE_COUNT];
	struct stats_slot slots[STATS_SLOTS];
	struct limits limits;     /* a table for each slot */
	struct failures failures; /* any relay may write */
};

/* A new memfd of zeros; -1 on failure. */
int stats_create(void);
/* Maps it; NULL on failure. */
struct stats *stats_map(int fd);
/* Whether it was made by a program that counts the same things. */
bool stats_fits(int fd);

/* Takes a free slot for a relay; NULL when there is none. By the parent. */
struct stats_slot *stats_take(struct stats *stats, uint32_t generation);
/* Keeps the totals of a relay that ended and frees its slot. By the parent. */
void stats_release(struct stats *stats, struct stats_slot *slot);

/* To be less is to add what wraps round. */
void stats_add(struct stats_slot *slot, enum service_kind service,
    enum stats_counter counter, uint64_t number);
/* One session took so long for a phase. */
void stats_observe(
    struct stats_slot *slot, enum stats_phase phase, int64_t time_us);
/* Over all relays, ended ones included. */
struct stats_histogram stats_phase_total(
    const struct stats *stats, enum stats_phase phase);
/* Upper bound of a bucket but the last, in microseconds. */
int64_t stats_bucket_us(unsigned bucket);

/* Over all relays, ended ones included. */
uint64_t stats_total_of(const struct stats *stats, enum service_kind service,
    enum stats_counter counter);
/* And over all services. */
uint64_t stats_total(const struct stats *stats, enum stats_counter counter);
/* Of one relay, over all services. */
uint64_t stats_of(const struct stats_slot *slot, enum stats_counter counter);
/* Those that are there now, and go with their relay; all else only grows. */
bool stats_is_gauge(enum stats_counter counter);
/* "accepted", "sessions", ...; static. */
const char *stats_counter_text(enum stats_counter counter);

#endif
