#include "proxy/arrival.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/delivery.h"
#include "proxy/proxy_header.h"
#include "proxy/session.h"

struct arrival {
	LIST_ENTRY(arrival) link;
	struct relay *relay;             /* borrowed */
	const struct listener *listener; /* borrowed */
	int fd;                          /* owned, until it is handed on */
	union address peer;
	struct buf header;   /* owned: what came of it so far */
	struct event *event; /* owned */
};

static void
admit(struct relay *relay, const struct listener *listener, int fd,
    const union address *client, const union address *local)
{
	if (listener->config->service == SERVICE_LMTP ||
	    listener->config->service == SERVICE_SMTP)
		delivery_accept(relay, listener, fd, client, local);
	else
		session_accept(relay, listener, fd, client, local);
}

static void
log_refused(struct relay *relay, const struct listener *listener,
    const union address *peer, const char *why)
{
	struct log_line line =
	    log_line(LOG_LEVEL_WARNING, "proxy_header_refused");
	char address[INET6_ADDRSTRLEN];

	address_text(peer, address, sizeof(address));
	log_word(&line, "listener", listener->config->title);
	log_word(&line, "peer", address);
	log_string(&line, "why", why);
	log_send(&relay->log, &line);
	relay_count(relay, listener, STATS_HEADER_REFUSED, 1);
}

/* From its own event at the earliest; the descriptor stays open when it was
 * handed on. */
static void
arrival_free(struct arrival *arrival)
{
	struct relay *relay = arrival->relay;

	LIST_REMOVE(arrival, link);
	event_free(arrival->event);
	if (arrival->fd >= 0)
		close(arrival->fd);
	buf_free(&arrival->header);
	free(arrival);
	relay_session_ended(relay);
}

static void
refuse(struct arrival *arrival, const char *why)
{
	log_refused(arrival->relay, arrival->listener, &arrival->peer, why);
	arrival_free(arrival);
}

static void
hand_on(struct arrival *arrival, const struct proxy_header *header)
{
	int fd = arrival->fd;

	arrival->fd = -1;
	event_del(arrival->event);
	if (header->proxied)
		admit(arrival->relay, arrival->listener, fd, &header->client,
		    &header->local);
	else
		admit(arrival->relay, arrival->listener, fd, &arrival->peer,
		    NULL);
	arrival_free(arrival);
}

/*
 * Takes exactly the octets of the header off the socket: what comes behind is
 * for TLS, which reads for itself. So they are looked at first; while the
 * header is not complete all of them belong to it.
 */
static void
on_octets(evutil_socket_t fd, short what, void *context)
{
	struct arrival *arrival = context;
	size_t before = arrival->header.size, size = 0;
	char *room =
	    buf_reserve(&arrival->header, PROXY_HEADER_SIZE_MAX - before);
	enum proxy_header_result result;
	struct proxy_header header;
	const char *why = NULL;
	ssize_t got;

	if (what & EV_TIMEOUT) {
		refuse(arrival, "it did not come in time");
		return;
	}
	if (!room)
		abort();
	got = recv(fd, room, PROXY_HEADER_SIZE_MAX - before, MSG_PEEK);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		/* Balancers look whether anybody is there. */
		if (before > 0)
			refuse(arrival, "the connection ended in it");
		else
			arrival_free(arrival);
		return;
	}
	buf_grow(&arrival->header, (size_t)got);
	result = proxy_header_parse(
	    buf_slice(&arrival->header), &header, &size, &why);
	if (result == PROXY_HEADER_BAD) {
		refuse(arrival, why);
		return;
	}
	if (result == PROXY_HEADER_DONE)
		got = (ssize_t)(size - before);
	if (recv(fd, room, (size_t)got, 0) != got)
		refuse(arrival, "the connection failed in it");
	else if (result == PROXY_HEADER_DONE)
		hand_on(arrival, &header);
}

static void
await_header(struct relay *relay, const struct listener *listener, int fd,
    const union address *peer)
{
	struct timeval patience = { relay->config->limits.login_time, 0 };
	struct arrival *arrival = calloc(1, sizeof(*arrival));

	if (!arrival)
		abort();
	arrival->relay = relay;
	arrival->listener = listener;
	arrival->fd = fd;
	arrival->peer = *peer;
	arrival->header = buf_bounded(PROXY_HEADER_SIZE_MAX);
	arrival->event = event_new(
	    relay->base, fd, EV_READ | EV_PERSIST, on_octets, arrival);
	if (!arrival->event || event_add(arrival->event, &patience) < 0)
		abort();
	LIST_INSERT_HEAD(&relay->arrivals, arrival, link);
	relay->session_count++;
}

void
arrival_accept(struct relay *relay, const struct listener *listener, int fd,
    const union address *peer)
{
	const struct networks *networks = &listener->config->proxy_networks;

	if (networks->count == 0) {
		admit(relay, listener, fd, peer, NULL);
	} else if (networks_contain(networks, peer)) {
		await_header(relay, listener, fd, peer);
	} else {
		log_refused(relay, listener, peer,
		    "the address is in none of proxy_networks");
		close(fd);
	}
}

void
arrival_stop_all(struct relay *relay)
{
	while (!LIST_EMPTY(&relay->arrivals))
		/* Freeing takes it off the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		arrival_free(LIST_FIRST(&relay->arrivals));
}
