#include "zones/primary.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/endpoint.h"
#include "lib/timestamp.h"
#include "replica/clock.h"
#include "zones/exchange.h"
#include "zones/update.h"

#define PRIMARY_VERIFY_MS     300 /* after a change, until the zone is read */
#define PRIMARY_OVERTAKEN_MAX 20  /* times in a row without a pause */
#define PRIMARY_DRIFTS_MAX    2   /* times in a row until it is a refusal */
#define PRIMARY_RETRY_MS      500 /* the first pause */
#define PRIMARY_CONTEST_US    INT64_C(5000000)

enum doing {
	DOING_NOTHING,
	DOING_SERIAL,   /* SOA */
	DOING_TRANSFER, /* AXFR */
	DOING_UPDATE,
	DOING_WAIT /* until the timer */
};

/* A zone while it is transferred. */
struct transfer {
	struct rrsets records, epochs; /* ours */
	unsigned soas;
	uint32_t serial;
	const char *why; /* of its failure; NULL while it is good */
};

struct primary {
	struct primary_settings settings;
	struct endpoint server;
	const struct plan *plan; /* borrowed; NULL before the first */
	struct epoch epoch;      /* of the plan */

	enum doing doing;
	struct exchange *exchange;
	struct update_question question;
	enum update_result result; /* of the exchange at hand */
	const char *why;
	struct event *timer; /* ends DOING_WAIT */
	struct event *check; /* looks at the zone again */

	bool known; /* the two below are the zone's */
	struct rrsets current, epochs;
	bool serial_known;
	uint32_t serial;
	struct transfer transfer;

	struct rrsets target; /* of the update at hand */
	ldns_rr *target_epoch;

	unsigned failed;     /* times in a row */
	unsigned drifted;    /* transfers in a row that found other records */
	struct rrsets held;  /* what the server does not take; until the next
				check it is not sent again */
	unsigned overtaken;  /* likewise */
	bool deferred;       /* the zone's epoch is newer than ours */
	bool settled_before; /* it held what it should, once known */
	bool partial;        /* the last update left a rest */
	const char *fault;   /* last failure, or NULL */
	uint64_t counters[4];
	int64_t updated_us;
};

enum counter {
	COUNTER_UPDATES,
	COUNTER_OVERTAKEN,
	COUNTER_FAILURES,
	COUNTER_DRIFTS
};

static void advance(struct primary *primary);

static struct log_line
begin_line(
    const struct primary *primary, enum log_level level, const char *event)
{
	struct log_line line = log_line(level, event);

	log_string(&line, "zone", primary->settings.zone->title);
	log_string(&line, "server", primary->settings.server);
	return line;
}

static void
changed(struct primary *primary)
{
	if (primary->settings.changed)
		primary->settings.changed(primary->settings.context);
}

static void
arm(struct event *event, long ms)
{
	struct timeval after = { ms / 1000, ms % 1000 * 1000 };

	if (event_add(event, &after) < 0)
		abort();
}

static void
wait_ms(struct primary *primary, long ms)
{
	primary->doing = DOING_WAIT;
	arm(primary->timer, ms);
}

/* Doubles with each failure, up to retry_max; a part of it by chance, so that
 * publishers do not come back all at once. */
static long
retry_ms(const struct primary *primary)
{
	long max_ms = primary->settings.config->retry_max * 1000;
	long pause_ms = PRIMARY_RETRY_MS;
	uint16_t chance;

	for (unsigned i = 1; i < primary->failed && pause_ms < max_ms; i++)
		pause_ms *= 2;
	if (pause_ms > max_ms)
		pause_ms = max_ms;
	evutil_secure_rng_get_bytes(&chance, sizeof(chance));
	return pause_ms * 3 / 4 + pause_ms / 4 * chance / UINT16_MAX;
}

static void
fail(struct primary *primary, const char *why)
{
	struct log_line line =
	    begin_line(primary, LOG_LEVEL_ERROR, "zone_failed");
	long pause_ms;

	primary->failed++;
	primary->counters[COUNTER_FAILURES]++;
	primary->fault = why;
	/* An update may have come through although its answer did not. */
	primary->known = false;
	pause_ms = retry_ms(primary);
	log_string(&line, "why", why);
	log_number(&line, "retry_ms", pause_ms);
	log_send(primary->settings.log, &line);
	wait_ms(primary, pause_ms);
	changed(primary);
}

