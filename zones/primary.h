/*
 * primary: one primary server of one zone, kept in step with the plan.
 *
 * It knows the zone's records that are ours by AXFR, sends what differs as one
 * UPDATE with the epoch as its prerequisite, and reads again when another
 * publisher was faster, after a failure, shortly after each own change, and
 * whenever the zone's serial moves. Failures are tried again ever more seldom.
 * Runs on an event loop and never blocks.
 */
#ifndef ZONES_PRIMARY_H
#define ZONES_PRIMARY_H

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

#include "daemon/log.h"
#include "zones/config.h"
#include "zones/epoch.h"
#include "zones/plan.h"
#include "zones/rrsets.h"
#include "zones/scope.h"
#include "zones/target.h"

struct primary;

struct primary_settings {
	struct event_base *base;
	const struct config *config;
	const struct config_zone *zone;
	const char *server; /* as the configuration writes it */
	const struct scope *scope;
	const struct log *log;
	bool read_only; /* never updates, for --diff */
	/* Called when its state may have changed. It must only note that, for
	 * it may come from within primary_publish(). */
	void (*changed)(void *context);
	void *context;
};

/* All is borrowed and has to live as long. */
struct primary *primary_new(const struct primary_settings *settings);
void primary_free(struct primary **primary);

/* What the zone is to hold from now on. The plan is borrowed until the next
 * call, the epoch is copied. */
void primary_publish(struct primary *primary, const struct plan *plan,
    const struct epoch *epoch);

struct target_status primary_status(const struct primary *primary);
/* Whether it waits for our data to become as new as the zone's. */
bool primary_is_deferred(const struct primary *primary);
/* What of ours the zone holds. Borrowed. */
const struct rrsets *primary_current(const struct primary *primary);
/* What the zone is to hold. 0, or -1 without memory or before a plan. */
int primary_desired(const struct primary *primary, struct rrsets *desired);

#endif
