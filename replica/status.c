#include "replica/status.h"

#include <stdio.h>
#include <string.h>

#include "replica/clock.h"

/* A commit is a write to disk: seldom on an idle host. */
#define STATUS_CONTACT_US     INT64_C(5000000)
#define STATUS_CONTACT_MIN_US INT64_C(500000)

int
status_init(struct status *status, struct store *store, const struct log *log,
    int64_t stale_after_us, const char **why)
{
	struct store_cookie cookie;
	struct layout_gate gate;

	memset(status, 0, sizeof(*status));
	status->store = store;
	status->log = log;
	status->stale_after_us = stale_after_us;
	status->lag_us = -1;
	if (store_begin(store, why) != 0)
		return -1;
	if (store_get_gate(store, &gate, why) != 0 ||
	    store_get_cookie(store, &cookie, why) != 0 ||
	    store_get_filled(store, &status->filled_us, why) != 0) {
		store_abort(store);
		return -1;
	}
	store_abort(store);
	status->complete = gate.complete;
	status->contact_us = gate.contact_us;
	status->vector = cookie.vector;
	return 0;
}

int
status_put(struct status *status, const char **why)
{
	struct layout_gate gate = {
		.complete = status->complete,
		.contact_us = status->contact_us,
		.stale_after_us = status->stale_after_us,
	};
	struct store_status text = {
		.source = slice_from(status->source),
		.state = slice_from(status->state),
		.vector = &status->vector,
		.filled_us = status->filled_us,
		.lag_us = status->lag_us,
	};

	if (store_put_gate(status->store, &gate, why) != 0 ||
	    store_put_status(status->store, &text, why) != 0)
		return -1;
	status->written_us = status->contact_us;
	return 0;
}

void
status_write(struct status *status)
{
	const char *why;

	/* Whoever has a transaction open puts the status into it at its end. */
	if (store_is_open(status->store))
		return;
	if (store_begin(status->store, &why) != 0) {
		log_why(status->log, LOG_LEVEL_ERROR, "status_lost", why);
		return;
	}
	if (status_put(status, &why) != 0) {
		store_abort(status->store);
		log_why(status->log, LOG_LEVEL_ERROR, "status_lost", why);
	} else if (store_commit(status->store, &why) != 0) {
		log_why(status->log, LOG_LEVEL_ERROR, "status_lost", why);
	}
}

void
status_set_source(struct status *status, const char *source)
{
	(void)snprintf(status->source, sizeof(status->source), "%s", source);
}

void
status_set_state(struct status *status, const char *state, const char *why)
{
	char text[STATUS_TEXT_SIZE];

	(void)snprintf(text, sizeof(text), "%s%s%s", state, why ? ": " : "",
	    why ? why : "");
	if (strcmp(text, status->state) == 0)
		return;
	memcpy(status->state, text, sizeof(text));
	status_write(status);
}

void
status_contact(struct status *status)
{
	int64_t interval_us = STATUS_CONTACT_US;

	status->contact_us = clock_realtime_us();
	if (status->stale_after_us > 0 &&
	    status->stale_after_us / 4 < interval_us)
		interval_us = status->stale_after_us / 4;
	if (interval_us < STATUS_CONTACT_MIN_US)
		interval_us = STATUS_CONTACT_MIN_US;
	if (status->contact_us - status->written_us >= interval_us ||
	    status->contact_us < status->written_us)
		status_write(status);
}
