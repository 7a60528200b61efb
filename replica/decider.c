#include "replica/decider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/dns.h>
#include <event2/event.h>

#include "lib/record.h"
#include "replica/clock.h"
#include "replica/hook.h"
#include "replica/map.h"
#include "replica/providers.h"

#define DECIDER_TICK_US    100000
#define DECIDER_PAUSE_MS   500     /* before a provider is tried again */
#define DECIDER_FRESH_US   3000000 /* a replica out of step longer waits */
#define DECIDER_SETTLE_MS  3000 /* that a value may take to come back to us */
#define DECIDER_PING_MS    1000 /* how often a provider is asked for a sign */
#define DECIDER_DN_SIZE    4096
#define DECIDER_TEXT_SIZE  256
#define DECIDER_VALUES_MAX 64 /* of one modify; more are deleted next time */

/* One decision on its way into the directory and back to us by the replica. */
struct write {
	enum host_kind kind;
	enum decision_kind decision;
	struct buf name, dn, text; /* owned; text: the value to add */
	struct transition value;
	char **deleted; /* owned: values to delete, ends in NULL */
	unsigned votes, observers;
	const char *why;
	int message_id;    /* -1: not sent, or answered */
	int64_t settle_ms; /* answered: until then nothing new is written */
	struct write *next;
};

struct decider {
	struct event_base *base; /* borrowed */
	struct evdns_base *dns;  /* owned */
	struct decider_options options;
	struct store *store;           /* borrowed */
	const struct status *status;   /* borrowed */
	struct decide *decide;         /* owned */
	struct cell *cell;             /* owned; NULL until the first look */
	struct hook *hook;             /* owned; NULL without on_move */
	struct event *tick, *wake;     /* owned */
	bool stale;                    /* the map has changed */
	struct connection *connection; /* owned; NULL while there is none */
	size_t current;                /* which provider it goes to */
	bool ready;
	int64_t connect_from_ms; /* not before */
	int ping_id;             /* -1: none is under way */
	int64_t ping_ms;         /* when it was sent, or the last answered */
	struct write *writes;    /* owned */
};

/* ---- writes ---- */

static void
write_free(struct write *write)
{
	buf_free(&write->name);
	buf_free(&write->dn);
	buf_free(&write->text);
	for (size_t i = 0; write->deleted && write->deleted[i]; i++)
		free(write->deleted[i]);
	free((void *)write->deleted);
	free(write);
}

static void
decider_drop(struct decider *decider, struct write *write)
{
	struct write **link = &decider->writes;

	while (*link && *link != write)
		link = &(*link)->next;
	if (*link)
		*link = write->next;
	write_free(write);
}

static struct write *
decider_find(const struct decider *decider, const struct host *host)
{
	struct write *write = decider->writes;

	while (write && (write->kind != host->kind ||
			    !slice_equal(buf_slice(&write->name), host->name)))
		write = write->next;
	return write;
}

static void
decider_log(const struct decider *decider, enum log_level level,
    const char *event, const struct write *write, const char *why)
{
	struct log_line line = log_line(level, event);

	log_word(&line, "kind", host_kind_text(write->kind));
	log_text(&line, "name", buf_slice(&write->name));
	log_word(&line, "decision", decision_kind_text(write->decision));
	log_text(&line, "value", buf_slice(&write->text));
	log_number(&line, "votes", write->votes);
	log_number(&line, "observers", write->observers);
	log_string(&line, "provider", decider->options.urls[decider->current]);
	log_string(&line, "why", why);
	log_send(decider->status->log, &line);
}

static int
write_list_deleted(
    struct write *write, const struct host *host, const struct change *change)
{
	size_t first_ahead = host->transition_count - change->ahead;
	size_t count = 0;

	write->deleted = calloc(DECIDER_VALUES_MAX + 1, sizeof(char *));
	if (!write->deleted)
		return -1;
	for (size_t i = 0;
	     i < host->transition_count && count < DECIDER_VALUES_MAX; i++) {
		struct slice text = host->transitions[i].text;

		if (i >= change->passed && i < first_ahead)
			continue;
		write->deleted[count] = strndup(text.data, text.size);
		if (!write->deleted[count++])
			return -1;
	}
	return 0;
}

