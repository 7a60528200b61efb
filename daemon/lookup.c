#include "daemon/lookup.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <ares.h>

#include "lib/buf.h"

#define LOOKUP_TIMEOUT      1000 /* ms, the first try of each server */
#define LOOKUP_TRIES        2
#define LOOKUP_INTERVAL_MIN 5 /* s */

/* A socket of c-ares. */
struct lookup_socket {
	struct lookup *lookup;
	struct event *event; /* owned */
	ares_socket_t fd;
	LIST_ENTRY(lookup_socket) link;
};

struct lookup {
	struct event_base *base;
	ares_channel channel;
	struct addresses *addresses; /* borrowed */
	void (*changed)(void *context);
	void *context;
	long interval;       /* s */
	struct event *again; /* all names once more */
	struct event *clock; /* time-outs of c-ares */
	bool ending;
	LIST_HEAD(, lookup_socket) sockets;
};

/* Whose addresses an answer is; owned by the question. */
struct question {
	struct lookup *lookup;
	char name[];
};

static void
set_clock(struct lookup *lookup)
{
	struct timeval after;

	if (ares_timeout(lookup->channel, NULL, &after))
		(void)event_add(lookup->clock, &after);
}

static void
on_clock(evutil_socket_t fd, short what, void *context)
{
	struct lookup *lookup = context;

	(void)fd;
	(void)what;
	ares_process_fd(lookup->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	set_clock(lookup);
}

static void
on_ready(evutil_socket_t fd, short what, void *context)
{
	struct lookup *lookup = ((struct lookup_socket *)context)->lookup;

	ares_process_fd(lookup->channel, what & EV_READ ? fd : ARES_SOCKET_BAD,
	    what & EV_WRITE ? fd : ARES_SOCKET_BAD);
	set_clock(lookup);
}

static void
drop_socket(struct lookup_socket *watched)
{
	LIST_REMOVE(watched, link);
	event_free(watched->event);
	free(watched);
}

/* c-ares opened a socket, wants something else of it, or closes it. */
static void
on_socket(void *context, ares_socket_t fd, int readable, int writable)
{
	struct lookup *lookup = context;
	struct lookup_socket *watched;
	short wanted = (short)(EV_PERSIST | (readable ? EV_READ : 0) |
			       (writable ? EV_WRITE : 0));

	LIST_FOREACH(watched, &lookup->sockets, link)
	if (watched->fd == fd)
		break;
	if (watched)
		drop_socket(watched);
	if (!readable && !writable)
		return;
	watched = calloc(1, sizeof(*watched));
	if (!watched)
		abort();
	watched->lookup = lookup;
	watched->fd = fd;
	watched->event = event_new(lookup->base, fd, wanted, on_ready, watched);
	if (!watched->event || event_add(watched->event, NULL) < 0)
		abort();
	LIST_INSERT_HEAD(&lookup->sockets, watched, link);
}

static size_t
collect(const struct ares_addrinfo *answer,
    char texts[ADDRESSES_EACH_MAX][INET6_ADDRSTRLEN],
    const char *list[ADDRESSES_EACH_MAX])
{
	size_t count = 0;

	for (const struct ares_addrinfo_node *node = answer->nodes;
	     node && count < ADDRESSES_EACH_MAX; node = node->ai_next) {
		const void *address =
		    node->ai_family == AF_INET6
			? (const void *)&(
			      (const struct sockaddr_in6 *)(const void *)
				  node->ai_addr)
			      ->sin6_addr
			: (const void *)&(
			      (const struct sockaddr_in *)(const void *)
				  node->ai_addr)
			      ->sin_addr;

		if (!inet_ntop(node->ai_family, address, texts[count],
			INET6_ADDRSTRLEN))
			continue;
		list[count] = texts[count];
		count++;
	}
	return count;
}

static void
on_answer(void *context, int status, int timeouts, struct ares_addrinfo *answer)
{
	struct question *question = context;
	struct lookup *lookup = question->lookup;
	char texts[ADDRESSES_EACH_MAX][INET6_ADDRSTRLEN];
	const char *list[ADDRESSES_EACH_MAX];
	struct addresses_name *name;
	bool changed = false;
	size_t count;

	(void)timeouts;
	name = lookup->ending ? NULL
			      : addresses_find(lookup->addresses,
				    slice_from(question->name));
	if (name) {
		changed = !name->tried;
		name->tried = true;
		count =
		    status == ARES_SUCCESS ? collect(answer, texts, list) : 0;
		if (count > 0 && addresses_set(name, list, count))
			changed = true;
	}
	if (status == ARES_SUCCESS)
		ares_freeaddrinfo(answer);
	free(question);
	if (changed)
		lookup->changed(lookup->context);
}

static void
ask(struct lookup *lookup, const char *name)
{
	struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = ARES_AI_NOSORT };
	struct question *question =
	    malloc(sizeof(*question) + strlen(name) + 1);

	if (!question)
		abort();
	question->lookup = lookup;
	memcpy(question->name, name, strlen(name) + 1);
	ares_getaddrinfo(
	    lookup->channel, name, NULL, &hints, on_answer, question);
}

