#include "daemon/metrics_server.h"

#include <stdlib.h>

#include <event2/buffer.h>
#include <event2/http.h>

#include "daemon/exposition.h"

#define SIZE_MAX_OCTETS (16UL * 1024 * 1024) /* of all metrics */
#define HEADERS_MAX     8192                 /* octets of a request */
#define PATIENCE        10                   /* s for a request */

struct metrics_server {
	struct metrics_source source;
	struct evhttp *http; /* owned */
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

	server->source.add(&text, server->source.context);
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
	const char *why = server->source.unhealthy(server->source.context);
	struct buf text = buf_bounded(1024);

	buf_printf(&text, "%s\n", why ? why : "ok");
	reply(request, why ? HTTP_SERVUNAVAIL : HTTP_OK,
	    why ? "Service Unavailable" : "OK", "text/plain; charset=utf-8",
	    buf_slice(&text));
	buf_free(&text);
}

struct metrics_server *
metrics_server_new(
    struct event_base *base, int fd, const struct metrics_source *source)
{
	struct metrics_server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->source = *source;
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
