#include "replica/watch.h"

#include <stdlib.h>

#include <event2/event.h>

#include "replica/clock.h"

struct watch {
	struct connection *connection; /* owned */
	struct watch_events events;
	void *context;       /* borrowed */
	const char *suffix;  /* borrowed */
	struct event *timer; /* owned: the next question, or the deadline */
	int message_id;      /* -1: nothing is asked */
	struct csn_vector vector;
};

static void
watch_schedule(struct watch *watch, int delay_ms)
{
	struct timeval delay = { delay_ms / 1000,
		(suseconds_t)(delay_ms % 1000) * 1000 };

	if (evtimer_add(watch->timer, &delay) != 0)
		connection_fail(watch->connection, "out of memory");
}

static void
watch_ask(struct watch *watch)
{
	char name[] = "contextCSN";
	char *names[] = { name, NULL };
	int code = ldap_search_ext(connection_ldap(watch->connection),
	    watch->suffix, LDAP_SCOPE_BASE, "(objectClass=*)", names, 0, NULL,
	    NULL, NULL, 0, &watch->message_id);

	if (code != LDAP_SUCCESS) {
		watch->message_id = -1;
		connection_fail(watch->connection, ldap_err2string(code));
		return;
	}
	csn_vector_clear(&watch->vector);
	watch_schedule(watch, WATCH_SILENCE_MS);
}

static void
watch_timer(evutil_socket_t fd, short what, void *context)
{
	struct watch *watch = context;

	(void)fd;
	(void)what;
	if (watch->message_id < 0) {
		watch_ask(watch);
		return;
	}
	/* If the delay was ours, the answer lies there. */
	connection_poll(watch->connection);
	if (watch->message_id < 0)
		return;
	if (watch->events.is_heard(watch->context))
		watch_schedule(watch, WATCH_SILENCE_MS);
	else
		connection_fail(watch->connection, "the provider is silent");
}

static void
watch_ready(void *context)
{
	watch_ask(context);
}

static void
watch_take_entry(struct watch *watch, LDAPMessage *message)
{
	struct berval **values = ldap_get_values_len(
	    connection_ldap(watch->connection), message, "contextCSN");

	for (size_t i = 0; values && values[i]; i++)
		(void)csn_vector_add(&watch->vector,
		    slice_of(values[i]->bv_val, values[i]->bv_len));
	ldap_value_free_len(values);
}

static void
watch_message(void *context, LDAPMessage *message)
{
	struct watch *watch = context;

	if (ldap_msgid(message) != watch->message_id)
		return;
	if (ldap_msgtype(message) == LDAP_RES_SEARCH_ENTRY) {
		watch_take_entry(watch, message);
	} else if (ldap_msgtype(message) == LDAP_RES_SEARCH_RESULT) {
		watch->message_id = -1;
		watch_schedule(watch, WATCH_INTERVAL_MS);
		watch->events.vector(watch->context, &watch->vector);
	}
}

static void
watch_turn(void *context)
{
	(void)context;
}

static void
watch_failed(void *context, const char *why)
{
	struct watch *watch = context;

	watch->events.ended(watch->context, why);
}

struct watch *
watch_new(struct event_base *base, struct evdns_base *dns,
    const struct connection_options *options, const char *suffix,
    const struct watch_events *events, void *context)
{
	static const struct connection_events connection_events = {
		.ready = watch_ready,
		.message = watch_message,
		.turn = watch_turn,
		.failed = watch_failed,
	};
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->events = *events;
	watch->context = context;
	watch->suffix = suffix;
	watch->message_id = -1;
	watch->timer = evtimer_new(base, watch_timer, watch);
	if (watch->timer)
		watch->connection = connection_new(
		    base, dns, options, &connection_events, watch);
	if (!watch->connection)
		watch_free(&watch);
	return watch;
}

void
watch_free(struct watch **watch)
{
	struct watch *old = *watch;

	*watch = NULL;
	if (!old)
		return;
	if (old->timer)
		event_free(old->timer);
	connection_free(&old->connection);
	free(old);
}