static void
arm_again(struct lookup *lookup)
{
	struct timeval after = { lookup->interval, 0 };

	(void)event_add(lookup->again, &after);
}

static void
on_again(evutil_socket_t fd, short what, void *context)
{
	struct lookup *lookup = context;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < lookup->addresses->count; i++)
		ask(lookup, lookup->addresses->names[i].name);
	set_clock(lookup);
	arm_again(lookup);
}

void
lookup_want(struct lookup *lookup, const char *name)
{
	if (addresses_find(lookup->addresses, slice_from(name)) ||
	    !addresses_want(lookup->addresses, slice_from(name)))
		return;
	ask(lookup, name);
	set_clock(lookup);
}

static int
set_servers(ares_channel channel, const struct setting_list *servers)
{
	struct buf list = buf_bounded(4096);
	int status = ARES_SUCCESS;

	for (size_t i = 0; i < servers->count; i++)
		buf_printf(&list, "%s%s", i > 0 ? "," : "", servers->items[i]);
	if (list.failed)
		status = ARES_EBADSTR;
	else if (servers->count > 0)
		status = ares_set_servers_ports_csv(channel, buf_string(&list));
	buf_free(&list);
	return status == ARES_SUCCESS ? 0 : -1;
}

struct lookup *
lookup_new(struct event_base *base, const struct setting_list *servers,
    long interval, struct addresses *addresses, void (*changed)(void *context),
    void *context, const char **why)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	char lookups[] = "b";
	struct ares_options options = { .flags = ARES_FLAG_NOSEARCH,
		.timeout = LOOKUP_TIMEOUT,
		.tries = LOOKUP_TRIES,
		.lookups = lookups,
		.sock_state_cb = on_socket,
		.sock_state_cb_data = lookup };
	int status;

	if (!lookup)
		abort();
	*lookup = (struct lookup){ .base = base,
		.addresses = addresses,
		.changed = changed,
		.context = context };
	lookup->interval =
	    interval < LOOKUP_INTERVAL_MIN ? LOOKUP_INTERVAL_MIN : interval;
	LIST_INIT(&lookup->sockets);
	status = ares_init_options(&lookup->channel, &options,
	    ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
		ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
	if (status != ARES_SUCCESS) {
		*why = ares_strerror(status);
		free(lookup);
		return NULL;
	}
	lookup->again = evtimer_new(base, on_again, lookup);
	lookup->clock = evtimer_new(base, on_clock, lookup);
	if (!lookup->again || !lookup->clock)
		abort();
	if (set_servers(lookup->channel, servers) < 0) {
		*why = "dns_servers has an entry that is no ADDRESS:PORT";
		lookup_free(&lookup);
		return NULL;
	}
	arm_again(lookup);
	return lookup;
}

void
lookup_free(struct lookup **lookup)
{
	struct lookup *old = *lookup;
	struct lookup_socket *each, *next;

	*lookup = NULL;
	if (!old)
		return;
	old->ending = true;
	ares_destroy(old->channel);
	for (each = LIST_FIRST(&old->sockets); each; each = next) {
		next = LIST_NEXT(each, link);
		drop_socket(each);
	}
	event_free(old->again);
	event_free(old->clock);
	free(old);
}
