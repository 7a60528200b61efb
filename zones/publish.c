#include "zones/publish.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/lookup.h"
#include "lib/timestamp.h"
#include "replica/clock.h"
#include "replica/reader.h"
#include "zones/epoch.h"
#include "zones/primary.h"
#include "zones/tlsa.h"
#include "zones/zonefile.h"

#define PUBLISH_TICK_MS  50
#define PUBLISH_OPEN_MS  1000 /* between tries to open the replica */
#define PUBLISH_DEFER_MS 250  /* between plans while a zone is newer */
#define PUBLISH_VOTES_MS                                                       \
	1000 /* between looks at what hosts say of themselves */
#define PUBLISH_STATUS_MAX 65536

struct zone {
	const struct config_zone *config;
	struct scope scope;
	struct plan plan;
	struct primary **primaries; /* owned */
	size_t primary_count;
	struct zonefile *file; /* owned; or NULL */
};

struct publish {
	struct publish_settings settings;
	struct replica *replica;
	struct cell *cell;
	uint64_t generation;
	struct buf csn; /* text of contextCSN */
	struct addresses addresses;
	struct lookup *lookup;
	struct rrsets tlsa;
	struct zone *zones;
	size_t zone_count;
	struct event *tick;
	struct event *changed; /* tells the caller, from the loop */
	bool planned;          /* at least once */
	bool due;              /* plan at the next tick */
	int64_t next_us;       /* when time alone makes it due */
	long long planned_ms, opened_ms, read_ms, read_tlsa_ms; /* monotonic */
	const char *fault;
};

/* One of the two drivers. */
struct target {
	const struct primary *primary;
	const struct zonefile *file;
};

static struct target
find_target(const struct publish *publish, size_t index)
{
	for (size_t i = 0; i < publish->zone_count; i++) {
		const struct zone *zone = &publish->zones[i];

		if (zone->file && index-- == 0)
			return (struct target){ .file = zone->file };
		if (index < zone->primary_count)
			return (
			    struct target){ .primary = zone->primaries[index] };
		index -= zone->primary_count;
	}
	abort();
}

size_t
publish_target_count(const struct publish *publish)
{
	size_t count = 0;

	for (size_t i = 0; i < publish->zone_count; i++)
		count += publish->zones[i].primary_count +
			 (publish->zones[i].file != NULL);
	return count;
}

struct target_status
publish_target(const struct publish *publish, size_t index)
{
	struct target target = find_target(publish, index);

	return target.file ? zonefile_status(target.file)
			   : primary_status(target.primary);
}

const struct rrsets *
publish_current(const struct publish *publish, size_t index)
{
	struct target target = find_target(publish, index);

	return target.file ? zonefile_current(target.file)
			   : primary_current(target.primary);
}

int
publish_diff(const struct publish *publish, size_t index, struct buf *out)
{
	struct target target = find_target(publish, index);
	struct rrsets desired = { 0 };
	int result = target.file ? zonefile_desired(target.file, &desired)
				 : primary_desired(target.primary, &desired);

	if (result == 0)
		result = rrsets_print_diff(
		    out, publish_current(publish, index), &desired);
	rrsets_free(&desired);
	return result;
}

const struct cell *
publish_cell(const struct publish *publish)
{
	return publish->cell;
}

struct slice
publish_notes(const struct publish *publish, size_t zone)
{
	return buf_slice(&publish->zones[zone].plan.notes);
}

const struct rrsets *
publish_planned(const struct publish *publish, const struct config_zone *zone)
{
	for (size_t i = 0; publish->planned && i < publish->zone_count; i++)
		if (publish->zones[i].config == zone)
			return &publish->zones[i].plan.set;
	return NULL;
}

const char *
publish_fault(const struct publish *publish)
{
	return publish->fault;
}

struct slice
publish_csn(const struct publish *publish)
{
	return buf_slice(&publish->csn);
}

/* ---- reading ---- */