/* ---- transfer and serial ---- */

static void
transfer_free(struct transfer *transfer)
{
	rrsets_free(&transfer->records);
	rrsets_free(&transfer->epochs);
	*transfer = (struct transfer){ 0 };
}

static void
take_record(struct primary *primary, const ldns_rr *rr)
{
	struct transfer *transfer = &primary->transfer;
	const struct scope *scope = primary->settings.scope;
	struct rrsets *set = NULL;

	if (scope_is_epoch(scope, rr))
		set = &transfer->epochs;
	else if (scope_owns(scope, ldns_rr_owner(rr), ldns_rr_get_type(rr)))
		set = &transfer->records;
	if (set && rrsets_add(set, ldns_rr_clone(rr)) < 0)
		transfer->why = "the zone has too many records of ours";
}

static void
take_soa(struct primary *primary, const ldns_rr *rr)
{
	struct transfer *transfer = &primary->transfer;

	if (ldns_dname_compare(
		ldns_rr_owner(rr), primary->settings.zone->apex) != 0 ||
	    ldns_rr_rd_count(rr) != 7)
		transfer->why = "the server sends another zone";
	else
		transfer->serial = ldns_rdf2native_int32(ldns_rr_rdf(rr, 2));
	transfer->soas++;
}

/* The zone is between two SOA records (RFC 5936 section 2.2). */
static enum exchange_next
take_answer(struct primary *primary, const ldns_pkt *answer)
{
	const ldns_rr_list *list = ldns_pkt_answer(answer);
	unsigned last = primary->doing == DOING_TRANSFER ? 2 : 1;
	struct transfer *transfer = &primary->transfer;

	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(list, i);

		if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA)
			take_soa(primary, rr);
		else if (transfer->soas == 0)
			transfer->why =
			    "the server's answer does not begin with SOA";
		else if (last == 2)
			take_record(primary, rr);
		if (transfer->why || transfer->soas == last)
			return EXCHANGE_DONE;
	}
	if (ldns_rr_list_rr_count(list) == 0 || last == 1) {
		transfer->why = "the server's answer is empty";
		return EXCHANGE_DONE;
	}
	return EXCHANGE_MORE;
}

static enum exchange_next
on_message(void *context, struct slice message)
{
	struct primary *primary = context;
	enum exchange_next next = EXCHANGE_DONE;
	ldns_pkt *answer;

	primary->result = update_answer(
	    &primary->question, message, time(NULL), &answer, &primary->why);
	if (primary->result != UPDATE_GOOD)
		return EXCHANGE_DONE;
	if (primary->doing != DOING_UPDATE) {
		next = take_answer(primary, answer);
		if (primary->transfer.why) {
			primary->result = UPDATE_BAD;
			primary->why = primary->transfer.why;
		}
	}
	ldns_pkt_free(answer);
	return next;
}

/* Whether the zone is not as we left it although nobody published since. */
static void
look_for_drift(struct primary *primary)
{
	const struct transfer *transfer = &primary->transfer;
	struct log_line line;

	if (!primary->settled_before ||
	    !rrsets_equal(&primary->epochs, &transfer->epochs) ||
	    rrsets_equal(&primary->current, &transfer->records)) {
		primary->drifted = 0;
		return;
	}
	primary->drifted++;
	primary->counters[COUNTER_DRIFTS]++;
	line = begin_line(primary, LOG_LEVEL_WARNING, "zone_drifted");
	log_number(&line, "records",
	    (int64_t)rrsets_changes(&primary->current, &transfer->records));
	log_string(&line, "why", "it holds other records than we published");
	log_send(primary->settings.log, &line);
}

/* The server said yes, and left something out: where others have a CNAME,
 * say, or we want one where others have something (RFC 2136 section 3.4.2.2).
 */
