#include "zones/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <jansson.h>

#include "lib/endpoint.h"
#include "lib/timestamp.h"
#include "replica/clock.h"

#define CONTROL_QUESTION_SIZE 64
#define CONTROL_TEXT_MAX      (8 << 20)
#define CONTROL_TIMEOUT       10 /* s */
#define CONTROL_CLIENTS_MAX   32

struct control {
	struct control_settings settings;
	struct evconnlistener *listener; /* owned */
	struct evhttp *http;             /* owned; or NULL */
	struct sockaddr_un address;
	size_t clients;
};

struct client {
	struct control *control;
	struct bufferevent *stream; /* owned */
};

/* ---- JSON ---- */

static json_t *
text_value(struct slice text)
{
	json_t *value = json_stringn(text.data ? text.data : "", text.size);

	return value ? value : json_null();
}

static json_t *
describe_target(const struct publish *publish, size_t index)
{
	struct target_status status = publish_target(publish, index);
	struct buf updated = buf_bounded(64);
	json_t *target;

	if (status.updated_us > 0)
		(void)timestamp_format(&updated, status.updated_us);
	target = json_pack(
	    "{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}",
	    "zone", status.zone, "server", status.server, "state",
	    target_state_text(status.state), "why", status.why, "known",
	    (int)status.known, "serial", (json_int_t)status.serial, "records",
	    (json_int_t)status.records, "missing", (json_int_t)status.missing,
	    "updates", (json_int_t)status.updates, "overtaken",
	    (json_int_t)status.overtaken, "failures",
	    (json_int_t)status.failures, "drifts", (json_int_t)status.drifts,
	    "updated", buf_string(&updated));
	buf_free(&updated);
	return target;
}

static json_t *
describe_hosts(const struct control *control)
{
	const struct cell *cell = publish_cell(control->settings.publish);
	int64_t delay_us =
	    control->settings.config->return_delay * TIMESTAMP_SECOND;
	json_t *hosts = json_array();
	const struct host *list;
	size_t count = 0;

	list = cell ? cell_hosts(cell, &count) : NULL;
	for (size_t i = 0; i < count; i++) {
		int64_t next_us = PLAN_NEVER;
		uint32_t weight;
		enum plan_health health;

		if (list[i].kind == HOST_SERVER)
			continue;
		health = plan_health(
		    &list[i], clock_realtime_us(), delay_us, &weight, &next_us);
		json_array_append_new(hosts,
		    json_pack("{s:s, s:o, s:o, s:s, s:i}", "kind",
			host_kind_text(list[i].kind), "name",
			text_value(list[i].name), "site",
			text_value(list[i].site), "health",
			plan_health_text(health), "weight", (int)weight));
	}
	return hosts;
}

static json_t *
describe_notes(const struct control *control)
{
	json_t *notes = json_array();

	for (size_t i = 0; i < control->settings.config->zones.count; i++) {
		struct slice rest = publish_notes(control->settings.publish, i);
		struct slice note;

		while (slice_next_word(&rest, '\n', &note))
			json_array_append_new(notes, text_value(note));
	}
	return notes;
}

static json_t *
answer_show(const struct control *control)
{
	const struct publish *publish = control->settings.publish;
	const char *fault = publish_fault(publish);
	json_t *targets = json_array();

	for (size_t i = 0; i < publish_target_count(publish); i++)
		json_array_append_new(targets, describe_target(publish, i));
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "version",
	    POSTCELL_VERSION, "publisher", control->settings.config->host_name,
	    "fault", fault ? fault : "", "csn",
	    text_value(publish_csn(publish)), "targets", targets, "hosts",
	    describe_hosts(control), "notes", describe_notes(control));
}

static json_t *
answer_diff(const struct control *control)
{
	const struct publish *publish = control->settings.publish;
	json_t *targets = json_array();

	for (size_t i = 0; i < publish_target_count(publish); i++) {
		struct target_status status = publish_target(publish, i);
		struct buf diff = buf_bounded(CONTROL_TEXT_MAX);
		json_t *target = json_pack("{s:s, s:s, s:s, s:s, s:b}", "zone",
		    status.zone, "server", status.server, "state",
		    target_state_text(status.state), "why", status.why, "known",
		    (int)status.known);

		(void)publish_diff(publish, i, &diff);
		json_object_set_new(
		    target, "diff", text_value(buf_slice(&diff)));
		json_array_append_new(targets, target);
		buf_free(&diff);
	}
	return json_pack("{s:o}", "targets", targets);
}

