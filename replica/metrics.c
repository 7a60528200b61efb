#include "replica/metrics.h"

#include "daemon/exposition.h"
#include "lib/timestamp.h"
#include "replica/clock.h"

#define TEXT_SIZE_MAX ((size_t)64 * 1024)

static int
read_status(
    struct replica *replica, struct buf *store, struct replica_status *status)
{
	const char *why;

	*status = (struct replica_status){ 0 };
	return replica ? replica_status(replica, store, status, &why) : -1;
}

static void
add_moment(
    struct buf *out, const char *name, const char *help, int64_t moment_us)
{
	exposition_head(out, name, "gauge", help);
	exposition_seconds(out, name, "", NULL, 0, moment_us);
}

/* "20261122080000.123456Z#000000#001#000000": one for each server that ever
 * wrote, by its sid. */
static void
add_csns(struct buf *out, struct slice csns)
{
	static const char name[] = "postcell_replica_csn_timestamp_seconds";
	struct slice csn, rest = csns;

	/* A file has none. */
	if (csns.size == 0)
		return;
	exposition_head(out, name, "gauge",
	    "When the last change was made that it has of a server, by its sid.");
	while (slice_next_word(&rest, ' ', &csn)) {
		struct exposition_label sid = { "sid", slice_from("") };
		struct slice parts = csn, moment, count;
		int64_t moment_us;

		if (slice_next_word(&parts, '#', &moment) &&
		    slice_next_word(&parts, '#', &count) &&
		    slice_next_word(&parts, '#', &sid.value) &&
		    timestamp_parse(moment, &moment_us) == 0)
			exposition_seconds(out, name, "", &sid, 1, moment_us);
	}
}

static void
add_source(struct buf *out, struct slice source)
{
	static const char name[] = "postcell_replica_source_info";
	struct exposition_label label = { "source", source };

	exposition_head(out, name, "gauge",
	    "Always 1; the label is the directory server, or the file, in use.");
	exposition_value(out, name, "", &label, 1, 1);
}

/* What the newest value says; it may still be on its way to some accounts. */
static enum host_state
newest_state(const struct host *host)
{
	return host->transition_count > 0
		   ? host->transitions[host->transition_count - 1].state
		   : host->state;
}

/* A value for each state, one of them 1: it can be summed and alarmed on. */
static void
add_hosts(struct buf *out, struct replica *replica)
{
	static const char name[] = "postcell_cell_host_state";
	const struct host *hosts;
	uint64_t generation;
	struct cell *cell;
	const char *why;
	size_t count;

	if (replica_cell(replica, &cell, &generation, &why) < 0)
		return;
	hosts = cell_hosts(cell, &count);
	exposition_head(out, name, "gauge",
	    "1 for the state that a host has by its newest transition.");
	for (size_t i = 0; i < count; i++) {
		for (unsigned k = HOST_UP; k <= HOST_FAILED; k++) {
			enum host_state state = (enum host_state)k;
			struct exposition_label labels[] = {
				{ "kind",
				    slice_from(host_kind_text(hosts[i].kind)) },
				{ "name", hosts[i].name },
				{ "state", slice_from(host_state_text(state)) },
			};

			exposition_value(out, name, "", labels,
			    ARRAY_SIZE(labels),
			    newest_state(&hosts[i]) == state);
		}
	}
	cell_free(&cell);
}

void
replica_metrics_add(struct buf *out, struct replica *replica)
{
	struct buf store = buf_bounded(TEXT_SIZE_MAX);
	struct replica_status status;
	int readable = read_status(replica, &store, &status);

	exposition_gauge(out, "postcell_replica_readable",
	    "Whether the replica can be read.", readable == 0);
	if (readable == 0) {
		exposition_gauge(out, "postcell_replica_complete",
		    "Whether it was ever filled.", status.complete);
		exposition_gauge(out, "postcell_replica_connected",
		    "Whether it follows a directory server.",
		    slice_starts_nocase(status.state, "connected"));
		exposition_gauge(out, "postcell_replica_accounts",
		    "Accounts in the replica.", (int64_t)status.accounts);
		exposition_gauge(out, "postcell_replica_hosts",
		    "Servers, proxies and other hosts in the replica.",
		    (int64_t)status.hosts);
		add_source(out, status.source);
		add_csns(out, status.csn);
		add_moment(out, "postcell_replica_contact_timestamp_seconds",
		    "When a directory server last was seen in step with it.",
		    status.contact_us);
		add_moment(out, "postcell_replica_filled_timestamp_seconds",
		    "When it was last filled whole.", status.filled_us);
		if (status.lag_us >= 0)
			add_moment(out, "postcell_replica_lag_seconds",
			    "How late the last change came.", status.lag_us);
		exposition_gauge(out, "postcell_replica_size_bytes",
		    "Size of its file in use.", (int64_t)status.size);
		exposition_gauge(out, "postcell_replica_size_max_bytes",
		    "Bound on that size.", (int64_t)status.size_max);
	}
	buf_free(&store);
	if (readable == 0)
		add_hosts(out, replica);
}

const char *
replica_is_stale(struct replica *replica, int64_t stale_us)
{
	struct buf store = buf_bounded(TEXT_SIZE_MAX);
	struct replica_status status;
	const char *why = NULL;

	if (read_status(replica, &store, &status) < 0)
		why = "the replica cannot be read";
	else if (!status.complete)
		why = "the replica was never filled";
	else if (clock_realtime_us() - status.contact_us > stale_us)
		why = "the replica is stale: no directory server in step";
	buf_free(&store);
	return why;
}
