#include "ctl/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include <jansson.h>

#include "ctl/output.h"
#include "ctl/view.h"
#include "lib/placement.h"
#include "replica/clock.h"

/* All that the answer is made of; freed as one. */
struct map {
	struct view view;
	struct buf store; /* the account borrows from it */
	struct account account;
	struct placement placed;
	int64_t now_us;
};

/* What holds of each server of the pool for this very account. */
static json_t *
describe_servers(const struct map *map)
{
	struct buf store = buf_bounded(NAME_SIZE_MAX);
	uint64_t phase = placement_phase(account_key(&map->account, &store));
	const struct pool *pool = map->placed.pool;
	json_t *servers = json_array();

	buf_free(&store);
	for (size_t i = 0; pool && i < pool->server_count; i++) {
		enum host_state state = HOST_DOWN;
		uint32_t weight = 0;
		bool reached = placement_reached(
		    pool->servers[i], phase, map->now_us, &state, &weight);

		json_array_append_new(
		    servers, json_pack("{s:o, s:s, s:i}", "name",
				 output_text(pool->servers[i]->name), "state",
				 reached ? host_state_text(state) : "absent",
				 "weight", (int)weight));
	}
	return servers;
}

static json_t *
describe(const struct map *map, const char *user)
{
	static const char *const kinds[] = {
		[PLACEMENT_SERVER] = "server",
		[PLACEMENT_HOST] = "host",
		[PLACEMENT_WAIT] = "wait",
		[PLACEMENT_NONE] = "none",
	};
	const struct placement *placed = &map->placed;
	json_t *answer = json_pack("{s:s, s:o, s:s, s:s, s:s, s:o}", "user",
	    user, "dn", output_text(map->account.dn), "answer",
	    kinds[placed->kind], "why", placement_reason_text(placed->reason),
	    "status", account_status_text(map->account.status), "servers",
	    describe_servers(map));

	if (placed->pool)
		json_object_set_new(
		    answer, "pool", output_text(placed->pool->name));
	if (placed->server)
		json_object_set_new(
		    answer, "server", output_text(placed->server->name));
	else if (placed->host.size > 0)
		json_object_set_new(
		    answer, "server", output_text(placed->host));
	if (placed->kind == PLACEMENT_WAIT)
		json_object_set_new(
		    answer, "until", output_moment(placed->until_us));
	return answer;
}

static void
print(const json_t *answer)
{
	const json_t *server;
	size_t i;

	printf("user    %s\n", output_member(answer, "user"));
	printf("dn      %s\n", output_member(answer, "dn"));
	printf("status  %s\n", output_member(answer, "status"));
	printf("pool    %s\n", output_member(answer, "pool"));
	printf("server  %s\n", output_member(answer, "server"));
	printf("why     %s\n", output_member(answer, "why"));
	if (json_object_get(answer, "until"))
		printf("until   %s\n", output_member(answer, "until"));
	json_array_foreach(json_object_get(answer, "servers"), i,
	    server) printf("%s %s %s weight %lld\n",
	    i == 0 ? "among  " : "       ", output_member(server, "name"),
	    output_member(server, "state"),
	    (long long)json_integer_value(json_object_get(server, "weight")));
}

/*
 * The name to connect to, alone: of the server's IMAP service, else of its
 * first one. A user who waits for the guard is nowhere yet.
 */
static int
print_host(const struct map *map, const char *user)
{
	const struct placement *placed = &map->placed;
	const struct service *service;
	struct slice host = placed->host;

	if (placed->kind == PLACEMENT_WAIT || placed->kind == PLACEMENT_NONE) {
		ctl_complain(user, placement_reason_text(placed->reason));
		return EX_TEMPFAIL;
	}
	if (placed->kind == PLACEMENT_SERVER) {
		service = host_service(placed->server, SERVICE_IMAP);
		if (!service && placed->server->service_count > 0)
			service = &placed->server->services[0];
		host = service ? service->host : placed->server->name;
	}
	printf("%.*s\n", SLICE_ARGS(host));
	return EX_OK;
}

static int
map_user(const struct ctl *ctl, struct map *map, const char *user)
{
	int code = view_open(&map->view, ctl);
	json_t *answer;

	if (code == EX_OK)
		code = view_find(&map->view, user, &map->store, &map->account);
	if (code != EX_OK)
		return code;
	map->now_us = clock_realtime_us();
	map->placed = placement(&map->account, map->view.cell, map->now_us);
	if (ctl->options.host)
		return print_host(map, user);
	answer = describe(map, user);
	if (ctl->json)
		code = output_json(json_incref(answer));
	else
		print(answer);
	json_decref(answer);
	return map->placed.kind == PLACEMENT_NONE ? EX_TEMPFAIL : code;
}

int
ctl_map(const struct ctl *ctl, int count, char **words)
{
	struct map map = { .store = buf_bounded(VIEW_RECORD_MAX) };
	int code;

	(void)count;
	code = map_user(ctl, &map, words[0]);
	view_close(&map.view);
	buf_free(&map.store);
	return code;
}
