#include "ctl/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include <jansson.h>

#include "lib/placement.h"
#include "lib/timestamp.h"
#include "replica/reader.h"

#define RECORD_SIZE_MAX ((size_t)1024 * 1024)

/* All that the answer is made of; freed as one. */
struct map {
	struct replica *replica;
	struct cell *cell;
	struct buf store; /* the account borrows from it */
	struct account account;
	struct placement placed;
	int64_t now_us;
};

static int64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static json_t *
text(struct slice value)
{
	return json_stringn(value.size > 0 ? value.data : "", value.size);
}

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
				 text(pool->servers[i]->name), "state",
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
	    user, "dn", text(map->account.dn), "answer", kinds[placed->kind],
	    "why", placement_reason_text(placed->reason), "status",
	    account_status_text(map->account.status), "servers",
	    describe_servers(map));
	struct buf time = buf_bounded(64);

	if (placed->pool)
		json_object_set_new(answer, "pool", text(placed->pool->name));
	if (placed->server)
		json_object_set_new(
		    answer, "server", text(placed->server->name));
	else if (placed->host.size > 0)
		json_object_set_new(answer, "server", text(placed->host));
	if (placed->kind == PLACEMENT_WAIT &&
	    timestamp_format(&time, placed->until_us) == 0)
		json_object_set_new(
		    answer, "until", json_string(buf_string(&time)));
	buf_free(&time);
	return answer;
}

static const char *
member(const json_t *answer, const char *name)
{
	const char *value = json_string_value(json_object_get(answer, name));

	return value ? value : "-";
}

static void
print(const json_t *answer)
{
	const json_t *server;
	size_t i;

	printf("user    %s\n", member(answer, "user"));
	printf("dn      %s\n", member(answer, "dn"));
	printf("status  %s\n", member(answer, "status"));
	printf("pool    %s\n", member(answer, "pool"));
	printf("server  %s\n", member(answer, "server"));
	printf("why     %s\n", member(answer, "why"));
	if (json_object_get(answer, "until"))
		printf("until   %s\n", member(answer, "until"));
	json_array_foreach(json_object_get(answer, "servers"), i,
	    server) printf("%s %s %s weight %lld\n",
	    i == 0 ? "among  " : "       ", member(server, "name"),
	    member(server, "state"),
	    (long long)json_integer_value(json_object_get(server, "weight")));
}

/* Exit status of a look-up that found nobody. */
static int
complain(enum replica_result result, const char *user, const char *why)
{
	ctl_complain(user, why);
	return result == REPLICA_UNKNOWN ? CTL_NO : EX_TEMPFAIL;
}

static int
map_user(const struct ctl *ctl, struct map *map, const char *user)
{
	enum replica_result result;
	uint64_t generation;
	const char *why;
	json_t *answer;

	if (replica_open(&map->replica, ctl->replica, &why) < 0 ||
	    replica_cell(map->replica, &map->cell, &generation, &why) < 0) {
		ctl_complain(ctl->replica, why);
		return EX_UNAVAILABLE;
	}
	result = replica_find_login(
	    map->replica, slice_from(user), &map->store, &map->account, &why);
	if (result != REPLICA_FOUND)
		return complain(result, user, why);
	map->now_us = now();
	map->placed = placement(&map->account, map->cell, map->now_us);
	answer = describe(map, user);
	if (ctl->json)
		json_dumpf(answer, stdout, JSON_INDENT(2)), putchar('\n');
	else
		print(answer);
	json_decref(answer);
	return map->placed.kind == PLACEMENT_NONE ? EX_TEMPFAIL : EX_OK;
}

int
ctl_map(const struct ctl *ctl, int count, char **words)
{
	struct map map = { .store = buf_bounded(RECORD_SIZE_MAX) };
	int code;

	(void)count;
	code = map_user(ctl, &map, words[0]);
	cell_free(&map.cell);
	replica_free(&map.replica);
	buf_free(&map.store);
	return code;
}
