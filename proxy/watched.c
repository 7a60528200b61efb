#include "proxy/watched.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/observer_state.h"
#include "replica/clock.h"

#define WATCHED_DEEP_EVERY 10 /* rounds, for what is costly */

int
watched_family_of(struct slice host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (host.size == 0 || host.size >= sizeof(text))
		return 0;
	memcpy(text, host.data, host.size);
	text[host.size] = '\0';
	if (inet_pton(AF_INET, text, &address) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, text, &address) == 1 ? AF_INET6 : 0;
}

static void
log_opinion(const struct watched *watched, int64_t after_ms)
{
	const struct target *target = watched->target;
	const struct observed *observed = &watched->observed;
	struct log_line line =
	    log_line(observed->opinion == OPINION_UP ? LOG_LEVEL_INFO
						     : LOG_LEVEL_WARNING,
		"observed");

	log_word(&line, "kind", host_kind_text(target->kind));
	log_text(&line, "name", buf_slice(&target->name));
	log_word(&line, "service", service_kind_text(watched->service.kind));
	if (watched->family != 0)
		log_word(&line, "family",
		    vote_family_text(
			watched->family == AF_INET6 ? VOTE_IPV6 : VOTE_IPV4));
	log_word(&line, "opinion", opinion_text(observed->opinion));
	log_number(&line, "after_ms", after_ms);
	log_string(&line, "why", watched->why);
	log_send(target->observer->log, &line);
}

static void
on_probed(void *context, enum probe_result result, const char *why)
{
	struct watched *watched = context;
	struct target *target = watched->target;
	struct observer *observer = target->observer;
	int64_t now_ms = clock_monotonic_ms();

	probe_free(&watched->probe);
	watched->took_ms = (long)(now_ms - watched->began_ms);
	watched->why = why;
	/* What failed in depth has to come good in depth. */
	watched->failed_depth =
	    result == PROBE_GOOD ? PROBE_CONNECT : watched->depth;
	if (observe_result(
		&watched->observed, &observer->settings, result, now_ms))
		log_opinion(watched, watched->took_ms);
	observer_sum_up(target);
}

static void
keep_family(struct address_list *list, int family)
{
	size_t count = 0;

	for (size_t i = 0; i < list->count; i++)
		if (list->addresses[i].any.sa_family == family)
			list->addresses[count++] = list->addresses[i];
	list->count = count;
}

static void
on_resolved(void *context, const struct address_list *list, const char *why)
{
	struct watched *watched = context;
	struct address_list found = *list;

	(void)why;
	watched->query = NULL;
	watched->resolved = true;
	if (watched->family != 0)
		keep_family(&found, watched->family);
	/* Without an answer the addresses of before have to do. */
	if (list->count > 0)
		watched->addresses = found;
}

static bool
can_log_in(const struct observer *observer, const struct target *target,
    enum service_kind kind)
{
	return observer->config->probe.user && target->kind == HOST_SERVER &&
	       target->services[kind].there && probe_can_log_in(kind);
}

/* The one by which a server shows each time that its mail store works. */
static bool
is_first_login(const struct observer *observer, const struct target *target,
    enum service_kind kind)
{
	unsigned first = 0;

	while (first < kind &&
	       !can_log_in(observer, target, (enum service_kind)first))
		first++;
	return first == kind && can_log_in(observer, target, kind);
}

static enum probe_depth
choose_depth(const struct observer *observer, struct watched *watched)
{
	enum service_kind kind = watched->service.kind;
	bool deep;

	watched->round++;
	if (watched->family != 0)
		return PROBE_CONNECT;
	if (is_first_login(observer, watched->target, kind))
		return PROBE_LOGIN;
	deep = (watched->round + kind) % WATCHED_DEEP_EVERY == 0;
	if (deep && can_log_in(observer, watched->target, kind))
		return PROBE_LOGIN;
	if (deep && watched->service.tls != SERVICE_TLS_NONE)
		return PROBE_TLS;
	return watched->failed_depth;
}

static void
begin_probe(struct watched *watched, int64_t now_ms)
{
	struct observer *observer = watched->target->observer;
	struct probe_request request = {
		.kind = watched->service.kind,
		.tls = watched->service.tls,
		.proxy_header = watched->service.proxy_header,
		.port = watched->service.port,
		.name = observer->config->host_name,
		.host = watched->host,
		.addresses = &watched->addresses,
		.context = observer->context,
		.credentials = &watched->target->credentials,
		.timeout_ms = observer->config->probe.timeout,
		.one_family = watched->family != 0,
	};

	if (!watched->query)
		watched->query = resolve(
		    observer->resolver, watched->host, on_resolved, watched);
	watched->next_ms = now_ms + observer->config->probe.interval;
	if (watched->addresses.count == 0)
		return;
	request.depth = watched->depth = choose_depth(observer, watched);
	watched->began_ms = now_ms;
	watched->probe =
	    probe_new(observer->base, &request, on_probed, watched);
}

void
watched_probe_due(struct watched *services, int64_t now_ms)
{
	for (unsigned i = 0; i < SERVICE_KIND_COUNT; i++) {
		struct watched *watched = &services[i];

		if (watched->there && !watched->probe &&
		    watched->next_ms <= now_ms)
			begin_probe(watched, now_ms);
	}
}

void
watched_drop(struct watched *watched)
{
	probe_free(&watched->probe);
	resolve_cancel(&watched->query);
	buf_free(&watched->url);
	*watched = (struct watched){ 0 };
}

void
watched_set(struct watched *watched, struct target *target,
    const struct service *service, int family)
{
	struct buf url = buf_bounded(WATCHED_HOST_SIZE + 32);

	buf_printf(&url, "%.*s %u %d %d", SLICE_ARGS(service->host),
	    service->port, (int)service->tls, service->proxy_header);
	if (watched->there &&
	    slice_equal(buf_slice(&url), buf_slice(&watched->url))) {
		buf_free(&url);
		return;
	}
	watched_drop(watched);
	if (url.failed || service->host.size >= sizeof(watched->host)) {
		buf_free(&url);
		return;
	}
	watched->there = true;
	watched->url = url;
	watched->service = *service;
	watched->target = target;
	watched->family = family;
	watched->why = "not tried yet";
	memcpy(watched->host, service->host.data, service->host.size);
	watched->service.host = slice_from(watched->host);
}

json_t *
watched_describe(const struct watched *watched)
{
	return json_pack("{s:s, s:s, s:s, s:I}", "service",
	    service_kind_text(watched->service.kind), "opinion",
	    opinion_text(watched->observed.opinion), "why", watched->why, "ms",
	    (json_int_t)watched->took_ms);
}
