/*
 * target: what is said of a primary (zones/primary.h) and of a zone file
 * (zones/zonefile.h) alike.
 */
#ifndef ZONES_TARGET_H
#define ZONES_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum target_state {
	TARGET_BUSY,     /* asking, changing, or waiting between changes */
	TARGET_SETTLED,  /* the zone was read and holds what it should */
	TARGET_DEFERRED, /* the zone was made from newer data than ours */
	TARGET_FAILING   /* see why; it will be tried again */
};

struct target_status {
	const char *server; /* of a primary, or path of the file; borrowed */
	const char *zone;   /* borrowed */
	enum target_state state;
	const char *why; /* static; of the last failure, or "" */
	bool known;      /* the zone's records have been read */
	uint32_t serial;
	size_t records; /* of ours in the zone */
	size_t missing; /* changed records that it lacks */
	uint64_t updates, overtaken, failures, drifts; /* counters */
	int64_t updated_us; /* of the last update; 0 for none */
};

/* "busy", "settled", "deferred", "failing"; static. */
const char *target_state_text(enum target_state state);

#endif
