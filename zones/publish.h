/*
 * publish: from the replica to the zones.
 *
 * Watches the replica's generation and the clock, makes the plan of each zone
 * anew when either may have changed it, and hands it to the zone's primaries
 * or its file.
 */
#ifndef ZONES_PUBLISH_H
#define ZONES_PUBLISH_H

#include <event2/event.h>

#include "daemon/log.h"
#include "lib/cell.h"
#include "zones/config.h"
#include "zones/plan.h"
#include "zones/rrsets.h"
#include "zones/target.h"

struct publish;

struct publish_settings {
	struct event_base *base;
	const struct config *config;
	const struct log *log;
	bool read_only;
	/* Called from the loop after a target's state may have changed. */
	void (*changed)(void *context);
	void *context;
};

/* All is borrowed and has to live as long. NULL with *why (static text). */
struct publish *publish_new(
    const struct publish_settings *settings, const char **why);
void publish_free(struct publish **publish);

/* Reads certificates again, and plans anew. */
void publish_refresh(struct publish *publish);

/* All primaries and files of all zones. */
size_t publish_target_count(const struct publish *publish);
struct target_status publish_target(
    const struct publish *publish, size_t index);
/* Adds what would change there, as rrsets_print_diff(). 0, or -1. */
int publish_diff(const struct publish *publish, size_t index, struct buf *out);
/* What of ours is there. Borrowed until the next event. */
const struct rrsets *publish_current(
    const struct publish *publish, size_t index);

/* NULL before the replica was read. Borrowed until the next event. */
const struct cell *publish_cell(const struct publish *publish);
/* The plan's notes on a zone; empty before there was one. */
struct slice publish_notes(const struct publish *publish, size_t zone);
/* What that zone is to hold; NULL before there was a plan. Borrowed until the
 * next event. */
const struct rrsets *publish_planned(
    const struct publish *publish, const struct config_zone *zone);
/* Why nothing is published at all; NULL when it is. Static text. */
const char *publish_fault(const struct publish *publish);
/* contextCSN of the plans; borrowed until the next event. */
struct slice publish_csn(const struct publish *publish);

#endif
