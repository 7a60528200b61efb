/*
 * watched: one service of a host, probed again and again: its name resolved,
 * how deep it is looked at this time, and what is held of it since.
 */
#ifndef PROXY_WATCHED_H
#define PROXY_WATCHED_H

#include <jansson.h>

#include "proxy/observe.h"
#include "proxy/probe.h"
#include "proxy/resolve.h"

#define WATCHED_HOST_SIZE 254

struct target;

/* One service of a target. */
struct watched {
	bool there;
	struct buf url; /* owned: what the probes borrow host names from */
	struct service service;
	char host[WATCHED_HOST_SIZE];  /* service.host as a string */
	struct address_list addresses; /* the last that were found */
	bool resolved;                 /* at least once, whatever was found */
	struct resolve_query *query;   /* owned while it runs */
	struct probe *probe;           /* owned while it runs */
	struct observed observed;
	int64_t next_ms, began_ms;
	unsigned round;
	enum probe_depth depth, failed_depth; /* of the last one */
	long took_ms;
	const char *why; /* static: of the last result */
	int family;      /* AF_INET, AF_INET6: addresses of it alone; else 0 */
	struct target *target;
};

/*
 * Watches a service; keeps what is known while it stays what it was. family:
 * AF_INET, AF_INET6: addresses of it alone; else 0.
 */
void watched_set(struct watched *watched, struct target *target,
    const struct service *service, int family);
void watched_drop(struct watched *watched);
/* Begins a probe of each of SERVICE_KIND_COUNT services whose time has come. */
void watched_probe_due(struct watched *services, int64_t now_ms);
/* A JSON object, owned by the caller. */
json_t *watched_describe(const struct watched *watched);

/* AF_INET, AF_INET6, or 0 for a name, which may have both. */
int watched_family_of(struct slice host);

#endif
