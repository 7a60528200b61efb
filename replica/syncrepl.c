#include "replica/syncrepl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "replica/clock.h"
#include "replica/sync_value.h"

#define SYNCREPL_VALUES_MAX    65536 /* of one entry */
#define SYNCREPL_BEHIND_MS     5000
#define SYNCREPL_LOOK_AGAIN_MS 200
#define SYNCREPL_WHY_SIZE      256

enum syncrepl_state {
	SYNCREPL_CONNECTING,
	SYNCREPL_LOOKING, /* contextCSN and one entry are asked for */
	SYNCREPL_WAITING, /* for a provider that is behind */
	SYNCREPL_REFRESHING,
	SYNCREPL_PERSISTING,
	SYNCREPL_ENDED
};

struct syncrepl {
	struct connection *connection; /* owned */
	struct intake *intake;         /* borrowed */
	struct syncrepl_options options;
	struct syncrepl_events events;
	void *context; /* borrowed */
	enum syncrepl_state state;
	struct event *look_again;  /* owned */
	long long behind_since_ms; /* 0: it is not */
	int look_id, entry_id, search_id;
	bool look_done, entry_done;
	struct csn_vector provider; /* contextCSN before the search */
	struct csn_vector cookie;   /* of the refresh */
	bool whole, present;
	struct entry_value *values; /* owned; of the entry at hand */
	size_t value_count, value_capacity;
	enum syncrepl_end end;
	char why[SYNCREPL_WHY_SIZE];
};

int
syncrepl_filter(struct buf *out, const char *account_filter, bool keys)
{
	(void)buf_printf(out, "(|%s", account_filter);
	if (keys)
		(void)buf_add_string(
		    out, "(objectClass=" ENTRY_PRINCIPAL_CLASS ")");
	for (size_t i = 0; entry_cell_classes[i]; i++)
		(void)buf_printf(
		    out, "(objectClass=%s)", entry_cell_classes[i]);
	for (size_t i = 0; entry_container_classes[i]; i++)
		(void)buf_printf(
		    out, "(objectClass=%s)", entry_container_classes[i]);
	return buf_add_char(out, ')');
}

void
syncrepl_stop(struct syncrepl *syncrepl, enum syncrepl_end end, const char *why)
{
	if (syncrepl->state == SYNCREPL_ENDED)
		return;
	syncrepl->state = SYNCREPL_ENDED;
	syncrepl->end = end;
	connection_fail(syncrepl->connection, why);
}

static void
syncrepl_stop_intake(struct syncrepl *syncrepl, const char *why)
{
	enum syncrepl_end end = SYNCREPL_STORE;

	switch (intake_fault(syncrepl->intake)) {
	case INTAKE_FAULT_STORE:
		end = SYNCREPL_STORE;
		break;
	case INTAKE_FAULT_SOURCE:
		end = SYNCREPL_STOPPED;
		break;
	}
	syncrepl_stop(syncrepl, end, why);
}

/* What a result code means for us. */
static enum syncrepl_end
syncrepl_judge(const struct syncrepl *syncrepl, int code, const char **why)
{
	*why = ldap_err2string(code);
	switch (code) {
	case LDAP_SYNC_REFRESH_REQUIRED:
	case LDAP_X_SYNC_REFRESH_REQUIRED:
		*why = "the provider wants a refresh";
		return SYNCREPL_REFUSED;
	case LDAP_UNWILLING_TO_PERFORM:
		return syncrepl->whole ? SYNCREPL_LOST : SYNCREPL_REFUSED;
	case LDAP_SIZELIMIT_EXCEEDED:
	case LDAP_TIMELIMIT_EXCEEDED:
	case LDAP_ADMINLIMIT_EXCEEDED:
		*why = "a limit of the provider cut the refresh: our identity "
		       "needs size=unlimited and time=unlimited";
		return SYNCREPL_STOPPED;
	case LDAP_UNAVAILABLE_CRITICAL_EXTENSION:
		*why = "the provider has no syncprov overlay";
		return SYNCREPL_STOPPED;
	case LDAP_NO_SUCH_OBJECT:
		*why = "the provider shows no entry at the suffix";
		return SYNCREPL_STOPPED;
	case LDAP_INSUFFICIENT_ACCESS:
		*why = "the provider does not let us read the suffix";
		return SYNCREPL_STOPPED;
	case LDAP_FILTER_ERROR:
		*why = "account_filter is no LDAP filter";
		return SYNCREPL_STOPPED;
	case LDAP_SUCCESS:
		*why = "the provider ended the search";
		return SYNCREPL_LOST;
	default:
		return SYNCREPL_LOST;
	}
}