static void
hold(struct primary *primary)
{
	struct log_line line =
	    begin_line(primary, LOG_LEVEL_ERROR, "zone_failed");

	primary->drifted = 0;
	primary->counters[COUNTER_FAILURES]++;
	primary->fault = "the server left out some of our records; "
			 "others at these names are in the way";
	log_string(&line, "why", primary->fault);
	log_send(primary->settings.log, &line);
	if (primary_desired(primary, &primary->held) < 0)
		abort();
}

static void
end_transfer(struct primary *primary)
{
	look_for_drift(primary);
	rrsets_free(&primary->current);
	rrsets_free(&primary->epochs);
	primary->current = primary->transfer.records;
	primary->epochs = primary->transfer.epochs;
	primary->serial = primary->transfer.serial;
	primary->transfer = (struct transfer){ 0 };
	primary->known = true;
	primary->serial_known = true;
	if (primary->drifted >= PRIMARY_DRIFTS_MAX)
		hold(primary);
}

static void
end_serial(struct primary *primary)
{
	if (!primary->serial_known ||
	    primary->transfer.serial != primary->serial)
		primary->known = false;
	transfer_free(&primary->transfer);
}

/* ---- update ---- */

static void
end_update(struct primary *primary)
{
	struct log_line line =
	    begin_line(primary, LOG_LEVEL_INFO, "zone_updated");

	log_number(&line, "records",
	    (int64_t)rrsets_changes(&primary->current, &primary->target));
	log_send(primary->settings.log, &line);
	rrsets_free(&primary->current);
	rrsets_free(&primary->epochs);
	primary->current = primary->target;
	primary->target = (struct rrsets){ 0 };
	if (rrsets_add(&primary->epochs, primary->target_epoch) < 0)
		abort();
	primary->target_epoch = NULL;
	primary->serial_known = false;
	primary->overtaken = 0;
	primary->counters[COUNTER_UPDATES]++;
	primary->updated_us = clock_realtime_us();
	arm(primary->check, PRIMARY_VERIFY_MS);
}

static void
end_overtaken(struct primary *primary)
{
	struct log_line line =
	    begin_line(primary, LOG_LEVEL_INFO, "zone_overtaken");

	log_string(&line, "why", primary->why);
	log_send(primary->settings.log, &line);
	primary->counters[COUNTER_OVERTAKEN]++;
	primary->known = false;
	primary->settled_before = false;
	if (++primary->overtaken % PRIMARY_OVERTAKEN_MAX == 0)
		wait_ms(primary, PRIMARY_RETRY_MS);
}

static void
on_done(void *context, const char *why)
{
	struct primary *primary = context;
	enum doing doing = primary->doing;

	exchange_free(&primary->exchange);
	update_question_free(&primary->question);
	primary->doing = DOING_NOTHING;
	if (why || primary->result == UPDATE_BAD) {
		transfer_free(&primary->transfer);
		fail(primary, why ? why : primary->why);
		return;
	}
	if (primary->failed > 0) {
		struct log_line line =
		    begin_line(primary, LOG_LEVEL_INFO, "zone_reached");

		log_send(primary->settings.log, &line);
	}
	primary->failed = 0;
	primary->fault = NULL;
	if (primary->result == UPDATE_OVERTAKEN)
		end_overtaken(primary);
	else if (doing == DOING_UPDATE)
		end_update(primary);
	else if (doing == DOING_TRANSFER)
		end_transfer(primary);
	else
		end_serial(primary);
	advance(primary);
	changed(primary);
}

static void
ask(struct primary *primary, enum doing doing)
{
	const struct config *config = primary->settings.config;
	struct exchange_settings settings = {
		.base = primary->settings.base,
		.server = &primary->server,
		.timeout = (int)config->timeout,
		.size_max = (size_t)config->transfer_max << 20,
		.message = on_message,
		.done = on_done,
		.context = primary,
	};

	primary->doing = doing;
	primary->result = UPDATE_BAD;
	primary->why = "the server does not answer";
	primary->exchange = exchange_new(&settings,
	    slice_of(primary->question.wire, primary->question.size));
}

