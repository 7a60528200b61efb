#include "proxy/metrics.h"

#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/http.h>

#include "daemon/exposition.h"
#include "replica/metrics.h"

#define SIZE_MAX_OCTETS (16UL * 1024 * 1024) /* of all metrics */
#define HEADERS_MAX     8192                 /* octets of a request */
#define PATIENCE        10                   /* s for a request */

/* ---- counters ---- */

/* Rows of one name stand for one metric, with a label each. */
static const struct counter_row {
	const char *name, *label, *value, *help;
} counter_rows[] = {
	[STATS_ACCEPTED] = { "postcell_proxy_connections_total", NULL, NULL,
	    "Connections that were accepted." },
	[STATS_SESSIONS] = { "postcell_proxy_sessions", NULL, NULL,
	    "Sessions that are there, logged in or not." },
	[STATS_LOGGED_IN] = { "postcell_proxy_sessions_logged_in", NULL, NULL,
	    "Sessions that are logged in." },
	[STATS_LOGINS] = { "postcell_proxy_logins_total", NULL, NULL,
	    "Logins that ended well." },
	[STATS_REFUSED] = { "postcell_proxy_login_failures_total", "reason",
	    "refused", "Logins that failed." },
	[STATS_UNKNOWN] = { "postcell_proxy_login_failures_total", "reason",
	    "unknown", NULL },
	[STATS_FAILED] = { "postcell_proxy_login_guesses_total", NULL, NULL,
	    "Wrong credentials, unknown users included." },
	[STATS_BLOCKED] = { "postcell_proxy_login_guesses_untried_total", NULL,
	    NULL, "Of these, what was not tried after too many." },
	[STATS_VERIFIED] = { "postcell_proxy_logins_verified_total", NULL, NULL,
	    "Credentials that this proxy verified." },
	[STATS_UNAVAILABLE] = { "postcell_proxy_login_failures_total", "reason",
	    "unavailable", NULL },
	[STATS_LIMITED_USER] = { "postcell_proxy_login_failures_total",
	    "reason", "user_sessions", NULL },
	[STATS_MOVED] = { "postcell_proxy_moves_total", NULL, NULL,
	    "Sessions ended, or logins led elsewhere, by a move." },
	[STATS_RETRIED] = { "postcell_proxy_login_retries_total", NULL, NULL,
	    "Logins tried again after their server failed." },
	[STATS_TLS_FAILED] = { "postcell_proxy_connection_failures_total",
	    "reason", "tls", "Connections that ended before a session." },
	[STATS_HEADER_REFUSED] = { "postcell_proxy_connection_failures_total",
	    "reason", "proxy_header", NULL },
	[STATS_LIMITED_ADDRESS] = { "postcell_proxy_connection_failures_total",
	    "reason", "address_sessions", NULL },
	[STATS_LIMITED_WAITING] = { "postcell_proxy_connection_failures_total",
	    "reason", "address_waiting", NULL },
	[STATS_LIMITED_MEMORY] = { "postcell_proxy_connection_failures_total",
	    "reason", "login_memory", NULL },
	[STATS_UNCOUNTED] = { "postcell_proxy_uncounted_total", NULL, NULL,
	    "Sessions that limits did not count for want of room." },
	[STATS_LOGIN_MEMORY] = { "postcell_proxy_login_memory_bytes", NULL,
	    NULL, "Memory of sessions that have not logged in." },
	[STATS_BYTES_IN] = { "postcell_proxy_client_received_bytes_total", NULL,
	    NULL, "Octets from clients after their logins." },
	[STATS_BYTES_OUT] = { "postcell_proxy_client_sent_bytes_total", NULL,
	    NULL, "Octets to clients after their logins." },
};

_Static_assert(
    ARRAY_SIZE(counter_rows) == STATS_COUNTER_COUNT, "a row for each");

static void
add_counter(
    struct buf *out, const struct stats *stats, const struct counter_row *row)
{
	enum stats_counter counter = (enum stats_counter)(row - counter_rows);
	struct exposition_label label = { row->label, slice_from(row->value) };

	exposition_value(out, row->name, "", &label, row->label ? 1 : 0,
	    (int64_t)stats_total(stats, counter));
}

/* A metric, when this is its first row. */
static void
add_counters_from(struct buf *out, const struct stats *stats, unsigned first)
{
	const char *name = counter_rows[first].name;

	for (unsigned i = 0; i < first; i++)
		if (strcmp(counter_rows[i].name, name) == 0)
			return;
	exposition_head(out, name,
	    stats_is_gauge((enum stats_counter)first) ? "gauge" : "counter",
	    counter_rows[first].help);
	for (unsigned i = first; i < STATS_COUNTER_COUNT; i++)
		if (strcmp(counter_rows[i].name, name) == 0)
			add_counter(out, stats, &counter_rows[i]);
}

