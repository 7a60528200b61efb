/*
 * resolve: host names of back ends to addresses, by c-ares on libevent.
 *
 * Answers are kept as long as their TTL says and no longer; several who wait
 * for one name share one query. No file is opened after resolver_new(), and
 * /etc/hosts is never read.
 */
#ifndef PROXY_RESOLVE_H
#define PROXY_RESOLVE_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/event.h>

#include "daemon/settings.h"

#define RESOLVE_ADDRESSES_MAX                                                  \
	16 /* of one name; what comes after is not tried */

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct address_list {
	union address
	    addresses[RESOLVE_ADDRESSES_MAX]; /* in the order of the answer */
	size_t count;
};

struct resolver;
struct resolve_query;

/* servers: "ADDRESS" or "ADDRESS:PORT"; none: the system's. NULL with *why. */
struct resolver *resolver_new(struct event_base *base,
    const struct setting_list *servers, const char **why);
void resolver_free(struct resolver **resolver);

/* count 0: *why is static text. May be called before resolve() returns. */
typedef void resolve_done(
    void *context, const struct address_list *list, const char *why);

/*
 * Looks up the addresses of a name, or reads an address in text. NULL when
 * `done` was called already.
 */
struct resolve_query *resolve(struct resolver *resolver, const char *text,
    resolve_done *done, void *context);
/* `done` will not be called. */
void resolve_cancel(struct resolve_query **query);

/* Port of an address, and the size that the socket calls want. */
void address_set_port(union address *address, uint16_t port);
uint16_t address_port(const union address *address);
/* "0.0.0.0" and "::". */
bool address_is_any(const union address *address);
socklen_t address_size(const union address *address);
/* Numeric text into at least INET6_ADDRSTRLEN octets. */
void address_text(const union address *address, char *text, size_t size);

#endif