static void
ask_zone(struct primary *primary, enum doing doing)
{
	const char *why;

	transfer_free(&primary->transfer);
	if (update_ask(&primary->question, primary->settings.zone,
		doing == DOING_TRANSFER ? LDNS_RR_TYPE_AXFR : LDNS_RR_TYPE_SOA,
		&why) < 0)
		fail(primary, why);
	else
		ask(primary, doing);
}

static void
log_epoch(struct primary *primary, enum log_level level, const char *event,
    const struct epoch *theirs, const char *why)
{
	struct log_line line = begin_line(primary, level, event);

	log_string(&line, "by", theirs->by);
	log_string(&line, "why", why);
	log_send(primary->settings.log, &line);
}

/* Whether our plan may replace what was published with this epoch. */
static bool
may_replace_epoch(
    struct primary *primary, const struct epoch *theirs, bool deferred_before)
{
	const struct epoch *mine = &primary->epoch;
	bool same_data = csn_vector_equal(&mine->csns, &theirs->csns);
	bool others =
	    strcmp(theirs->by, primary->settings.config->host_name) != 0;

	switch (epoch_order(mine, theirs)) {
	case EPOCH_AHEAD:
		log_epoch(primary, LOG_LEVEL_WARNING, "epoch_ahead", theirs,
		    "the clock of that publisher is far ahead");
		return true;
	case EPOCH_OLDER:
		if (!deferred_before && !same_data)
			log_epoch(primary, LOG_LEVEL_INFO, "zone_deferred",
			    theirs, "the zone was made from newer data");
		return false;
	case EPOCH_NEWER:
		break;
	}
	/* Of the same data everybody makes the same records, but for a moment
	 * of time: whoever wrote last may be about to write again. */
	if (same_data && others &&
	    mine->time_us - theirs->time_us < PRIMARY_CONTEST_US)
		return false;
	if (same_data && others)
		log_epoch(primary, LOG_LEVEL_WARNING, "zone_contested", theirs,
		    "that publisher made other records of equal data");
	return true;
}

static bool
may_replace(struct primary *primary)
{
	bool before = primary->deferred;
	struct epoch theirs;

	primary->deferred = false;
	for (size_t i = 0; i < primary->epochs.count; i++)
		if (epoch_parse(&theirs, primary->epochs.rrs[i]) == 0 &&
		    !may_replace_epoch(primary, &theirs, before))
			primary->deferred = true;
	return !primary->deferred;
}

static void
send_update(struct primary *primary, const struct rrsets *desired)
{
	const struct config_zone *zone = primary->settings.zone;
	const char *why = "the epoch cannot be written";

	ldns_rr_free(primary->target_epoch);
	primary->target_epoch = epoch_record(&primary->epoch, zone->epoch_owner,
	    primary->settings.config->host_name);
	if (rrsets_step(&primary->target, &primary->current, desired,
		(size_t)primary->settings.config->change_max) < 0)
		abort();
	primary->partial = !rrsets_equal(&primary->target, desired);
	if (!primary->target_epoch ||
	    update_change(&primary->question, zone, &primary->current,
		&primary->target, &primary->epochs, primary->target_epoch,
		&why) < 0)
		fail(primary, why);
	else
		ask(primary, DOING_UPDATE);
}

/* The earliest moment for another update: changes come in steps. */
static long
pause_left_ms(const struct primary *primary)
{
	int64_t since_ms = (clock_realtime_us() - primary->updated_us) / 1000;
	long interval = primary->settings.config->change_interval;

	return since_ms < 0 || since_ms >= interval ? 0
						    : interval - (long)since_ms;
}

static void
compare(struct primary *primary)
{
	struct rrsets desired = { 0 };
	size_t changes;
	long pause_ms;

	if (primary_desired(primary, &desired) < 0)
		abort();
	changes = rrsets_changes(&primary->current, &desired);
	if (changes == 0) {
		primary->settled_before = true;
		primary->partial = false;
		primary->deferred = false;
	} else if (!primary->settings.read_only &&
		   !rrsets_equal(&desired, &primary->held) &&
		   may_replace(primary)) {
		pause_ms = primary->partial ? pause_left_ms(primary) : 0;
		primary->settled_before = false;
		if (pause_ms > 0)
			wait_ms(primary, pause_ms);
		else
			send_update(primary, &desired);
	}
	rrsets_free(&desired);
}

