#include "proxy/route.h"

#include <string.h>
#include <time.h>

#include "lib/placement.h"

int
router_open(struct router *router, const char *replica,
    const struct config_backend *backend, const char **why)
{
	*router = (struct router){ .backend = backend };
	return replica_open(&router->replica, replica, why);
}

void
router_close(struct router *router)
{
	cell_free(&router->cell);
	replica_free(&router->replica);
}

int64_t
route_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Reads the map again when replicad has changed it. */
static int
refresh_cell(struct router *router, const char **why)
{
	uint64_t generation = replica_cell_generation(router->replica);
	struct cell *cell;

	if (router->cell && generation == router->generation)
		return 0;
	if (replica_cell(router->replica, &cell, &generation, why) < 0)
		return router->cell ? 0 : -1;
	cell_free(&router->cell);
	router->cell = cell;
	router->generation = generation;
	return 0;
}

/* False when the text does not fit, which no name of DNS does. */
static bool
copy_host(char *to, struct slice from)
{
	if (from.size >= ROUTE_HOST_SIZE)
		return false;
	memcpy(to, from.data, from.size);
	to[from.size] = '\0';
	return true;
}

static enum route_result
to_server(
    struct route *route, const struct host *server, enum service_kind kind)
{
	const struct service *service = host_service(server, kind);

	if (!service) {
		route->why = "the account's server does not offer this service";
		return ROUTE_UNAVAILABLE;
	}
	if (!copy_host(route->server, server->name) ||
	    !copy_host(route->host, service->host)) {
		route->why = "the server's name is too long";
		return ROUTE_UNAVAILABLE;
	}
	route->port = service->port;
	route->tls = service->tls;
	return ROUTE_FOUND;
}

/* A pin to a host outside the cell: what the configuration says of such hosts.
 */
static enum route_result
to_host(struct route *route, struct slice host,
    const struct config_backend *backend, enum service_kind kind)
{
	struct buf url = buf_bounded(64);
	struct service service;
	const char *why;

	buf_printf(&url, "%s://host", service_kind_text(kind));
	if (service_parse(buf_slice(&url), &service, &why) < 0)
		service.port = 0;
	buf_free(&url);
	if (!copy_host(route->server, host) || !copy_host(route->host, host)) {
		route->why = "the pinned host's name is too long";
		return ROUTE_UNAVAILABLE;
	}
	route->port = backend->port ? (uint16_t)backend->port : service.port;
	route->tls = (enum service_tls)backend->tls;
	return ROUTE_FOUND;
}

static enum route_result
place(struct router *router, enum service_kind service, int64_t now_us,
    const struct account *account, struct route *route)
{
	struct placement placed = placement(account, router->cell, now_us);

	route->why = placement_reason_text(placed.reason);
	switch (placed.kind) {
	case PLACEMENT_SERVER:
		return to_server(route, placed.server, service);
	case PLACEMENT_HOST:
		return to_host(route, placed.host, router->backend, service);
	case PLACEMENT_WAIT:
		route->wait_until_us = placed.until_us;
		return ROUTE_WAIT;
	case PLACEMENT_NONE:
		break;
	}
	return ROUTE_UNAVAILABLE;
}

enum route_result
route(struct router *router, enum service_kind service, struct slice user,
    int64_t now_us, struct buf *store, struct account *account,
    struct route *found)
{
	memset(found, 0, sizeof(*found));
	switch (replica_find_login(
	    router->replica, user, store, account, &found->why)) {
	case REPLICA_FOUND:
		break;
	case REPLICA_UNKNOWN:
		return ROUTE_UNKNOWN;
	case REPLICA_AMBIGUOUS:
	case REPLICA_EMPTY:
	case REPLICA_FAILED:
		return ROUTE_UNAVAILABLE;
	}
	if (account->status == ACCOUNT_DISABLED)
		return ROUTE_DISABLED;
	if (account->status == ACCOUNT_NOLOGIN)
		return ROUTE_NOLOGIN;
	if (refresh_cell(router, &found->why) < 0)
		return ROUTE_UNAVAILABLE;
	return place(router, service, now_us, account, found);
}
