#include "zones/web.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "lib/endpoint.h"
#include "zones/autoconfig.h"
#include "zones/web_request.h"

#define WEB_TIMEOUT      10 /* s for one connection */
#define WEB_VISITORS_MAX 64
#define WEB_TEXT_MAX     65536
#define WEB_BACKLOG      128

struct visitor {
	struct web *web;
	struct bufferevent *stream; /* owned */
	struct event *deadline;     /* owned */
	TAILQ_ENTRY(visitor) link;
};

struct web {
	const struct config *config;
	const struct publish *publish;
	struct event_base *base;
	int *sockets; /* owned until they are listened at */
	size_t socket_count;
	struct evconnlistener **listeners;      /* owned; as many */
	TAILQ_HEAD(visitors, visitor) visitors; /* the oldest first */
	size_t visitor_count;
};

/* ---- what is answered ---- */

static const struct config_domain *
find_domain(const struct config *config, struct slice name)
{
	const struct config_domain *domains = config->domains.items;

	for (size_t i = 0; i < config->domains.count; i++)
		if (slice_is_nocase(name, domains[i].title))
			return &domains[i];
	return NULL;
}

static const struct config_domain *
domain_of(const struct config *config, const struct web_request *request)
{
	static const char prefix[] = "autoconfig.";
	const struct config_domain *domain = find_domain(config, request->host);
	struct slice address;
	size_t at;

	if (!domain && slice_starts_nocase(request->host, prefix))
		domain = find_domain(config,
		    slice_from_offset(request->host, sizeof(prefix) - 1));
	if (domain)
		return domain;
	address = web_request_field(request, "emailaddress");
	at = slice_find_last(address, '@');
	if (at != SIZE_MAX)
		return find_domain(config, slice_from_offset(address, at + 1));
	/* Browsers write the @ as %40. */
	at = slice_find_last(address, '%');
	if (at == SIZE_MAX ||
	    !slice_starts_nocase(slice_from_offset(address, at), "%40"))
		return NULL;
	return find_domain(config, slice_from_offset(address, at + 3));
}

static bool
is_autoconfig(struct slice path)
{
	return slice_is(path, "/mail/config-v1.1.xml") ||
	       slice_is(path, "/.well-known/autoconfig/mail/config-v1.1.xml");
}

static int
make_document(
    const struct web *web, const struct web_request *request, struct buf *out)
{
	const struct config_domain *domain = domain_of(web->config, request);
	const struct rrsets *set;
	ldns_rdf *name;

	if (!domain || !is_autoconfig(request->path))
		return -1;
	name = ldns_dname_new_frm_str(domain->title);
	if (!name)
		abort();
	ldns_dname2canonical(name);
	set = publish_planned(web->publish, config_zone_of(web->config, name));
	ldns_rdf_deep_free(name);
	return set ? autoconfig_document(out, web->config, domain, set) : -1;
}

static void
add_answer(struct evbuffer *out, const char *status, const char *kind,
    struct slice text, bool head_only)
{
	evbuffer_add_printf(out,
	    "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
	    "Cache-Control: no-cache\r\nConnection: close\r\n\r\n",
	    status, kind, text.size);
	if (!head_only)
		evbuffer_add(out, text.data, text.size);
}

static void
answer(const struct web *web, const struct web_request *request,
    struct evbuffer *out)
{
	struct buf text = buf_bounded(WEB_TEXT_MAX);
	bool head = slice_is(request->method, "HEAD");

	if (!head && !slice_is(request->method, "GET"))
		add_answer(out, "405 Method Not Allowed\r\nAllow: GET, HEAD",
		    "text/plain", slice_from("There is nothing but GET.\n"),
		    false);
	else if (make_document(web, request, &text) == 0)
		add_answer(out, "200 OK", "text/xml; charset=utf-8",
		    buf_slice(&text), head);
	else
		add_answer(out, "404 Not Found", "text/plain",
		    slice_from("There is no such document.\n"), head);
	buf_free(&text);
}

/* ---- connections ---- */

static void
visitor_free(struct visitor *visitor)
{
	struct web *web = visitor->web;

	TAILQ_REMOVE(&web->visitors, visitor, link);
	web->visitor_count--;
	event_free(visitor->deadline);
	bufferevent_free(visitor->stream);
	free(visitor);
}

static void
on_visitor_event(struct bufferevent *stream, short what, void *context)
{
	(void)stream;
	(void)what;
	visitor_free(context);
}

static void
on_deadline(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	visitor_free(context);
}

static void
on_visitor_written(struct bufferevent *stream, void *context)
{
	if (evbuffer_get_length(bufferevent_get_output(stream)) == 0)
		visitor_free(context);
}

