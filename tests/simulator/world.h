/*
 * world: one random history of a cell, as a list of writes to the directory,
 * and what each observer knows of it at each moment.
 *
 * Time is true time in microseconds; an observer's clock shows it plus an
 * offset. Writers (administrators, deciders) act on what they know themselves
 * and by the rules of lib/change.h; each write reaches each observer after a
 * delay of its own, so views are late, reordered and different, but never
 * later than the lag.
 */
#ifndef SIMULATOR_WORLD_H
#define SIMULATOR_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/account.h"
#include "lib/cell.h"
#include "lib/transition.h"
#include "tests/simulator/dice.h"

#define WORLD_SERVERS  7
#define WORLD_POOLS    2
#define WORLD_ACCOUNTS 4
#define WORLD_PROXIES  4
#define WORLD_WRITERS  3 /* two providers and more than one hand at each */
#define WORLD_VALUES   48
#define WORLD_WRITES   160
#define WORLD_TEXT     80
#define WORLD_START    INT64_C(1800000000000000)

/* The rule that a history breaks on purpose, to show that it is needed. */
enum breach {
	BREACH_NONE,
	BREACH_LAG,          /* changes arrive later than the guard allows */
	BREACH_SKEW,         /* clocks differ by more than the guard */
	BREACH_CLOSING,      /* sessions end later than the guard allows */
	BREACH_KEEP_ON_WAIT, /* a session outlives a wait for its own server */
	BREACH_STALE_START,  /* a restarted proxy does not catch up first */
	BREACH_NO_BASE,     /* a first transition is written without the wish */
	BREACH_PRUNE,       /* old values are deleted at once */
	BREACH_REMOVE,      /* a server is deleted before it is settled */
	BREACH_UNSAID_MOVE, /* pin, pool, group change without postcellMoved */
	BREACH_COUNT
};

const char *breach_text(enum breach breach);

/* What the history keeps to; all µs. */
struct bounds {
	int64_t guard;
	int64_t lag;
	int64_t skew;
	int64_t closing;
};

struct value {
	char text[WORLD_TEXT];
};

/* A server's entry. */
struct server_entry {
	struct value csn; /* of its newest write, or the beginning of it */
	bool exists;
	unsigned pool;
	enum host_state wish;
	uint32_t weight;
	struct value values[WORLD_VALUES];
	size_t value_count;
};

/* An account's entry. Empty texts are absent attributes. */
struct account_entry {
	struct value pin, pool, group, moved;
};

enum target {
	TARGET_SERVER,
	TARGET_POOL,
	TARGET_ACCOUNT
};

/* Which attributes a write replaces; values are added and deleted. */
enum {
	SETS_EXISTS = 1,
	SETS_POOL = 2,
	SETS_WISH = 4,
	SETS_PIN = 8,
	SETS_GROUP = 16,
	SETS_MOVED = 32,
	SETS_GUARD = 64
};

/* One modify. */
struct write {
	int64_t at_us; /* when its writer read the clock */
	int64_t arrival_us[WORLD_PROXIES + WORLD_WRITERS];
	enum target target;
	unsigned index; /* of the server, pool or account */
	unsigned sets;
	struct server_entry server; /* values: those to add */
	struct value deleted[WORLD_VALUES];
	size_t deleted_count;
	struct account_entry account;
	uint32_t guard_ms;
};

struct world {
	struct dice dice;
	struct bounds bounds;
	enum breach breach;
	int64_t offset_us[WORLD_PROXIES + WORLD_WRITERS];
	char ids[WORLD_ACCOUNTS][ACCOUNT_ID_SIZE];
	struct write writes[WORLD_WRITES];
	size_t write_count;
	int64_t end_us;
	/* A proxy that is down between two moments. */
	unsigned crashed;
	int64_t crash_us, restart_us;
	/* Observers that hear nothing between two moments; a set of bits. */
	unsigned cut;
	int64_t cut_us, joined_us;
};

/* Makes the history of a seed, of at most so many acts. */
void world_make(
    struct world *world, uint64_t seed, enum breach breach, unsigned acts_max);

/* What one observer knows. Everything borrows from the view. */
struct view {
	struct cell *cell; /* owned */
	struct account accounts[WORLD_ACCOUNTS];
	struct account_entry account_entries[WORLD_ACCOUNTS];
	struct server_entry servers[WORLD_SERVERS];
	struct buf records[WORLD_ACCOUNTS]; /* owned */
};

void view_make(struct view *view, const struct world *world, unsigned observer,
    int64_t at_us);
void view_free(struct view *view);

/* Writes the history to stdout, for people. */
void world_print(const struct world *world);

#endif