/* Does the next thing, unless something is being done. */
static void
advance(struct primary *primary)
{
	if (primary->doing != DOING_NOTHING || !primary->plan)
		return;
	if (!primary->known)
		ask_zone(primary, DOING_TRANSFER);
	else
		compare(primary);
}

static void
on_timer(evutil_socket_t fd, short what, void *context)
{
	struct primary *primary = context;

	(void)fd;
	(void)what;
	assert(primary->doing == DOING_WAIT);
	primary->doing = DOING_NOTHING;
	advance(primary);
	changed(primary);
}

static void
on_check(evutil_socket_t fd, short what, void *context)
{
	struct primary *primary = context;

	(void)fd;
	(void)what;
	arm(primary->check, primary->settings.config->check_interval * 1000);
	if (primary->doing != DOING_NOTHING || !primary->plan)
		return;
	rrsets_free(&primary->held);
	if (primary->known && !primary->serial_known)
		primary->known = false;
	if (primary->known)
		ask_zone(primary, DOING_SERIAL);
	else
		advance(primary);
}

struct primary *
primary_new(const struct primary_settings *settings)
{
	struct primary *primary = calloc(1, sizeof(*primary));

	if (!primary)
		abort();
	primary->settings = *settings;
	if (endpoint_parse(&primary->server, slice_from(settings->server), 53) <
	    0)
		abort();
	primary->timer = evtimer_new(settings->base, on_timer, primary);
	primary->check = evtimer_new(settings->base, on_check, primary);
	if (!primary->timer || !primary->check)
		abort();
	arm(primary->check, settings->config->check_interval * 1000);
	return primary;
}

void
primary_free(struct primary **primary)
{
	struct primary *old = *primary;

	*primary = NULL;
	if (!old)
		return;
	exchange_free(&old->exchange);
	update_question_free(&old->question);
	transfer_free(&old->transfer);
	rrsets_free(&old->current);
	rrsets_free(&old->epochs);
	rrsets_free(&old->target);
	rrsets_free(&old->held);
	ldns_rr_free(old->target_epoch);
	event_free(old->timer);
	event_free(old->check);
	free(old);
}

void
primary_publish(
    struct primary *primary, const struct plan *plan, const struct epoch *epoch)
{
	primary->plan = plan;
	primary->epoch = *epoch;
	advance(primary);
}

struct target_status
primary_status(const struct primary *primary)
{
	struct target_status status = {
		.server = primary->settings.server,
		.zone = primary->settings.zone->title,
		.why = primary->fault ? primary->fault : "",
		.known = primary->known,
		.serial = primary->serial,
		.records = primary->current.count,
		.updates = primary->counters[COUNTER_UPDATES],
		.overtaken = primary->counters[COUNTER_OVERTAKEN],
		.failures = primary->counters[COUNTER_FAILURES],
		.drifts = primary->counters[COUNTER_DRIFTS],
		.updated_us = primary->updated_us,
	};
	struct rrsets desired = { 0 };

	if (primary_desired(primary, &desired) == 0)
		status.missing = rrsets_changes(&primary->current, &desired);
	rrsets_free(&desired);
	if (primary->fault)
		status.state = TARGET_FAILING;
	else if (primary->known && primary->serial_known && primary->plan &&
		 status.missing == 0)
		status.state = TARGET_SETTLED;
	else if (primary->known && primary->deferred)
		status.state = TARGET_DEFERRED;
	else
		status.state = TARGET_BUSY;
	return status;
}

bool
primary_is_deferred(const struct primary *primary)
{
	return primary->deferred;
}

const struct rrsets *
primary_current(const struct primary *primary)
{
	return &primary->current;
}

int
primary_desired(const struct primary *primary, struct rrsets *desired)
{
	return primary->plan
		   ? plan_merge(desired, primary->plan, &primary->current)
		   : -1;
}