/* Notes a fault, and logs it once. */
static void
set_fault(struct publish *publish, const char *why)
{
	if (why && (!publish->fault || strcmp(why, publish->fault) != 0))
		log_why(publish->settings.log, LOG_LEVEL_WARNING,
		    "not_publishing", why);
	if (!why && publish->fault)
		log_why(publish->settings.log, LOG_LEVEL_INFO, "publishing",
		    "the replica is there");
	publish->fault = why;
}

static bool
open_replica(struct publish *publish)
{
	long long now_ms = clock_monotonic_ms();
	const char *why;

	if (publish->replica)
		return true;
	if (publish->opened_ms != 0 &&
	    now_ms - publish->opened_ms < PUBLISH_OPEN_MS)
		return false;
	publish->opened_ms = now_ms;
	if (replica_open(&publish->replica, publish->settings.config->replica,
		&why) == 0)
		return true;
	set_fault(publish, why);
	return false;
}

static bool
has_hosts(const struct cell *cell)
{
	size_t count;
	const struct host *hosts = cell_hosts(cell, &count);

	for (size_t i = 0; i < count; i++)
		if (hosts[i].kind != HOST_SERVER)
			return true;
	return false;
}

/*
 * The contextCSN is read before the map, so that it is never newer than what
 * it stands for.
 */
static bool
read_csn(struct publish *publish)
{
	struct buf store = buf_bounded(PUBLISH_STATUS_MAX);
	struct replica_status status;
	const char *why;
	bool good =
	    replica_status(publish->replica, &store, &status, &why) == 0;

	if (good && !status.complete) {
		good = false;
		why = "the replica was never filled";
	}
	if (good) {
		buf_clear(&publish->csn);
		(void)buf_add_slice(&publish->csn, status.csn);
	} else {
		set_fault(publish, why);
	}
	buf_free(&store);
	return good;
}

/* Votes, which say what address families work, do not count as a change. */
static bool
is_old(const struct publish *publish)
{
	return clock_monotonic_ms() - publish->read_ms >= PUBLISH_VOTES_MS;
}

static bool
read_cell(struct publish *publish)
{
	uint64_t generation;
	struct cell *cell;
	const char *why;

	if (!read_csn(publish))
		return false;
	if (publish->cell && !is_old(publish) &&
	    replica_cell_generation(publish->replica) == publish->generation)
		return true;
	if (replica_cell(publish->replica, &cell, &generation, &why) < 0) {
		set_fault(publish, why);
		return false;
	}
	cell_free(&publish->cell);
	publish->cell = cell;
	publish->generation = generation;
	publish->read_ms = clock_monotonic_ms();
	return true;
}

static void
read_tlsa(struct publish *publish)
{
	struct buf faults = buf_bounded(PLAN_NOTES_MAX);
	struct rrsets set = { 0 };

	publish->read_tlsa_ms = clock_monotonic_ms();
	if (tlsa_read(&set, publish->settings.config, &faults) < 0) {
		struct log_line line =
		    log_line(LOG_LEVEL_WARNING, "certificate_unread");

		log_text(&line, "why", buf_slice(&faults));
		log_send(publish->settings.log, &line);
	}
	buf_free(&faults);
	if (rrsets_equal(&set, &publish->tlsa)) {
		rrsets_free(&set);
		return;
	}
	rrsets_free(&publish->tlsa);
	publish->tlsa = set;
	publish->due = true;
}

/* ---- planning ---- */

static void
log_notes(
    struct publish *publish, const struct zone *zone, const struct plan *plan)
{
	struct slice rest = buf_slice(&plan->notes), note;

	if (slice_equal(rest, buf_slice(&zone->plan.notes)))
		return;
	while (slice_next_word(&rest, '\n', &note)) {
		struct log_line line = log_line(LOG_LEVEL_WARNING, "plan_note");

		log_string(&line, "zone", zone->config->title);
		log_text(&line, "why", note);
		log_send(publish->settings.log, &line);
	}
}