/* ---- phases of logins ---- */

static void
add_phase(struct buf *out, const struct stats *stats, enum stats_phase phase)
{
	static const char name[] = "postcell_proxy_login_phase_seconds";
	static const char *const phases[] = {
		[STATS_PHASE_TLS] = "tls",
		[STATS_PHASE_AUTHENTICATE] = "authenticate",
		[STATS_PHASE_CONNECT] = "connect",
		[STATS_PHASE_LOGIN] = "login",
	};
	struct stats_histogram histogram = stats_phase_total(stats, phase);
	struct exposition_label labels[2] = { { "phase",
						  slice_from(phases[phase]) },
		{ "le", slice_from("+Inf") } };
	uint64_t sum = 0;
	char bound[32];

	for (unsigned i = 0; i + 1 < STATS_BUCKETS; i++) {
		sum += histogram.buckets[i];
		(void)snprintf(bound, sizeof(bound), "%g",
		    (double)stats_bucket_us(i) / 1e6);
		labels[1].value = slice_from(bound);
		exposition_value(out, name, "_bucket", labels, 2, (int64_t)sum);
	}
	sum += histogram.buckets[STATS_BUCKETS - 1];
	labels[1].value = slice_from("+Inf");
	exposition_value(out, name, "_bucket", labels, 2, (int64_t)sum);
	exposition_seconds(
	    out, name, "_sum", labels, 1, (int64_t)histogram.sum_us);
	exposition_value(out, name, "_count", labels, 1, (int64_t)sum);
}

/* ---- the rest ---- */

static size_t
count_relays(const struct stats *stats, bool serving)
{
	size_t count = 0;

	for (size_t i = 0; i < STATS_SLOTS; i++)
		count += stats->slots[i].pid > 0 &&
			 (!serving || stats->slots[i].serving);
	return count;
}

static void
add_process(struct buf *out, const struct metrics_sources *sources)
{
	struct exposition_label version = { "version",
		slice_from(POSTCELL_VERSION) };

	exposition_head(out, "postcell_proxy_build_info", "gauge",
	    "Always 1; the version is a label.");
	exposition_value(out, "postcell_proxy_build_info", "", &version, 1, 1);
	exposition_gauge(out, "postcell_proxy_generation",
	    "Reloads so far, and one.", sources->generation);
	exposition_gauge(out, "postcell_proxy_relays",
	    "Relays, those of earlier generations included.",
	    (int64_t)count_relays(sources->stats, false));
	exposition_gauge(out, "postcell_proxy_relays_serving",
	    "Relays that accept clients.",
	    (int64_t)count_relays(sources->stats, true));
}

static void
add_limits(struct buf *out, const struct config_limits *limits)
{
	static const char name[] = "postcell_proxy_limit";

	const struct {
		const char *limit;
		long value;
	} rows[] = {
		{ "sessions", limits->sessions },
		{ "address_sessions", limits->address_sessions },
		{ "address_waiting", limits->address_waiting },
		{ "user_sessions", limits->user_sessions },
	};

	exposition_head(out, name, "gauge",
	    "Limits as configured, sessions for each relay; 0 is none.");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct exposition_label label = { "limit",
			slice_from(rows[i].limit) };

		exposition_value(out, name, "", &label, 1, rows[i].value);
	}
	exposition_gauge(out, "postcell_proxy_login_memory_max_bytes",
	    "Bound on the memory of sessions that have not logged in; 0 is none.",
	    (int64_t)limits->login_memory * 1024 * 1024);
}

static void
add_certificates(struct buf *out, const struct tls_front *front)
{
	static const char name[] =
	    "postcell_proxy_certificate_expiry_timestamp_seconds";

	if (front->certificate_count == 0)
		return;
	exposition_head(out, name, "gauge", "When a certificate expires.");
	for (size_t i = 0; i < front->certificate_count; i++) {
		const struct tls_certificate *certificate =
		    &front->certificates[i];
		struct exposition_label label = { "file",
			slice_from(certificate->file) };

		exposition_value(
		    out, name, "", &label, 1, certificate->not_after);
	}
}

static struct exposition_label
label_of(const json_t *object, const char *name)
{
	return (struct exposition_label){ name,
		slice_from(json_string_value(json_object_get(object, name))) };
}

static bool
is_up(const json_t *object)
{
	const char *opinion =
	    json_string_value(json_object_get(object, "opinion"));

	return opinion && strcmp(opinion, "up") == 0;
}

static void
add_services(
    struct buf *out, const json_t *hosts, const char *name, const char *member)
{
	const json_t *host, *service;
	size_t i, k;

