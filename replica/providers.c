#include "replica/providers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/dns.h>
#include <event2/event.h>

#include "replica/clock.h"
#include "replica/watch.h"

#define PROVIDERS_PAUSE_MIN_MS 100
#define PROVIDERS_PAUSE_MAX_MS 5000
/* Between attempts that need somebody to change something first. */
#define PROVIDERS_STOPPED_MS 30000
/* A provider that is behind of what we know; replication takes its time. */
#define PROVIDERS_BEHIND_MS 10000
/* Changes of the provider that ought to have come. slapd sends its cookie for
 * changes of other entries too, so a gap that lasts is none of these. */
#define PROVIDERS_AHEAD_MS 30000
/* From when on a gap is no more the time that a message takes. */
#define PROVIDERS_GAP_MS 2000
/* The same while nothing better is known. */
#define PROVIDERS_PROVISIONAL_MS 600000

struct providers {
	struct event_base *base; /* borrowed */
	struct evdns_base *dns;  /* owned */
	struct syncrepl_options options;
	const char *const *urls; /* borrowed */
	size_t count, current;
	struct intake *intake;     /* borrowed */
	struct status *status;     /* borrowed */
	struct syncrepl *syncrepl; /* owned */
	struct watch *watch;       /* owned */
	struct event *start;       /* owned: begins the next session */
	size_t failed;  /* providers tried in vain since one worked */
	size_t stopped; /* of these, until somebody changes something */
	bool refused;   /* one of them could not go on from our cookie */
	int pause_ms;
	bool following;
	enum intake_outcome outcome; /* of the refresh, while following */
	long long followed_ms;       /* since when */
	long long behind_ms;         /* since when it is behind; 0: not */
	long long ahead_ms; /* since when changes are missing; 0: not */
};

static void
providers_schedule(struct providers *providers, int delay_ms)
{
	struct timeval delay = { delay_ms / 1000,
		(suseconds_t)(delay_ms % 1000) * 1000 };

	(void)evtimer_add(providers->start, &delay);
}

static void
providers_log_end(
    const struct providers *providers, enum syncrepl_end end, const char *why)
{
	static const char *const events[] = {
		[SYNCREPL_LOST] = "provider_lost",
		[SYNCREPL_REFUSED] = "provider_refused",
		[SYNCREPL_STOPPED] = "provider_stopped",
		[SYNCREPL_STORE] = "store_failed",
		[SYNCREPL_RELOAD] = "provider_reload",
	};
	bool alarm = end == SYNCREPL_STOPPED || end == SYNCREPL_STORE;
	struct log_line line =
	    log_line(alarm ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, events[end]);

	log_string(&line, "provider", providers->urls[providers->current]);
	log_string(&line, "why", why);
	log_send(providers->status->log, &line);
}

/* One round has ended in vain. */
static int
providers_end_round(struct providers *providers)
{
	bool all_stopped = providers->stopped == providers->failed;
	const char *why;

	providers->failed = providers->stopped = 0;
	if (providers->refused) {
		providers->refused = false;
		if (intake_forget_cookie(providers->intake, &why) != 0)
			log_why(providers->status->log, LOG_LEVEL_ERROR,
			    "store_failed", why);
		return 0;
	}
	if (all_stopped)
		return PROVIDERS_STOPPED_MS;
	providers->pause_ms = providers->pause_ms == 0
				  ? PROVIDERS_PAUSE_MIN_MS
				  : providers->pause_ms * 2;
	if (providers->pause_ms > PROVIDERS_PAUSE_MAX_MS)
		providers->pause_ms = PROVIDERS_PAUSE_MAX_MS;
	return providers->pause_ms;
}

/* Ends the session and decides who comes next, and when. */
static void
providers_end(
    struct providers *providers, enum syncrepl_end end, const char *why)
{
	bool stopped = end == SYNCREPL_STOPPED || end == SYNCREPL_STORE;
	int delay_ms = 0;

	intake_abandon(providers->intake);
	providers_log_end(providers, end, why);
	status_set_state(
	    providers->status, stopped ? "stopped" : "disconnected", why);
	syncrepl_free(&providers->syncrepl);
	watch_free(&providers->watch);
	providers->following = false;
	if (end == SYNCREPL_RELOAD) {
		if (intake_forget_cookie(providers->intake, &why) != 0)
			log_why(providers->status->log, LOG_LEVEL_ERROR,
			    "store_failed", why);
	} else {
		providers->refused |= end == SYNCREPL_REFUSED;
		providers->stopped += stopped;
		providers->current =
		    (providers->current + 1) % providers->count;
		if (++providers->failed >= providers->count)
			delay_ms = providers_end_round(providers);
	}
	providers_schedule(providers, delay_ms);
}

static void
providers_refreshing(void *context, bool whole)
{
	struct providers *providers = context;
	struct log_line line = log_line(LOG_LEVEL_INFO, "refreshing");

	log_string(&line, "provider", providers->urls[providers->current]);
	log_string(&line, "kind", whole ? "whole" : "from_cookie");
	log_send(providers->status->log, &line);
	status_set_source(
	    providers->status, providers->urls[providers->current]);
	status_set_state(providers->status, "refreshing", NULL);
}

static void
providers_following(void *context, enum intake_outcome outcome, const char *why)
{
	struct providers *providers = context;

	providers->following = true;
	providers->outcome = outcome;
	providers->followed_ms = clock_monotonic_ms();
	providers->behind_ms = providers->ahead_ms = 0;
	providers->failed = providers->stopped = 0;
	providers->refused = false;
	providers->pause_ms = 0;
	/* Once: the next refresh is to be looked at as any other. */
	providers->options.trust = false;
	if (outcome == INTAKE_STOPPED)
		status_set_state(providers->status, "stopped", why);
	else
		status_set_state(providers->status, "connected",
		    outcome == INTAKE_PROVISIONAL
			? "the provider is behind of what was seen before"
			: NULL);
}