static void
syncrepl_stop_code(struct syncrepl *syncrepl, int code, const char *text)
{
	const char *why;
	enum syncrepl_end end = syncrepl_judge(syncrepl, code, &why);

	(void)snprintf(syncrepl->why, sizeof(syncrepl->why), "%s%s%s", why,
	    text && text[0] != '\0' ? ": " : "", text ? text : "");
	syncrepl_stop(syncrepl, end, syncrepl->why);
}

/* One search that is not the big one. */
static int
syncrepl_search(struct syncrepl *syncrepl, int scope, const char *filter,
    const char *attribute, int size_limit, int *id)
{
	char name[32];
	char *names[] = { name, NULL };

	(void)snprintf(name, sizeof(name), "%s", attribute);
	return ldap_search_ext(connection_ldap(syncrepl->connection),
	    syncrepl->options.suffix, scope, filter, names, 0, NULL, NULL, NULL,
	    size_limit, id);
}

static void
syncrepl_look(struct syncrepl *syncrepl)
{
	int code;

	syncrepl->state = SYNCREPL_LOOKING;
	syncrepl->look_done = syncrepl->entry_done = false;
	csn_vector_clear(&syncrepl->provider);
	code = syncrepl_search(syncrepl, LDAP_SCOPE_BASE, "(objectClass=*)",
	    "contextCSN", 0, &syncrepl->look_id);
	if (code == LDAP_SUCCESS)
		code = syncrepl_search(syncrepl, LDAP_SCOPE_SUBTREE,
		    syncrepl->options.filter, "entryCSN", 1,
		    &syncrepl->entry_id);
	if (code != LDAP_SUCCESS)
		syncrepl_stop_code(syncrepl, code, NULL);
}