static void
on_visitor_read(struct bufferevent *stream, void *context)
{
	struct visitor *visitor = context;
	struct evbuffer *input = bufferevent_get_input(stream);
	struct evbuffer *out = bufferevent_get_output(stream);
	size_t size = evbuffer_get_length(input);
	const void *data = evbuffer_pullup(input, -1);
	struct web_request request;

	switch (web_request_parse(&request, slice_of(data, size))) {
	case WEB_REQUEST_MORE:
		if (size < WEB_REQUEST_SIZE_MAX)
			return;
		add_answer(out, "431 Request Header Fields Too Large",
		    "text/plain", slice_from("That is too much.\n"), false);
		break;
	case WEB_REQUEST_DONE:
		answer(visitor->web, &request, out);
		break;
	case WEB_REQUEST_BAD:
		add_answer(out, "400 Bad Request", "text/plain",
		    slice_from("That is not HTTP/1.\n"), false);
		break;
	}
	bufferevent_disable(stream, EV_READ);
	bufferevent_setcb(
	    stream, NULL, on_visitor_written, on_visitor_event, visitor);
}

static void
on_visitor(struct evconnlistener *listener, evutil_socket_t fd,
    struct sockaddr *address, int size, void *context)
{
	struct web *web = context;
	struct timeval timeout = { WEB_TIMEOUT, 0 };
	struct visitor *visitor = calloc(1, sizeof(*visitor));

	(void)listener;
	(void)address;
	(void)size;
	if (!visitor)
		abort();
	if (web->visitor_count >= WEB_VISITORS_MAX)
		visitor_free(TAILQ_FIRST(&web->visitors));
	visitor->web = web;
	visitor->stream =
	    bufferevent_socket_new(web->base, fd, BEV_OPT_CLOSE_ON_FREE);
	visitor->deadline = evtimer_new(web->base, on_deadline, visitor);
	if (!visitor->stream || !visitor->deadline ||
	    evtimer_add(visitor->deadline, &timeout) < 0)
		abort();
	TAILQ_INSERT_TAIL(&web->visitors, visitor, link);
	web->visitor_count++;
	bufferevent_setcb(
	    visitor->stream, on_visitor_read, NULL, on_visitor_event, visitor);
	bufferevent_setwatermark(
	    visitor->stream, EV_READ, 0, WEB_REQUEST_SIZE_MAX);
	bufferevent_enable(visitor->stream, EV_READ | EV_WRITE);
}

/* ---- life ---- */

/* A listening socket, or -1 with *why. */
static int
open_socket(const char *text, const char **why)
{
	struct endpoint endpoint;
	const int on = 1;
	int fd;

	if (endpoint_parse(&endpoint, slice_from(text), CONFIG_WEB_PORT) < 0) {
		*why = "not an address";
		return -1;
	}
	fd = socket(endpoint.address.ss_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    bind(fd, (const struct sockaddr *)&endpoint.address,
		endpoint.size) == 0 &&
	    listen(fd, WEB_BACKLOG) == 0)
		return fd;
	*why = strerrordesc_np(errno);
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

struct web *
web_open(const struct config *config, const char **why)
{
	struct web *web = calloc(1, sizeof(*web));

	if (!web)
		abort();
	TAILQ_INIT(&web->visitors);
	web->config = config;
	web->sockets = calloc(config->web.count + 1, sizeof(*web->sockets));
	web->listeners =
	    calloc(config->web.count + 1, sizeof(struct evconnlistener *));
	if (!web->sockets || !web->listeners)
		abort();
	for (size_t i = 0; i < config->web.count; i++) {
		int fd = open_socket(config->web.items[i], why);

		if (fd < 0) {
			web_free(&web);
			return NULL;
		}
		web->sockets[web->socket_count++] = fd;
	}
	return web;
}

void
web_start(
    struct web *web, struct event_base *base, const struct publish *publish)
{
	web->base = base;
	web->publish = publish;
	for (size_t i = 0; i < web->socket_count; i++) {
		web->listeners[i] = evconnlistener_new(base, on_visitor, web,
		    LEV_OPT_CLOSE_ON_FREE, 0, web->sockets[i]);
		if (!web->listeners[i])
			abort();
	}
}

void
web_free(struct web **web)
{
	struct web *old = *web;

	*web = NULL;
	if (!old)
		return;
	while (!TAILQ_EMPTY(&old->visitors))
		visitor_free(TAILQ_FIRST(&old->visitors));
	for (size_t i = 0; i < old->socket_count; i++) {
		if (old->listeners[i])
			evconnlistener_free(old->listeners[i]);
		else
			(void)close(old->sockets[i]);
	}
	free((void *)old->listeners);
	free(old->sockets);
	free(old);
}
