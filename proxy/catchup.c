#include "proxy/catchup.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "proxy/relay.h"
#include "proxy/route.h"
#include "replica/clock.h"
#include "replica/reader.h"

#define CATCHUP_STATUS_MAX ((size_t)64 * 1024)
#define CATCHUP_PAUSE      20 /* ms between two looks */
/* replicad writes of its contact every 5 s when nothing happens. */
#define CATCHUP_CONTACT INT64_C(6000000) /* us */

/* Opened anew for each look: an environment of LMDB must not be open over a
 * fork. */
static bool
is_in_step(const char *path, const char **why)
{
	struct replica *replica = NULL;
	struct buf store = buf_bounded(CATCHUP_STATUS_MAX);
	struct replica_status status = { 0 };
	bool in_step = false;

	if (replica_open(&replica, path, why) == 0 &&
	    replica_status(replica, &store, &status, why) == 0) {
		in_step =
		    status.complete &&
		    slice_starts_nocase(status.state, "connected") &&
		    clock_realtime_us() - status.contact_us < CATCHUP_CONTACT;
		*why = "postcell-replicad has not caught up with the directory";
	}
	buf_free(&store);
	replica_free(&replica);
	return in_step;
}

void
catchup_wait(const struct config *config, const struct log *log, int stop_fd)
{
	int64_t end_ms = relay_now_ms() + config->start_wait * 1000;
	struct pollfd stop = { .fd = stop_fd, .events = POLLIN };
	const char *why = "";
	bool told = false;

	while (!is_in_step(config->replica, &why)) {
		if (relay_now_ms() >= end_ms) {
			log_why(log, LOG_LEVEL_WARNING, "replica_old", why);
			return;
		}
		if (!told)
			log_why(
			    log, LOG_LEVEL_INFO, "waiting_for_replica", why);
		told = true;
		if (poll(&stop, 1, CATCHUP_PAUSE) > 0)
			return;
	}
}