/* ---- the socket ---- */

static void
client_free(struct client *client)
{
	client->control->clients--;
	bufferevent_free(client->stream);
	free(client);
}

static void
on_client_event(struct bufferevent *stream, short what, void *context)
{
	(void)stream;
	(void)what;
	client_free(context);
}

static void
on_client_written(struct bufferevent *stream, void *context)
{
	if (evbuffer_get_length(bufferevent_get_output(stream)) == 0)
		client_free(context);
}

static void
answer(struct client *client, struct slice question)
{
	json_t *value;
	char *text;

	if (slice_is(question, "show"))
		value = answer_show(client->control);
	else if (slice_is(question, "diff"))
		value = answer_diff(client->control);
	else
		value = json_pack("{s:s}", "error", "unknown question");
	text = value ? json_dumps(value, JSON_COMPACT) : NULL;
	json_decref(value);
	if (!text)
		abort();
	bufferevent_setcb(
	    client->stream, NULL, on_client_written, on_client_event, client);
	bufferevent_write(client->stream, text, strlen(text));
	bufferevent_write(client->stream, "\n", 1);
	free(text);
}

static void
on_client_read(struct bufferevent *stream, void *context)
{
	struct client *client = context;
	struct evbuffer *input = bufferevent_get_input(stream);
	size_t size;
	char *line = evbuffer_readln(input, &size, EVBUFFER_EOL_LF);

	if (line)
		answer(client, slice_of(line, size));
	else if (evbuffer_get_length(input) > CONTROL_QUESTION_SIZE)
		client_free(client);
	free(line);
}

static void
on_client(struct evconnlistener *listener, evutil_socket_t fd,
    struct sockaddr *address, int size, void *context)
{
	struct control *control = context;
	struct timeval timeout = { CONTROL_TIMEOUT, 0 };
	struct client *client;

	(void)listener;
	(void)address;
	(void)size;
	if (control->clients >= CONTROL_CLIENTS_MAX) {
		(void)close(fd);
		return;
	}
	client = calloc(1, sizeof(*client));
	if (!client)
		abort();
	client->control = control;
	client->stream = bufferevent_socket_new(
	    control->settings.base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!client->stream)
		abort();
	control->clients++;
	bufferevent_setcb(
	    client->stream, on_client_read, NULL, on_client_event, client);
	bufferevent_set_timeouts(client->stream, &timeout, &timeout);
	bufferevent_enable(client->stream, EV_READ | EV_WRITE);
}

/* A socket that another process still answers on is not taken from it. */
static bool
is_in_use(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answered;

	if (fd < 0)
		return false;
	answered = connect(fd, (const struct sockaddr *)address,
		       sizeof(*address)) == 0;
	(void)close(fd);
	return answered;
}

