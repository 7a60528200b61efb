/*
 * zonefile: a zone as a file, for servers that take no updates.
 *
 * The file is made of a base, a zone file that belongs to the administrator,
 * and of our records, which replace those of the base that have the same name
 * and type. It is written whole to a neighbour, synchronised and renamed, so
 * that a reader sees the old or the new one; the serial goes up as RFC 1982
 * counts; then the hook runs. Runs on an event loop; files are local.
 */
#ifndef ZONES_ZONEFILE_H
#define ZONES_ZONEFILE_H

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

#include "daemon/log.h"
#include "zones/config.h"
#include "zones/plan.h"
#include "zones/rrsets.h"
#include "zones/scope.h"
#include "zones/target.h"

/* RFC 1982 section 3.2: whether serial a is after b. */
bool zonefile_serial_after(uint32_t a, uint32_t b);
/* The serial after `former`, or that of the base where it is later still. */
uint32_t zonefile_serial_next(uint32_t former, uint32_t base);

/* A zone file's records: SOA and what is not ours, and what is. */
struct zonefile_content {
	bool there;
	uint32_t serial;
	struct rrsets others; /* with SOA, whose serial is 0 */
	struct rrsets ours;
};

/* 0, with there = false for a file that does not exist; or -1 with *why. */
int zonefile_read(struct zonefile_content *content, const char *path,
    const struct scope *scope, const char **why);
void zonefile_content_free(struct zonefile_content *content);
/* Writes it atomically. 0; or -1 with *why. */
int zonefile_write(
    const struct zonefile_content *content, const char *path, const char **why);

struct zonefile;

struct zonefile_settings {
	struct event_base *base;
	const struct config *config;
	const struct config_zone *zone;
	const struct scope *scope;
	const struct log *log;
	bool read_only;
	void (*changed)(void *context); /* as for primary_new() */
	void *context;
};

/* All is borrowed and has to live as long. */
struct zonefile *zonefile_new(const struct zonefile_settings *settings);
void zonefile_free(struct zonefile **zonefile);

/* The plan is borrowed until the next call. changed: it is not as the one
 * before. */
void zonefile_publish(
    struct zonefile *zonefile, const struct plan *plan, bool changed);

struct target_status zonefile_status(const struct zonefile *zonefile);
const struct rrsets *zonefile_current(const struct zonefile *zonefile);
/* 0, or -1 without memory or before a plan. */
int zonefile_desired(const struct zonefile *zonefile, struct rrsets *desired);

#endif