static void
look_up(struct publish *publish, const struct plan *plan)
{
	for (size_t i = 0; i < plan->unknown.count; i++) {
		char *name = ldns_rdf2str(plan->unknown.items[i].owner);

		if (!name)
			abort();
		if (strlen(name) > 1 && name[strlen(name) - 1] == '.')
			name[strlen(name) - 1] = '\0';
		lookup_want(publish->lookup, name);
		LDNS_FREE(name);
	}
}

static void
publish_zone(
    struct publish *publish, struct zone *zone, const struct plan *plan)
{
	struct epoch epoch;
	struct plan old = zone->plan;

	zone->plan = *plan;
	epoch_set(&epoch, buf_slice(&publish->csn), clock_realtime_us());
	for (size_t i = 0; i < zone->primary_count; i++)
		primary_publish(zone->primaries[i], &zone->plan, &epoch);
	if (zone->file)
		zonefile_publish(zone->file, &zone->plan,
		    !rrsets_equal(&old.set, &zone->plan.set) ||
			old.kept.count != zone->plan.kept.count);
	plan_free(&old);
}

static void
make_plans(struct publish *publish)
{
	struct plan *plans = calloc(publish->zone_count, sizeof(*plans));
	size_t unknown = 0;

	if (!plans)
		abort();
	publish->next_us = PLAN_NEVER;
	for (size_t i = 0; i < publish->zone_count; i++) {
		struct plan_input input = {
			.config = publish->settings.config,
			.zone = publish->zones[i].config,
			.cell = publish->cell,
			.addresses = &publish->addresses,
			.tlsa = &publish->tlsa,
			.now_us = clock_realtime_us(),
		};

		plans[i] = plan_make(&input);
		if (plans[i].next_us < publish->next_us)
			publish->next_us = plans[i].next_us;
		unknown += plans[i].unknown.count;
	}
	for (size_t i = 0; i < publish->zone_count; i++)
		look_up(publish, &plans[i]);
	/* The first plan waits for all addresses; a later one does not keep
	 * the others waiting for those of a new host. */
	if (unknown > 0 && !publish->planned) {
		for (size_t i = 0; i < publish->zone_count; i++)
			plan_free(&plans[i]);
		free(plans);
		return;
	}
	publish->planned = true;
	for (size_t i = 0; i < publish->zone_count; i++) {
		log_notes(publish, &publish->zones[i], &plans[i]);
		publish_zone(publish, &publish->zones[i], &plans[i]);
	}
	free(plans);
}

static bool
is_deferred(const struct publish *publish)
{
	for (size_t i = 0; i < publish->zone_count; i++) {
		const struct zone *zone = &publish->zones[i];

		for (size_t k = 0; k < zone->primary_count; k++)
			if (primary_is_deferred(zone->primaries[k]))
				return true;
	}
	return false;
}

static bool
is_due(struct publish *publish)
{
	if (publish->due || !publish->cell || is_old(publish) ||
	    clock_realtime_us() >= publish->next_us ||
	    replica_cell_generation(publish->replica) != publish->generation)
		return true;
	return clock_monotonic_ms() - publish->planned_ms >= PUBLISH_DEFER_MS &&
	       is_deferred(publish);
}

static void
on_tick(evutil_socket_t fd, short what, void *context)
{
	struct publish *publish = context;
	long interval_ms = publish->settings.config->check_interval * 1000;

	(void)fd;
	(void)what;
	if (clock_monotonic_ms() - publish->read_tlsa_ms >= interval_ms)
		read_tlsa(publish);
	if (!open_replica(publish) || !is_due(publish))
		return;
	publish->due = false;
	publish->planned_ms = clock_monotonic_ms();
	if (!read_cell(publish)) {
		publish->due = true;
		return;
	}
	if (!has_hosts(publish->cell)) {
		set_fault(
		    publish, "the directory has neither proxies nor hosts");
		return;
	}
	set_fault(publish, NULL);
	make_plans(publish);
}

