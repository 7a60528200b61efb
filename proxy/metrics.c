#include "proxy/metrics.h"

#include <stdio.h>
#include <string.h>

#include "daemon/exposition.h"
#include "replica/metrics.h"

/* ---- counters ---- */

#define FAILURES    "postcell_proxy_login_failures_total"
#define TURNED_AWAY "postcell_proxy_connection_failures_total"

/* Whose it is: of which services there is a row. */
enum counter_scope {
	OF_ALL,
	OF_LOGINS, /* services where one logs in */
	OF_MAIL    /* the others */
};

/* Rows of one name stand for one metric, with a label each. */
static const struct counter_row {
	enum counter_scope scope;
	const char *name, *label, *value, *help;
} counter_rows[] = {
	[STATS_ACCEPTED] = { OF_ALL, "postcell_proxy_connections_total", NULL,
	    NULL, "Connections that were accepted." },
	[STATS_SESSIONS] = { OF_ALL, "postcell_proxy_sessions", NULL, NULL,
	    "Sessions that are there, logged in or not." },
	[STATS_LOGGED_IN] = { OF_LOGINS, "postcell_proxy_sessions_logged_in",
	    NULL, NULL, "Sessions that are logged in." },
	[STATS_LOGINS] = { OF_LOGINS, "postcell_proxy_logins_total", NULL, NULL,
	    "Logins that ended well." },
	[STATS_REFUSED] = { OF_LOGINS, FAILURES, "reason", "refused",
	    "Logins that failed." },
	[STATS_UNKNOWN] = { OF_LOGINS, FAILURES, "reason", "unknown", NULL },
	[STATS_FAILED] = { OF_LOGINS, "postcell_proxy_login_guesses_total",
	    NULL, NULL, "Wrong credentials, unknown users included." },
	[STATS_BLOCKED] = { OF_LOGINS,
	    "postcell_proxy_login_guesses_untried_total", NULL, NULL,
	    "Of these, what was not tried after too many." },
	[STATS_VERIFIED] = { OF_LOGINS, "postcell_proxy_logins_verified_total",
	    NULL, NULL, "Credentials that this proxy verified." },
	[STATS_UNAVAILABLE] = { OF_LOGINS, FAILURES, "reason", "unavailable",
	    NULL },
	[STATS_LIMITED_USER] = { OF_LOGINS, FAILURES, "reason", "user_sessions",
	    NULL },
	[STATS_MOVED] = { OF_ALL, "postcell_proxy_moves_total", NULL, NULL,
	    "Sessions ended, logins and mail led elsewhere, by a move." },
	[STATS_RETRIED] = { OF_LOGINS, "postcell_proxy_login_retries_total",
	    NULL, NULL, "Logins tried again after their server failed." },
	[STATS_TLS_FAILED] = { OF_ALL, TURNED_AWAY, "reason", "tls",
	    "Connections that ended before a session." },
	[STATS_HEADER_REFUSED] = { OF_ALL, TURNED_AWAY, "reason",
	    "proxy_header", NULL },
	[STATS_LIMITED_ADDRESS] = { OF_ALL, TURNED_AWAY, "reason",
	    "address_sessions", NULL },
	[STATS_LIMITED_WAITING] = { OF_ALL, TURNED_AWAY, "reason",
	    "address_waiting", NULL },
	[STATS_LIMITED_MEMORY] = { OF_LOGINS, TURNED_AWAY, "reason",
	    "login_memory", NULL },
	[STATS_UNCOUNTED] = { OF_ALL, "postcell_proxy_uncounted_total", NULL,
	    NULL, "Sessions that limits did not count for want of room." },
	[STATS_LOGIN_MEMORY] = { OF_LOGINS, "postcell_proxy_login_memory_bytes",
	    NULL, NULL, "Memory of sessions that have not logged in." },
	[STATS_BYTES_IN] = { OF_ALL,
	    "postcell_proxy_client_received_bytes_total", NULL, NULL,
	    "Octets from clients after their logins, and of mail." },
	[STATS_BYTES_OUT] = { OF_LOGINS,
	    "postcell_proxy_client_sent_bytes_total", NULL, NULL,
	    "Octets to clients after their logins." },
	[STATS_MESSAGES] = { OF_MAIL, "postcell_proxy_messages_total", NULL,
	    NULL, "Messages of hubs that servers answered." },
};

_Static_assert(
    ARRAY_SIZE(counter_rows) == STATS_COUNTER_COUNT, "a row for each");

static bool
is_in_scope(enum counter_scope scope, enum service_kind service)
{
	bool is_mail = service == SERVICE_LMTP || service == SERVICE_SMTP;

	return scope == OF_ALL || (scope == OF_MAIL) == is_mail;
}

/* For each service that is listened for, or was before a reload. */
static void
add_counter(struct buf *out, const struct metrics_sources *sources,
    const struct counter_row *row)
{
	enum stats_counter counter = (enum stats_counter)(row - counter_rows);

	for (unsigned i = 0; i < STATS_SERVICES; i++) {
		enum service_kind service = (enum service_kind)i;
		uint64_t value =
		    stats_total_of(sources->stats, service, counter);
		struct exposition_label labels[] = {
			{ "service", slice_from(service_kind_text(service)) },
			{ row->label, slice_from(row->value) },
		};

		if (is_in_scope(row->scope, service) &&
		    (value > 0 || config_listens(sources->config, service)))
			exposition_value(out, row->name, "", labels,
			    row->label ? 2 : 1, (int64_t)value);
	}
}

/* A metric, when this is its first row. */
static void
add_counters_from(
    struct buf *out, const struct metrics_sources *sources, unsigned first)
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
			add_counter(out, sources, &counter_rows[i]);
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
metrics_add(struct buf *out, void *context)
{
	const struct metrics_sources *sources = context;

	add_process(out, sources);
	for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++)
		add_counters_from(out, sources, i);
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
metrics_unhealthy(void *context)
{
	const struct metrics_sources *sources = context;

	if (count_relays(sources->stats, true) == 0)
		return "no relay serves";
	return replica_is_stale(sources->replica,
	    (int64_t)sources->config->metrics.stale_time * 1000000);
}