static int
listen_unix(struct control *control, const char **why)
{
	struct sockaddr_un *address = &control->address;
	const char *run_dir = control->settings.config->run_dir;
	int fd;

	address->sun_family = AF_UNIX;
	if (snprintf(address->sun_path, sizeof(address->sun_path),
		"%s/" CONTROL_SOCKET,
		run_dir) >= (int)sizeof(address->sun_path)) {
		*why = "run_dir is too long for a socket's name";
		return -1;
	}
	(void)mkdir(run_dir, 0755);
	if (is_in_use(address)) {
		*why = "another postcell-zoned runs in run_dir";
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)unlink(address->sun_path);
	if (fd < 0 ||
	    bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    chmod(address->sun_path, 0660) < 0) {
		*why = strerrordesc_np(errno);
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	control->listener = evconnlistener_new(control->settings.base,
	    on_client, control, LEV_OPT_CLOSE_ON_FREE, SOMAXCONN, fd);
	if (!control->listener)
		abort();
	return 0;
}

/* ---- metrics ---- */

struct metric {
	const char *name, *kind, *help;
	size_t offset; /* of a uint64_t in struct target_status */
};

static const struct metric metrics[] = {
	{ "updates_total", "counter", "Changes that the zone took",
	    offsetof(struct target_status, updates) },
	{ "overtaken_total", "counter", "Changes that came after another's",
	    offsetof(struct target_status, overtaken) },
	{ "failures_total", "counter", "Tries that failed",
	    offsetof(struct target_status, failures) },
	{ "drifts_total", "counter", "Times the zone was changed by others",
	    offsetof(struct target_status, drifts) },
};

static void
add_sample(struct buf *out, const char *name,
    const struct target_status *status, uint64_t value)
{
	buf_printf(out, "postcell_zone_%s{zone=\"%s\",server=\"%s\"} %llu\n",
	    name, status->zone, status->server, (unsigned long long)value);
}

static void
add_head(struct buf *out, const char *name, const char *kind, const char *help)
{
	buf_printf(out,
	    "# HELP postcell_zone_%s %s\n# TYPE postcell_zone_%s %s\n", name,
	    help, name, kind);
}

int
control_metrics(struct buf *out, const struct publish *publish)
{
	size_t count = publish_target_count(publish);

	for (size_t k = 0; k < ARRAY_SIZE(metrics); k++) {
		const struct metric *metric = &metrics[k];

		add_head(out, metric->name, metric->kind, metric->help);
		for (size_t i = 0; i < count; i++) {
			struct target_status status =
			    publish_target(publish, i);
			uint64_t value;

			memcpy(&value, (const char *)&status + metric->offset,
			    sizeof(value));
			add_sample(out, metric->name, &status, value);
		}
	}
	add_head(out, "settled", "gauge", "1 when it holds what it should");
	for (size_t i = 0; i < count; i++) {
		struct target_status status = publish_target(publish, i);

		add_sample(
		    out, "settled", &status, status.state == TARGET_SETTLED);
	}
	add_head(out, "missing_records", "gauge", "Changes still to be made");
	for (size_t i = 0; i < count; i++) {
		struct target_status status = publish_target(publish, i);

		add_sample(out, "missing_records", &status, status.missing);
	}
	return out->failed ? -1 : 0;
}

static void
on_http(struct evhttp_request *request, void *context)
{
	struct control *control = context;
	struct buf text = buf_bounded(CONTROL_TEXT_MAX);
	struct evbuffer *body = evbuffer_new();

	if (!body)
		abort();
	(void)control_metrics(&text, control->settings.publish);
	evbuffer_add(body, buf_string(&text), text.size);
	evhttp_add_header(evhttp_request_get_output_headers(request),
	    "Content-Type", "text/plain; version=0.0.4");
	evhttp_send_reply(request, HTTP_OK, "OK", body);
	evbuffer_free(body);
	buf_free(&text);
}

static int
listen_http(struct control *control, const char **why)
{
	const char *metrics_text = control->settings.config->metrics;
	struct evconnlistener *listener;
	struct endpoint endpoint;

	if (!metrics_text)
		return 0;
	*why = "metrics: cannot listen there";
	if (endpoint_parse(&endpoint, slice_from(metrics_text), 0) < 0)
		return -1;
	listener = evconnlistener_new_bind(control->settings.base, NULL, NULL,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE,
	    SOMAXCONN, (const struct sockaddr *)&endpoint.address,
	    (int)endpoint.size);
	if (!listener)
		return -1;
	control->http = evhttp_new(control->settings.base);
	if (!control->http || !evhttp_bind_listener(control->http, listener))
		abort();
	evhttp_set_allowed_methods(control->http, EVHTTP_REQ_GET);
	evhttp_set_timeout(control->http, CONTROL_TIMEOUT);
	evhttp_set_max_body_size(control->http, CONTROL_QUESTION_SIZE);
	evhttp_set_cb(control->http, "/metrics", on_http, control);
	return 0;
}

struct control *
control_new(const struct control_settings *settings, const char **why)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control)
		abort();
	control->settings = *settings;
	if (listen_unix(control, why) < 0 || listen_http(control, why) < 0)
		control_free(&control);
	return control;
}

void
control_free(struct control **control)
{
	struct control *old = *control;

	*control = NULL;
	if (!old)
		return;
	if (old->http)
		evhttp_free(old->http);
	if (old->listener) {
		evconnlistener_free(old->listener);
		(void)unlink(old->address.sun_path);
	}
	free(old);
}