static void
on_lookup(void *context)
{
	struct publish *publish = context;

	publish->due = true;
}

void
publish_refresh(struct publish *publish)
{
	read_tlsa(publish);
	publish->due = true;
}

/* ---- making and ending ---- */

static void
note_change(void *context)
{
	struct publish *publish = context;

	event_active(publish->changed, EV_TIMEOUT, 0);
}

static void
on_changed(evutil_socket_t fd, short what, void *context)
{
	struct publish *publish = context;

	(void)fd;
	(void)what;
	if (publish->settings.changed)
		publish->settings.changed(publish->settings.context);
}

static void
make_zone(struct publish *publish, struct zone *zone,
    const struct config_zone *config)
{
	const struct publish_settings *from = &publish->settings;
	struct primary_settings primary = { .base = from->base,
		.config = from->config,
		.zone = config,
		.scope = &zone->scope,
		.log = from->log,
		.read_only = from->read_only,
		.changed = note_change,
		.context = publish };
	struct zonefile_settings file = { .base = from->base,
		.config = from->config,
		.zone = config,
		.scope = &zone->scope,
		.log = from->log,
		.read_only = from->read_only,
		.changed = note_change,
		.context = publish };

	zone->config = config;
	zone->scope = scope_new(from->config, config);
	if (config->driver == CONFIG_DRIVER_FILE) {
		zone->file = zonefile_new(&file);
		return;
	}
	zone->primaries =
	    calloc(config->primaries.count, sizeof(struct primary *));
	if (!zone->primaries)
		abort();
	for (size_t i = 0; i < config->primaries.count; i++) {
		primary.server = config->primaries.items[i];
		zone->primaries[zone->primary_count++] = primary_new(&primary);
	}
}

struct publish *
publish_new(const struct publish_settings *settings, const char **why)
{
	struct publish *publish = calloc(1, sizeof(*publish));
	const struct config *config = settings->config;
	const struct config_zone *zones = config->zones.items;
	struct timeval tick = { 0, PUBLISH_TICK_MS * 1000L };

	if (!publish)
		abort();
	publish->settings = *settings;
	publish->csn = buf_bounded(PUBLISH_STATUS_MAX);
	publish->next_us = PLAN_NEVER;
	publish->zones = calloc(config->zones.count, sizeof(*publish->zones));
	publish->tick =
	    event_new(settings->base, -1, EV_PERSIST, on_tick, publish);
	publish->changed =
	    event_new(settings->base, -1, 0, on_changed, publish);
	if (!publish->zones || !publish->tick || !publish->changed ||
	    event_add(publish->tick, &tick) < 0)
		abort();
	publish->lookup = lookup_new(settings->base, &config->dns_servers,
	    config->ttl.address, &publish->addresses, on_lookup, publish, why);
	if (!publish->lookup) {
		publish_free(&publish);
		return NULL;
	}
	for (size_t i = 0; i < config->zones.count; i++)
		make_zone(
		    publish, &publish->zones[publish->zone_count++], &zones[i]);
	read_tlsa(publish);
	return publish;
}

static void
free_zone(struct zone *zone)
{
	for (size_t i = 0; i < zone->primary_count; i++)
		primary_free(&zone->primaries[i]);
	free((void *)zone->primaries);
	zonefile_free(&zone->file);
	plan_free(&zone->plan);
	scope_free(&zone->scope);
}

void
publish_free(struct publish **publish)
{
	struct publish *old = *publish;

	*publish = NULL;
	if (!old)
		return;
	for (size_t i = 0; i < old->zone_count; i++)
		free_zone(&old->zones[i]);
	free(old->zones);
	lookup_free(&old->lookup);
	addresses_free(&old->addresses);
	rrsets_free(&old->tlsa);
	cell_free(&old->cell);
	replica_free(&old->replica);
	buf_free(&old->csn);
	event_free(old->tick);
	event_free(old->changed);
	free(old);
}