static struct write *
write_new(const struct decision *decision)
{
	struct write *write = calloc(1, sizeof(*write));

	if (!write)
		return NULL;
	write->kind = decision->host->kind;
	write->decision = decision->kind;
	write->value = decision->change.value;
	write->votes = decision->votes;
	write->observers = decision->observers;
	write->why = decision->why;
	write->message_id = -1;
	write->name = buf_bounded(DECIDER_DN_SIZE);
	write->dn = buf_bounded(DECIDER_DN_SIZE);
	write->text = buf_bounded(DECIDER_TEXT_SIZE);
	(void)buf_add_slice(&write->name, decision->host->name);
	(void)buf_add_slice(
	    &write->dn, record_value(decision->host->record, CELL_DN));
	(void)transition_format(&write->text, &write->value);
	if (write->name.failed || write->dn.failed || write->text.failed ||
	    write_list_deleted(write, decision->host, &decision->change) != 0) {
		write_free(write);
		return NULL;
	}
	return write;
}

/* Nothing more is sent; decider_failed() will be told. */
static void
decider_break(struct decider *decider, const char *why)
{
	decider->ready = false;
	connection_fail(decider->connection, why);
}

/* 0, or -1 after the connection failed. */
static int
decider_send(struct decider *decider, struct write *write)
{
	char *added[] = { write->text.data, NULL };
	char attribute[] = "postcellTransition";
	LDAPMod add = { .mod_op = LDAP_MOD_ADD,
		.mod_type = attribute,
		.mod_vals.modv_strvals = added };
	LDAPMod delete = { .mod_op = LDAP_MOD_DELETE,
		.mod_type = attribute,
		.mod_vals.modv_strvals = write->deleted };
	LDAPMod *mods[] = { &add, NULL, NULL };
	int code;

	if (write->deleted && write->deleted[0])
		mods[1] = &delete;
	code = ldap_modify_ext(connection_ldap(decider->connection),
	    buf_string(&write->dn), mods, NULL, NULL, &write->message_id);
	if (code == LDAP_SUCCESS)
		return 0;
	write->message_id = -1;
	decider_break(decider, ldap_err2string(code));
	return -1;
}

static void
decider_run_hook(const struct decider *decider, const struct write *write)
{
	char weight[16], kind[16], state[16], why[16];
	char *path = strdup(decider->options.on_move);
	char *name = strdup(buf_string(&write->name));
	char *argv[] = { path, kind, name, state, weight, why, NULL };

	(void)snprintf(kind, sizeof(kind), "%s", host_kind_text(write->kind));
	(void)snprintf(
	    state, sizeof(state), "%s", host_state_text(write->value.state));
	(void)snprintf(weight, sizeof(weight), "%u", write->value.weight);
	(void)snprintf(
	    why, sizeof(why), "%s", decision_kind_text(write->decision));
	if (path && name)
		hook_run(decider->hook, argv);
	free(path);
	free(name);
}

/* The directory has it. */
static void
decider_done(struct decider *decider, struct write *write)
{
	write->settle_ms = clock_monotonic_ms() + DECIDER_SETTLE_MS;
	decider_log(decider, LOG_LEVEL_INFO, "decided", write, write->why);
	if (decider->hook && write->decision != DECISION_BASE)
		decider_run_hook(decider, write);
}

static void
decider_answered(
    struct decider *decider, struct write *write, int result, const char *text)
{
	write->message_id = -1;
	if (result == LDAP_SUCCESS || result == LDAP_TYPE_OR_VALUE_EXISTS) {
		decider_done(decider, write);
		return;
	}
	/* Somebody else has pruned already: the value alone, then. */
	if (result == LDAP_NO_SUCH_ATTRIBUTE && write->deleted &&
	    write->deleted[0]) {
		for (size_t i = 0; write->deleted[i]; i++)
			free(write->deleted[i]);
		write->deleted[0] = NULL;
		(void)decider_send(decider, write);
		return;
	}
	decider_log(decider, LOG_LEVEL_ERROR, "decision_refused", write,
	    text && text[0] != '\0' ? text : ldap_err2string(result));
	write->settle_ms = clock_monotonic_ms() + DECIDER_SETTLE_MS;
}