static void
providers_ended(void *context, enum syncrepl_end end, const char *why)
{
	providers_end(context, end, why);
}

static void
providers_watch_ended(void *context, const char *why)
{
	providers_end(context, SYNCREPL_LOST, why);
}

static bool
providers_is_heard(void *context)
{
	struct providers *providers = context;

	return clock_monotonic_ms() - syncrepl_heard_ms(providers->syncrepl) <
	       WATCH_SILENCE_MS;
}

/* A refresh that could not be finished is tried again when it may succeed. */
static void
providers_reconsider(struct providers *providers, bool covers)
{
	long long age_ms = clock_monotonic_ms() - providers->followed_ms;

	if (providers->outcome == INTAKE_STOPPED) {
		if (age_ms > PROVIDERS_STOPPED_MS)
			syncrepl_stop(providers->syncrepl, SYNCREPL_RELOAD,
			    "looking again whether the refresh drops less");
	} else if (covers) {
		syncrepl_stop(providers->syncrepl, SYNCREPL_RELOAD,
		    "the provider caught up");
	} else if (age_ms > PROVIDERS_PROVISIONAL_MS && providers->count > 1) {
		syncrepl_stop(providers->syncrepl, SYNCREPL_REFUSED,
		    "the provider stays behind of what was seen before");
	}
}

/* How long a condition holds; 0 while it does not. */
static long long
providers_since(bool holds, long long *since_ms)
{
	long long now_ms = clock_monotonic_ms();

	if (!holds)
		*since_ms = 0;
	else if (*since_ms == 0)
		*since_ms = now_ms;
	return holds ? now_ms - *since_ms : 0;
}

static void
providers_vector(void *context, const struct csn_vector *theirs)
{
	struct providers *providers = context;
	const struct csn_vector *known =
	    &intake_cookie(providers->intake)->vector;
	bool covers = csn_vector_covers_all(theirs, known);
	long long behind_ms, ahead_ms;

	if (!providers->following)
		return;
	if (providers->outcome != INTAKE_IN_STEP) {
		providers_reconsider(providers, covers);
		return;
	}
	behind_ms = providers_since(!covers, &providers->behind_ms);
	ahead_ms = providers_since(
	    !csn_vector_covers_all(known, theirs), &providers->ahead_ms);
	if (behind_ms > PROVIDERS_BEHIND_MS)
		syncrepl_stop(providers->syncrepl, SYNCREPL_REFUSED,
		    "the provider stays behind of what was seen before");
	else if (ahead_ms > PROVIDERS_AHEAD_MS)
		syncrepl_stop(providers->syncrepl, SYNCREPL_LOST,
		    "changes that the provider has do not arrive");
	else if (covers && ahead_ms < PROVIDERS_GAP_MS)
		status_contact(providers->status);
}

static void
providers_start(evutil_socket_t fd, short what, void *context)
{
	static const struct syncrepl_events syncrepl_events = {
		.refreshing = providers_refreshing,
		.following = providers_following,
		.ended = providers_ended,
	};
	static const struct watch_events watch_events = {
		.vector = providers_vector,
		.is_heard = providers_is_heard,
		.ended = providers_watch_ended,
	};
	struct providers *providers = context;
	struct syncrepl_options options = providers->options;

	(void)fd;
	(void)what;
	options.connection.url = providers->urls[providers->current];
	providers->syncrepl = syncrepl_new(providers->base, providers->dns,
	    &options, providers->intake, &syncrepl_events, providers);
	providers->watch = watch_new(providers->base, providers->dns,
	    &options.connection, options.suffix, &watch_events, providers);
	if (!providers->syncrepl || !providers->watch)
		providers_end(providers, SYNCREPL_LOST, "out of memory");
}

/* Without a usable resolv.conf addresses and the hosts file still serve. */
struct evdns_base *
providers_resolver(struct event_base *base)
{
	struct evdns_base *dns =
	    evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS |
				     EVDNS_BASE_DISABLE_WHEN_INACTIVE);

	if (dns)
		return dns;
	dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (dns)
		(void)evdns_base_load_hosts(dns, "/etc/hosts");
	return dns;
}

struct providers *
providers_new(struct event_base *base, const struct syncrepl_options *options,
    const char *const *urls, size_t count, struct intake *intake,
    struct status *status)
{
	struct providers *providers = calloc(1, sizeof(*providers));

	if (!providers)
		return NULL;
	providers->base = base;
	providers->options = *options;
	providers->urls = urls;
	providers->count = count;
	providers->intake = intake;
	providers->status = status;
	providers->dns = providers_resolver(base);
	providers->start = evtimer_new(base, providers_start, providers);
	if (!providers->dns || !providers->start) {
		providers_free(&providers);
		return NULL;
	}
	providers_schedule(providers, 0);
	return providers;
}

void
providers_free(struct providers **providers)
{
	struct providers *old = *providers;

	*providers = NULL;
	if (!old)
		return;
	syncrepl_free(&old->syncrepl);
	watch_free(&old->watch);
	if (old->start)
		event_free(old->start);
	if (old->dns)
		evdns_base_free(old->dns, 0);
	free(old);
}

void
providers_hurry(struct providers *providers)
{
	if (!providers->syncrepl)
		providers_schedule(providers, 0);
	else if (providers->following && providers->outcome != INTAKE_IN_STEP)
		syncrepl_stop(providers->syncrepl, SYNCREPL_RELOAD,
		    "asked to look again");
}