static void
syncrepl_free_attributes(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

/* libldap wants the names writable; they are ours and stay as they are. */
static char **
syncrepl_attributes(bool keys)
{
	size_t plain = 0, more = 0;
	char **names;

	while (entry_attributes[plain])
		plain++;
	while (keys && entry_key_attributes[more])
		more++;
	names = calloc(plain + more + 1, sizeof(*names));
	for (size_t i = 0; names && i < plain + more; i++) {
		names[i] = strdup(i < plain ? entry_attributes[i]
					    : entry_key_attributes[i - plain]);
		if (!names[i]) {
			syncrepl_free_attributes(names);
			return NULL;
		}
	}
	return names;
}

static void
syncrepl_begin_search(struct syncrepl *syncrepl)
{
	struct berval *value = NULL;
	LDAPControl control = { .ldctl_iscritical = 1 };
	LDAPControl *controls[] = { &control, NULL };
	char oid[] = LDAP_CONTROL_SYNC;
	char **attributes = syncrepl_attributes(syncrepl->options.keys);
	int code = LDAP_NO_MEMORY;

	if (attributes &&
	    sync_value_request(
		&value, syncrepl->whole
			    ? NULL
			    : &intake_cookie(syncrepl->intake)->vector) == 0) {
		control.ldctl_oid = oid;
		control.ldctl_value = *value;
		code = ldap_search_ext(connection_ldap(syncrepl->connection),
		    syncrepl->options.suffix, LDAP_SCOPE_SUBTREE,
		    syncrepl->options.filter, attributes, 0, controls, NULL,
		    NULL, 0, &syncrepl->search_id);
	}
	syncrepl_free_attributes(attributes);
	ber_bvfree(value);
	if (code != LDAP_SUCCESS)
		syncrepl_stop_code(syncrepl, code, NULL);
}

static void
syncrepl_refresh(struct syncrepl *syncrepl)
{
	struct intake_refresh refresh = {
		.whole = syncrepl->whole,
		.trust = syncrepl->options.trust,
		.vector = &syncrepl->provider,
	};

	syncrepl->state = SYNCREPL_REFRESHING;
	syncrepl->present = false;
	csn_vector_clear(&syncrepl->cookie);
	intake_begin(syncrepl->intake, &refresh);
	syncrepl->events.refreshing(syncrepl->context, syncrepl->whole);
	syncrepl_begin_search(syncrepl);
}

/* A provider that lags a little catches up; one that does not is left. */
static void
syncrepl_wait(struct syncrepl *syncrepl)
{
	struct timeval pause = { 0,
		(suseconds_t)SYNCREPL_LOOK_AGAIN_MS * 1000 };
	long long now_ms = clock_monotonic_ms();

	if (syncrepl->behind_since_ms == 0)
		syncrepl->behind_since_ms = now_ms;
	if (now_ms - syncrepl->behind_since_ms > SYNCREPL_BEHIND_MS) {
		syncrepl_stop(syncrepl, SYNCREPL_REFUSED,
		    "the provider stays behind of what was seen before");
		return;
	}
	syncrepl->state = SYNCREPL_WAITING;
	(void)evtimer_add(syncrepl->look_again, &pause);
}

static void
syncrepl_look_again(evutil_socket_t fd, short what, void *context)
{
	struct syncrepl *syncrepl = context;

	(void)fd;
	(void)what;
	if (syncrepl->state == SYNCREPL_WAITING)
		syncrepl_look(syncrepl);
}

/* Both answers are in. */
static void
syncrepl_looked(struct syncrepl *syncrepl)
{
	const struct store_cookie *cookie = intake_cookie(syncrepl->intake);

	if (syncrepl->provider.count == 0) {
		syncrepl_stop(syncrepl, SYNCREPL_STOPPED,
		    "the provider shows no contextCSN: it hides it, has no "
		    "syncprov overlay, or that is not the suffix");
		return;
	}
	syncrepl->whole = cookie->reload || cookie->vector.count == 0 ||
			  syncrepl->options.trust;
	if (!syncrepl->whole &&
	    !csn_vector_covers_all(&syncrepl->provider, &cookie->vector))
		syncrepl_wait(syncrepl);
	else
		syncrepl_refresh(syncrepl);
}

static void
syncrepl_result(struct syncrepl *syncrepl, LDAPMessage *message)
{
	char *text = NULL;
	int code = LDAP_OTHER, id = ldap_msgid(message);

	if (ldap_parse_result(connection_ldap(syncrepl->connection), message,
		&code, NULL, &text, NULL, NULL, 0) != LDAP_SUCCESS)
		code = LDAP_DECODING_ERROR;
	/* Of the one entry asked for there are of course more. */
	if (id == syncrepl->entry_id && code == LDAP_SIZELIMIT_EXCEEDED)
		code = LDAP_SUCCESS;
	if (id == syncrepl->search_id || code != LDAP_SUCCESS) {
		syncrepl_stop_code(syncrepl, code, text);
	} else {
		syncrepl->look_done |= id == syncrepl->look_id;
		syncrepl->entry_done |= id == syncrepl->entry_id;
		if (syncrepl->look_done && syncrepl->entry_done)
			syncrepl_looked(syncrepl);
	}
	ldap_memfree(text);
}

static int
syncrepl_keep_value(
    struct syncrepl *syncrepl, struct berval attribute, struct berval value)
{
	if (syncrepl->value_count == syncrepl->value_capacity) {
		size_t capacity = syncrepl->value_capacity == 0
				      ? 64
				      : syncrepl->value_capacity * 2;
		struct entry_value *more = NULL;

		if (capacity <= SYNCREPL_VALUES_MAX)
			more = reallocarray(
			    syncrepl->values, capacity, sizeof(*more));
		if (!more)
			return -1;
		syncrepl->values = more;
		syncrepl->value_capacity = capacity;
	}
	syncrepl->values[syncrepl->value_count++] = (struct entry_value){
		.attribute = slice_of(attribute.bv_val, attribute.bv_len),
		.value = slice_of(value.bv_val, value.bv_len),
	};
	return 0;
}

/* All of it borrows from the message. */
static int
syncrepl_read_entry(
    struct syncrepl *syncrepl, LDAPMessage *message, struct entry *entry)
{
	LDAP *ldap = connection_ldap(syncrepl->connection);
	struct berval dn, attribute;
	BerVarray values = NULL;
	BerElement *ber = NULL;
	int result = -1;

	syncrepl->value_count = 0;
	if (ldap_get_dn_ber(ldap, message, &ber, &dn) != LDAP_SUCCESS)
		return -1;
	for (;;) {
		if (ldap_get_attribute_ber(ldap, message, ber, &attribute,
			&values) != LDAP_SUCCESS)
			goto done;
		if (!attribute.bv_val)
			break;
		for (size_t i = 0; values && values[i].bv_val; i++) {
			if (syncrepl_keep_value(
				syncrepl, attribute, values[i]) != 0)
				goto done;
		}
		ber_memfree(values);
		values = NULL;
	}
	entry->dn = slice_of(dn.bv_val, dn.bv_len);
	entry->values = syncrepl->values;
	entry->value_count = syncrepl->value_count;
	result = 0;
done:
	ber_memfree(values);
	ber_free(ber, 0);
	return result;
}

/* An answer to one of the two questions that come before the search. */
static void
syncrepl_look_entry(struct syncrepl *syncrepl, LDAPMessage *message)
{
	struct entry entry = { .dn = slice_from("") };

	if (syncrepl_read_entry(syncrepl, message, &entry) != 0) {
		syncrepl_stop(syncrepl, SYNCREPL_LOST, "malformed entry");
		return;
	}
	if (ldap_msgid(message) == syncrepl->entry_id) {
		if (!csn_is_valid(entry_csn(&entry)))
			syncrepl_stop(syncrepl, SYNCREPL_STOPPED,
			    "the provider hides entryCSN: without it changes "
			    "would be lost");
		return;
	}
	for (size_t i = 0; i < entry.value_count; i++) {
		if (csn_vector_add(
			&syncrepl->provider, entry.values[i].value) != 0) {
			syncrepl_stop(syncrepl, SYNCREPL_STOPPED,
			    "the provider's contextCSN is malformed");
			return;
		}
	}
}

/* A cookie, wherever it came. */
static void
syncrepl_take_cookie(struct syncrepl *syncrepl, const struct csn_vector *cookie)
{
	if (syncrepl->state != SYNCREPL_REFRESHING)
		intake_advance(syncrepl->intake, cookie);
	else if (cookie->count > 0)
		/* Only that of the end counts. */
		syncrepl->cookie = *cookie;
}

static int
syncrepl_apply(struct syncrepl *syncrepl, LDAPMessage *message,
    const struct sync_state *state, const char **why)
{
	struct entry entry = { .id = state->id };

	switch (state->change) {
	case LDAP_SYNC_PRESENT:
		return intake_present(syncrepl->intake, entry.id, why);
	case LDAP_SYNC_DELETE:
		return intake_delete(syncrepl->intake, entry.id, why);
	default:
		if (syncrepl_read_entry(syncrepl, message, &entry) != 0) {
			syncrepl_stop(
			    syncrepl, SYNCREPL_LOST, "malformed entry");
			return 0;
		}
		return intake_entry(syncrepl->intake, &entry, why);
	}
}

/* The control that says what an entry is about. */
static int
syncrepl_read_state(
    struct syncrepl *syncrepl, LDAPMessage *message, struct sync_state *state)
{
	LDAPControl **controls = NULL, *control;
	int result = -1;

	sync_value_state_clear(state);
	if (ldap_get_entry_controls(connection_ldap(syncrepl->connection),
		message, &controls) != LDAP_SUCCESS)
		return -1;
	control = ldap_control_find(LDAP_CONTROL_SYNC_STATE, controls, NULL);
	if (control)
		result = sync_value_state(state, &control->ldctl_value);
	ldap_controls_free(controls);
	return result;
}

static void
syncrepl_entry(struct syncrepl *syncrepl, LDAPMessage *message)
{
	struct sync_state state;
	const char *why = "";

	if (syncrepl_read_state(syncrepl, message, &state) != 0)
		syncrepl_stop(
		    syncrepl, SYNCREPL_LOST, "malformed sync state control");
	else if (syncrepl_apply(syncrepl, message, &state, &why) != 0)
		syncrepl_stop_intake(syncrepl, why);
	else if (state.has_cookie)
		syncrepl_take_cookie(syncrepl, &state.cookie);
	sync_value_state_free(&state);
}

static void
syncrepl_refresh_done(struct syncrepl *syncrepl)
{
	const char *why = "";
	enum intake_outcome outcome = intake_end(
	    syncrepl->intake, &syncrepl->cookie, syncrepl->present, &why);

	if (outcome == INTAKE_FAILED) {
		syncrepl_stop_intake(syncrepl, why);
		return;
	}
	syncrepl->state = SYNCREPL_PERSISTING;
	syncrepl->events.following(syncrepl->context, outcome, why);
}

static void
syncrepl_take_ids(struct syncrepl *syncrepl, const struct sync_info *info)
{
	const char *why = "";
	int result = 0;

	for (size_t i = 0; result == 0 && info->ids && info->ids[i].bv_val;
	     i++) {
		struct slice id =
		    slice_of(info->ids[i].bv_val, info->ids[i].bv_len);

		result = info->deletes
			     ? intake_delete(syncrepl->intake, id, &why)
			     : intake_present(syncrepl->intake, id, &why);
	}
	if (result != 0)
		syncrepl_stop_intake(syncrepl, why);
}

static void
syncrepl_take_info(struct syncrepl *syncrepl, const struct sync_info *info)
{
	if (info->has_cookie)
		syncrepl_take_cookie(syncrepl, &info->cookie);
	switch (info->kind) {
	case SYNC_NEW_COOKIE:
		break;
	case SYNC_PHASE_END:
		if (syncrepl->state != SYNCREPL_REFRESHING)
			break;
		syncrepl->present |= info->present;
		if (info->done)
			syncrepl_refresh_done(syncrepl);
		break;
	case SYNC_ID_SET:
		syncrepl_take_ids(syncrepl, info);
		break;
	}
}

static void
syncrepl_info(struct syncrepl *syncrepl, LDAPMessage *message)
{
	struct berval *value = NULL;
	struct sync_info info = { .kind = SYNC_NEW_COOKIE };
	char *oid = NULL;

	if (ldap_parse_intermediate(connection_ldap(syncrepl->connection),
		message, &oid, &value, NULL, 0) != LDAP_SUCCESS) {
		syncrepl_stop(syncrepl, SYNCREPL_LOST, "malformed message");
		return;
	}
	if (oid && strcmp(oid, LDAP_SYNC_INFO) == 0) {
		if (value && sync_value_info(&info, value) == 0)
			syncrepl_take_info(syncrepl, &info);
		else
			syncrepl_stop(syncrepl, SYNCREPL_LOST,
			    "malformed sync info message");
		sync_value_info_free(&info);
	}
	ldap_memfree(oid);
	ber_bvfree(value);
}

static void
syncrepl_message(void *context, LDAPMessage *message)
{
	struct syncrepl *syncrepl = context;

	if (syncrepl->state == SYNCREPL_ENDED)
		return;
	switch (ldap_msgtype(message)) {
	case LDAP_RES_SEARCH_ENTRY:
		if (syncrepl->state == SYNCREPL_LOOKING)
			syncrepl_look_entry(syncrepl, message);
		else
			syncrepl_entry(syncrepl, message);
		break;
	case LDAP_RES_INTERMEDIATE:
		syncrepl_info(syncrepl, message);
		break;
	case LDAP_RES_SEARCH_RESULT:
		syncrepl_result(syncrepl, message);
		break;
	default:
		break;
	}
}

static void
syncrepl_turn(void *context)
{
	struct syncrepl *syncrepl = context;
	const char *why = "";

	if (syncrepl->state != SYNCREPL_REFRESHING &&
	    syncrepl->state != SYNCREPL_PERSISTING)
		return;
	if (intake_turn(syncrepl->intake, &why) != 0)
		syncrepl_stop_intake(syncrepl, why);
	else if (syncrepl->state == SYNCREPL_PERSISTING &&
		 intake_wants_reload(syncrepl->intake))
		syncrepl_stop(syncrepl, SYNCREPL_RELOAD,
		    "a container with accounts below it went away");
}

static void
syncrepl_ready(void *context)
{
	syncrepl_look(context);
}

static void
syncrepl_failed(void *context, const char *why)
{
	struct syncrepl *syncrepl = context;

	syncrepl->state = SYNCREPL_ENDED;
	syncrepl->events.ended(syncrepl->context, syncrepl->end, why);
}

struct syncrepl *
syncrepl_new(struct event_base *base, struct evdns_base *dns,
    const struct syncrepl_options *options, struct intake *intake,
    const struct syncrepl_events *events, void *context)
{
	static const struct connection_events connection_events = {
		.ready = syncrepl_ready,
		.message = syncrepl_message,
		.turn = syncrepl_turn,
		.failed = syncrepl_failed,
	};
	struct syncrepl *syncrepl = calloc(1, sizeof(*syncrepl));

	if (!syncrepl)
		return NULL;
	syncrepl->options = *options;
	syncrepl->intake = intake;
	syncrepl->events = *events;
	syncrepl->context = context;
	syncrepl->end = SYNCREPL_LOST;
	syncrepl->look_again = evtimer_new(base, syncrepl_look_again, syncrepl);
	if (syncrepl->look_again)
		syncrepl->connection = connection_new(base, dns,
		    &options->connection, &connection_events, syncrepl);
	if (!syncrepl->connection)
		syncrepl_free(&syncrepl);
	return syncrepl;
}

void
syncrepl_free(struct syncrepl **syncrepl)
{
	struct syncrepl *old = *syncrepl;

	*syncrepl = NULL;
	if (!old)
		return;
	if (old->look_again)
		event_free(old->look_again);
	connection_free(&old->connection);
	free(old->values);
	free(old);
}

long long
syncrepl_heard_ms(const struct syncrepl *syncrepl)
{
	return connection_heard_ms(syncrepl->connection);
}