	json_array_foreach(hosts, i, host)
	{
		json_array_foreach(
		    json_object_get(host, "services"), k, service)
		{
			struct exposition_label labels[] = {
				label_of(host, "kind"),
				label_of(host, "name"),
				label_of(service, "service"),
			};
			int64_t time_us =
			    1000 *
			    json_integer_value(json_object_get(service, "ms"));

			if (member)
				exposition_seconds(
				    out, name, "", labels, 3, time_us);
			else
				exposition_value(
				    out, name, "", labels, 3, is_up(service));
		}
	}
}

static void
add_observed(struct buf *out, const struct observer *observer)
{
	static const char up[] = "postcell_proxy_observed_up";
	static const char service[] = "postcell_proxy_observed_service_up";
	static const char took[] = "postcell_proxy_observed_probe_seconds";
	json_t *hosts = observer_describe(observer);
	const json_t *host;
	size_t i;

	exposition_head(
	    out, up, "gauge", "Whether a host seems to be up from here.");
	json_array_foreach(hosts, i, host)
	{
		struct exposition_label labels[] = { label_of(host, "kind"),
			label_of(host, "name") };

		exposition_value(out, up, "", labels, 2, is_up(host));
	}
	exposition_head(out, service, "gauge",
	    "Whether a service of a host seems to be up from here.");
	add_services(out, hosts, service, NULL);
	exposition_head(out, took, "gauge", "How long its last probe took.");
	add_services(out, hosts, took, "ms");
	json_decref(hosts);
}

void
metrics_add(struct buf *out, const struct metrics_sources *sources)
{
	add_process(out, sources);
	for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++)
		add_counters_from(out, sources->stats, i);
	exposition_head(out, "postcell_proxy_login_phase_seconds", "histogram",
	    "How long sessions took from one station of a login to the next.");
	for (unsigned i = 0; i < STATS_PHASE_COUNT; i++)
		add_phase(out, sources->stats, (enum stats_phase)i);
	add_limits(out, &sources->config->limits);
	add_certificates(out, sources->front_tls);
	if (sources->observer)
		add_observed(out, sources->observer);
	replica_metrics_add(out, sources->replica);
}

const char *
metrics_unhealthy(const struct metrics_sources *sources)
{
	if (count_relays(sources->stats, true) == 0)
		return "no relay serves";
	return replica_is_stale(sources->replica,
	    (int64_t)sources->config->metrics.stale_time * 1000000);
}

/* ---- HTTP ---- */

struct metrics_server {
	const struct metrics_sources *sources; /* borrowed */
	struct evhttp *http;                   /* owned */
};

static void
reply(struct evhttp_request *request, int status, const char *reason,
    const char *type, struct slice text)
{
	struct evbuffer *body = evbuffer_new();
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);

	if (!body || evbuffer_add(body, text.data, text.size) < 0 ||
	    evhttp_add_header(headers, "Content-Type", type) < 0)
		abort();
	evhttp_send_reply(request, status, reason, body);
	evbuffer_free(body);
}

static void
on_metrics(struct evhttp_request *request, void *context)
{
	const struct metrics_server *server = context;
	struct buf text = buf_bounded(SIZE_MAX_OCTETS);

	metrics_add(&text, server->sources);
	if (text.failed)
		reply(request, HTTP_INTERNAL, "Internal Server Error",
		    "text/plain", slice_from("too many metrics\n"));
	else
		reply(
		    request, HTTP_OK, "OK", EXPOSITION_TYPE, buf_slice(&text));
	buf_free(&text);
}

static void
on_health(struct evhttp_request *request, void *context)
{
	const struct metrics_server *server = context;
	const char *why = metrics_unhealthy(server->sources);
	struct buf text = buf_bounded(1024);

	buf_printf(&text, "%s\n", why ? why : "ok");
	reply(request, why ? HTTP_SERVUNAVAIL : HTTP_OK,
	    why ? "Service Unavailable" : "OK", "text/plain; charset=utf-8",
	    buf_slice(&text));
	buf_free(&text);
}

struct metrics_server *
metrics_serve(
    struct event_base *base, int fd, const struct metrics_sources *sources)
{
	struct metrics_server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->sources = sources;
	server->http = evhttp_new(base);
	if (!server->http || evhttp_accept_socket(server->http, fd) < 0 ||
	    evhttp_set_cb(server->http, "/metrics", on_metrics, server) < 0 ||
	    evhttp_set_cb(server->http, "/healthz", on_health, server) < 0) {
		metrics_server_free(&server);
		return NULL;
	}
	evhttp_set_allowed_methods(
	    server->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_max_headers_size(server->http, HEADERS_MAX);
	evhttp_set_max_body_size(server->http, 0);
	evhttp_set_timeout(server->http, PATIENCE);
	return server;
}

void
metrics_server_free(struct metrics_server **server)
{
	if (*server && (*server)->http)
		evhttp_free((*server)->http);
	free(*server);
	*server = NULL;
}