/* ---- the connection ---- */

static void
decider_ready(void *context)
{
	struct decider *decider = context;

	decider->ready = true;
	decider->ping_id = -1;
	decider->ping_ms = clock_monotonic_ms();
	event_active(decider->wake, EV_TIMEOUT, 0);
}

static void
decider_message(void *context, LDAPMessage *message)
{
	struct decider *decider = context;
	struct write *write = decider->writes;
	int id = ldap_msgid(message), result = LDAP_OTHER;
	char *text = NULL;

	if (id == decider->ping_id) {
		if (ldap_msgtype(message) == LDAP_RES_SEARCH_RESULT) {
			decider->ping_id = -1;
			decider->ping_ms = clock_monotonic_ms();
		}
		return;
	}
	while (write && write->message_id != id)
		write = write->next;
	if (!write ||
	    ldap_parse_result(connection_ldap(decider->connection), message,
		&result, NULL, &text, NULL, NULL, 0) != LDAP_SUCCESS)
		return;
	decider_answered(decider, write, result, text);
	ldap_memfree(text);
}

static void
decider_turn(void *context)
{
	(void)context;
}

/* What was under way is decided anew, and written to the next provider. */
static void
decider_failed(void *context, const char *why)
{
	struct decider *decider = context;
	struct log_line line = log_line(LOG_LEVEL_WARNING, "decider_lost");
	struct write *next;

	log_string(&line, "provider", decider->options.urls[decider->current]);
	log_string(&line, "why", why);
	log_send(decider->status->log, &line);
	for (struct write *write = decider->writes; write; write = next) {
		next = write->next;
		if (write->settle_ms == 0)
			decider_drop(decider, write);
	}
	connection_free(&decider->connection);
	decider->ready = false;
	decider->current = (decider->current + 1) % decider->options.url_count;
	decider->connect_from_ms =
	    clock_monotonic_ms() +
	    (decider->current == 0 ? DECIDER_PAUSE_MS : 0);
	event_active(decider->wake, EV_TIMEOUT, 0);
}

static void
decider_connect(struct decider *decider)
{
	static const struct connection_events events = {
		.ready = decider_ready,
		.message = decider_message,
		.turn = decider_turn,
		.failed = decider_failed,
	};
	struct connection_options options = decider->options.connection;

	if (decider->connection ||
	    clock_monotonic_ms() < decider->connect_from_ms)
		return;
	options.url = decider->options.urls[decider->current];
	decider->connection = connection_new(
	    decider->base, decider->dns, &options, &events, decider);
}

/* A silent provider is found before there is something to write. */
static void
decider_ping(struct decider *decider)
{
	char *none[] = { NULL, NULL };
	char no_attributes[] = LDAP_NO_ATTRS;
	int64_t now_ms = clock_monotonic_ms();

	if (!decider->ready || now_ms - decider->ping_ms < DECIDER_PING_MS)
		return;
	if (decider->ping_id >= 0) {
		connection_poll(decider->connection);
		if (decider->ping_id >= 0 && decider->ready)
			decider_break(decider, "the provider is silent");
		return;
	}
	none[0] = no_attributes;
	decider->ping_ms = now_ms;
	if (ldap_search_ext(connection_ldap(decider->connection), "",
		LDAP_SCOPE_BASE, NULL, none, 0, NULL, NULL, NULL, 1,
		&decider->ping_id) != LDAP_SUCCESS) {
		decider->ping_id = -1;
		decider_break(decider, "it takes no search");
	}
}

/* ---- the map ---- */

/* 0; or -1 with *why, and the old map stays. */
static int
decider_read_cell(struct decider *decider, const char **why)
{
	struct cell *cell = map_read(decider->store, why);

	if (!cell)
		return -1;
	cell_free(&decider->cell);
	decider->cell = cell;
	return 0;
}

