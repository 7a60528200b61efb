#include "proxy/route.h"

#include <string.h>

#include "lib/name.h"
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

int
router_refresh(struct router *router, const char **why)
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
	router->digest = cell_digest(cell);
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

	if (!service && kind == SERVICE_LMTP)
		service = host_service(server, SERVICE_SMTP);
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
	route->service = service->kind;
	route->proxy_header = service->proxy_header;
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
	route->service = kind;
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
	if (router_refresh(router, &found->why) < 0)
		return ROUTE_UNAVAILABLE;
	return place(router, service, now_us, account, found);
}

/* Where everybody may be everywhere, a session stays while its server is up. */
static const char *
lost_without_affinity(const struct account *account, const struct pool *pool,
    const char *name, int64_t now_us)
{
	struct buf store = buf_bounded(NAME_SIZE_MAX);
	uint64_t phase = placement_phase(account_key(account, &store));
	const char *why = "its server left the pool";

	buf_free(&store);
	for (size_t i = 0; i < pool->server_count; i++) {
		enum host_state state = HOST_DOWN;
		uint32_t weight;

		if (!slice_is(pool->servers[i]->name, name))
			continue;
		placement_reached(
		    pool->servers[i], phase, now_us, &state, &weight);
		why = state == HOST_UP ? NULL : "its server is not up any more";
	}
	return why;
}

const char *
route_lost(const struct router *router, const struct account *account,
    const char *server, bool logged_in, int64_t now_us)
{
	struct placement placed = placement(account, router->cell, now_us);

	if (logged_in && account->status == ACCOUNT_DISABLED)
		return "account was disabled";
	if (logged_in && account->status == ACCOUNT_NOLOGIN)
		return "account may not log in any more";
	if (placed.pool && !placed.pool->affinity && account->pin.size == 0)
		return lost_without_affinity(
		    account, placed.pool, server, now_us);
	switch (placed.kind) {
	case PLACEMENT_SERVER:
		return slice_is(placed.server->name, server)
			   ? NULL
			   : "account was moved";
	case PLACEMENT_HOST:
		return slice_is(placed.host, server) ? NULL
						     : "account was moved";
	case PLACEMENT_WAIT:
		return "account is being moved";
	case PLACEMENT_NONE:
		break;
	}
	return "nobody serves the account now";
}

/* By address; without a domain, or where no entry has the address, by uid. */
static enum replica_result
find_address(struct router *router, struct slice address, struct buf *store,
    struct account *account, const char **why)
{
	enum replica_result result = replica_find(
	    router->replica, NAME_ADDRESS, address, store, account, why);

	if (result == REPLICA_UNKNOWN)
		result = replica_find(
		    router->replica, NAME_UID, address, store, account, why);
	return result;
}

/* user+detail@domain without the detail. */
static enum replica_result
find_without_detail(struct router *router, struct slice address, char delimiter,
    struct buf *store, struct account *account, struct slice *detail,
    const char **why)
{
	struct slice local = address, domain = slice_from("");
	struct buf plain = buf_bounded((size_t)2 * NAME_SIZE_MAX);
	enum replica_result result = REPLICA_UNKNOWN;
	size_t at;

	name_split_address(address, &local, &domain);
	at = delimiter ? slice_find(local, delimiter) : SIZE_MAX;
	if (at != SIZE_MAX && at > 0) {
		*detail = slice_from_offset(local, at + 1);
		buf_add_slice(&plain, slice_first(local, at));
		if (domain.size > 0) {
			buf_add_char(&plain, '@');
			buf_add_slice(&plain, domain);
		}
		if (!plain.failed)
			result = find_address(
			    router, buf_slice(&plain), store, account, why);
	}
	buf_free(&plain);
	return result;
}

static enum replica_result
find_recipient(struct router *router, struct slice address, char delimiter,
    struct buf *store, struct account *account, struct slice *detail,
    const char **why)
{
	enum replica_result result =
	    find_address(router, address, store, account, why);

	*detail = slice_from("");
	if (result == REPLICA_UNKNOWN)
		result = find_without_detail(
		    router, address, delimiter, store, account, detail, why);
	return result;
}

/* One step: an account whose mail goes to another account's address. */
static enum replica_result
follow_routing(struct router *router, struct buf *store,
    struct account *account, const char **why)
{
	struct buf target = buf_bounded(NAME_SIZE_MAX);
	enum replica_result result = REPLICA_FOUND;

	if (account->routing.size > 0) {
		buf_add_slice(&target, account->routing);
		result = find_address(
		    router, buf_slice(&target), store, account, why);
	}
	buf_free(&target);
	return result;
}

enum route_result
route_mail(struct router *router, struct slice address, char delimiter,
    int64_t now_us, struct buf *store, struct account *account,
    struct slice *detail, struct route *found)
{
	enum replica_result result;

	memset(found, 0, sizeof(*found));
	result = find_recipient(
	    router, address, delimiter, store, account, detail, &found->why);
	if (result == REPLICA_FOUND)
		result = follow_routing(router, store, account, &found->why);
	if (result == REPLICA_UNKNOWN)
		return ROUTE_UNKNOWN;
	if (result != REPLICA_FOUND || router_refresh(router, &found->why) < 0)
		return ROUTE_UNAVAILABLE;
	return place(router, SERVICE_LMTP, now_us, account, found);
}