/* What came back to us, or did not in time, is over. */
static void
decider_settle(struct decider *decider)
{
	struct write *next;

	for (struct write *write = decider->writes; write; write = next) {
		const struct host *host = cell_host(
		    decider->cell, write->kind, buf_slice(&write->name));
		bool seen = !host;

		next = write->next;
		for (size_t i = 0; host && i < host->transition_count; i++)
			seen |= slice_equal(
			    host->transitions[i].text, buf_slice(&write->text));
		if (write->settle_ms > 0 &&
		    (seen || write->settle_ms <= clock_monotonic_ms()))
			decider_drop(decider, write);
	}
}

static void
decider_log_held(struct decider *decider, const struct decision *decision)
{
	struct log_line line = log_line(LOG_LEVEL_ERROR, "decision_held");

	log_word(&line, "kind", host_kind_text(decision->host->kind));
	log_text(&line, "name", decision->host->name);
	log_number(&line, "votes", decision->votes);
	log_number(&line, "observers", decision->observers);
	log_string(&line, "why", decision->why);
	log_send(decider->status->log, &line);
}

static void
decider_carry_out(struct decider *decider, const struct decision *decision)
{
	struct write *write;

	if (decision->kind == DECISION_HELD) {
		decider_log_held(decider, decision);
		return;
	}
	if (!decider->ready || decider_find(decider, decision->host))
		return;
	write = write_new(decision);
	if (!write)
		return;
	write->next = decider->writes;
	decider->writes = write;
	if (decider_send(decider, write) != 0)
		decider_drop(decider, write);
}

static void
decider_look(evutil_socket_t fd, short what, void *context)
{
	struct decider *decider = context;
	int64_t now_us = clock_realtime_us();
	const struct decision *decisions;
	const char *why;
	size_t count;

	(void)fd;
	(void)what;
	decider_connect(decider);
	decider_ping(decider);
	/* In the midst of a batch the map is half of one and half of another.
	 */
	if (store_is_open(decider->store) || !decider->status->complete ||
	    now_us - decider->status->contact_us > DECIDER_FRESH_US)
		return;
	if (decider->stale || !decider->cell) {
		if (decider_read_cell(decider, &why) != 0) {
			log_why(decider->status->log, LOG_LEVEL_ERROR,
			    "store_failed", why);
			return;
		}
		decider->stale = false;
	}
	decider_settle(decider);
	decisions = decide_run(decider->decide, decider->cell, now_us,
	    clock_monotonic_ms(), &count);
	for (size_t i = 0; decisions && i < count; i++)
		decider_carry_out(decider, &decisions[i]);
}

static void
decider_changed(void *context)
{
	struct decider *decider = context;

	decider->stale = true;
	event_active(decider->wake, EV_TIMEOUT, 0);
}

/* ---- life ---- */

struct decider *
decider_new(struct event_base *base, const struct decider_options *options,
    struct store *store, const struct status *status)
{
	struct decider *decider = calloc(1, sizeof(*decider));
	struct timeval tick = { 0, DECIDER_TICK_US };

	if (!decider)
		return NULL;
	decider->base = base;
	decider->options = *options;
	decider->store = store;
	decider->status = status;
	decider->ping_id = -1;
	decider->dns =
	    evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS |
				     EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	decider->decide = decide_new(&options->settings);
	decider->tick = event_new(base, -1, EV_PERSIST, decider_look, decider);
	decider->wake = evtimer_new(base, decider_look, decider);
	if (options->on_move[0] != '\0')
		decider->hook = hook_new(base, status->log);
	if (!decider->dns || !decider->decide || !decider->tick ||
	    !decider->wake || (options->on_move[0] != '\0' && !decider->hook) ||
	    event_add(decider->tick, &tick) != 0) {
		decider_free(&decider);
		return NULL;
	}
	store_on_cell(store, decider_changed, decider);
	return decider;
}

void
decider_free(struct decider **decider)
{
	struct decider *old = *decider;

	*decider = NULL;
	if (!old)
		return;
	store_off_cell(old->store, old);
	while (old->writes)
		decider_drop(old, old->writes);
	connection_free(&old->connection);
	if (old->tick)
		event_free(old->tick);
	if (old->wake)
		event_free(old->wake);
	hook_free(&old->hook);
	cell_free(&old->cell);
	decide_free(&old->decide);
	if (old->dns)
		evdns_base_free(old->dns, 0);
	free(old);
}
