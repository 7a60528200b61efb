#include "proxy/moves.h"

#include <stdlib.h>
#include <string.h>

#include "lib/placement.h"
#include "proxy/relay.h"
#include "replica/clock.h"

#define POLL_INTERVAL   40 /* ms between looks at the replica */
#define RECORD_SIZE_MAX 65536
#define LATE_PAUSE      1000 /* ms between two words on moves that came late */

static struct follower_list *
bucket_of(struct moves *moves, const char *id)
{
	uint32_t number;

	/* The last octets of a UUID of any version are well spread. */
	memcpy(&number, id + ACCOUNT_ID_SIZE - sizeof(number), sizeof(number));
	return &moves->buckets[number % MOVES_BUCKETS];
}

static void ask(struct follower *follower);

static void
on_next(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	ask(context);
}

/* Asks again at the moment from which the answer may be another by itself. */
static void
arm_next(
    struct follower *follower, const struct account *account, int64_t now_us)
{
	struct relay *relay = follower->relay;
	int64_t next_us = placement_next(account, relay->router.cell, now_us);
	int64_t wait_us = next_us - now_us;
	struct timeval after = { wait_us / 1000000, wait_us % 1000000 };

	if (next_us == INT64_MAX) {
		if (follower->next)
			event_free(follower->next);
		follower->next = NULL;
		return;
	}
	if (!follower->next)
		follower->next = evtimer_new(relay->base, on_next, follower);
	if (!follower->next || event_add(follower->next, &after) < 0)
		abort();
}

/* Had it to leave that server a guard ago already? */
static bool
is_late(const struct follower *follower, const struct account *account,
    int64_t now_us)
{
	const struct cell *cell = follower->relay->router.cell;
	const struct pool *pool = placement(account, cell, now_us).pool;
	int64_t guard_us = 1000 * (int64_t)(pool ? pool->guard_ms : POOL_GUARD);
	int64_t then_us = now_us - guard_us;
	struct placement then = placement(account, cell, then_us);

	if (pool && !pool->affinity)
		return false;
	/* A move is waited for even before its moment. */
	if (account->moved && then_us < account->moved_us)
		return false;
	if (then.kind == PLACEMENT_SERVER)
		return !slice_is(then.server->name, follower->server);
	return then.kind != PLACEMENT_HOST ||
	       !slice_is(then.host, follower->server);
}

static void
warn_if_late(const struct follower *follower, const struct account *account,
    int64_t now_us)
{
	struct relay *relay = follower->relay;
	int64_t now_ms = relay_now_ms();
	struct log_line line;

	if (now_ms - relay->moves.late_ms < LATE_PAUSE ||
	    !is_late(follower, account, now_us))
		return;
	relay->moves.late_ms = now_ms;
	line = log_line(LOG_LEVEL_ERROR, "late_move");
	log_string(&line, "server", follower->server);
	log_string(&line, "why",
	    "a move was learnt of later than the guard; an account may have been with two servers");
	log_send(&relay->log, &line);
}

/* An account that cannot be looked up now stays where it is: nothing is known.
 */
static void
ask(struct follower *follower)
{
	struct relay *relay = follower->relay;
	struct buf store = buf_bounded(RECORD_SIZE_MAX);
	const char *why = "account is gone";
	int64_t now_us = clock_realtime_us();
	struct account account;
	enum replica_result result = replica_find_by_id(relay->router.replica,
	    slice_of(follower->id, sizeof(follower->id)), &store, &account,
	    &why);

	if (result == REPLICA_UNKNOWN) {
		follower->moved(follower->context, "account is gone");
	} else if (result == REPLICA_FOUND) {
		why = route_lost(&relay->router, &account, follower->server,
		    follower->logged_in, now_us);
		if (why) {
			warn_if_late(follower, &account, now_us);
			follower->moved(follower->context, why);
		} else {
			arm_next(follower, &account, now_us);
		}
	}
	buf_free(&store);
}

static void
ask_list(struct follower_list *list, struct slice id)
{
	struct follower *follower, *next;

	for (follower = LIST_FIRST(list); follower; follower = next) {
		next = LIST_NEXT(follower, link);
		if (id.size == 0 ||
		    slice_equal(
			slice_of(follower->id, sizeof(follower->id)), id))
			ask(follower);
	}
}

static void
on_changed(void *context, struct slice id)
{
	struct relay *relay = context;

	if (id.size == ACCOUNT_ID_SIZE)
		ask_list(bucket_of(&relay->moves, id.data), id);
}

static void
ask_all(struct relay *relay)
{
	for (size_t i = 0; i < MOVES_BUCKETS; i++)
		ask_list(&relay->moves.buckets[i], slice_from(""));
}

/* The map first: what changed of an account is asked with the newest map. */
static void
on_poll(evutil_socket_t fd, short what, void *context)
{
	struct relay *relay = context;
	struct moves *moves = &relay->moves;
	const char *why;

	(void)fd;
	(void)what;
	if (router_refresh(&relay->router, &why) < 0)
		return;
	if (relay->router.digest != moves->digest) {
		moves->digest = relay->router.digest;
		ask_all(relay);
	}
	if (replica_changes(relay->router.replica, &moves->journal, on_changed,
		relay, &why) == 1)
		ask_all(relay);
}

void
moves_open(struct relay *relay)
{
	struct moves *moves = &relay->moves;
	struct timeval interval = { 0, POLL_INTERVAL * 1000L };

	moves->buckets = calloc(MOVES_BUCKETS, sizeof(*moves->buckets));
	moves->poll = event_new(relay->base, -1, EV_PERSIST, on_poll, relay);
	if (!moves->buckets || !moves->poll ||
	    event_add(moves->poll, &interval) < 0)
		abort();
}

void
moves_close(struct relay *relay)
{
	if (relay->moves.poll)
		event_free(relay->moves.poll);
	free(relay->moves.buckets);
}

void
moves_follow(struct relay *relay, struct follower *follower,
    const struct account *account)
{
	struct follower fresh = { .moved = follower->moved,
		.context = follower->context,
		.server = follower->server,
		.logged_in = follower->logged_in };

	moves_forget(follower);
	if (account->id.size != ACCOUNT_ID_SIZE)
		return;
	*follower = fresh;
	follower->relay = relay;
	memcpy(follower->id, account->id.data, ACCOUNT_ID_SIZE);
	LIST_INSERT_HEAD(
	    bucket_of(&relay->moves, follower->id), follower, link);
	arm_next(follower, account, clock_realtime_us());
}

static void
end_list(struct follower_list *list, struct slice id, struct slice server,
    const char *why, json_t *ended)
{
	struct follower *follower, *next;

	for (follower = LIST_FIRST(list); follower; follower = next) {
		struct slice own = slice_of(follower->id, sizeof(follower->id));

		next = LIST_NEXT(follower, link);
		if (id.size > 0 ? !slice_equal(own, id)
				: !slice_is_nocase(server, follower->server))
			continue;
		json_array_append_new(
		    ended, json_pack("{s:s}", "server", follower->server));
		follower->moved(follower->context, why);
	}
}

json_t *
moves_end(
    struct relay *relay, struct slice id, struct slice server, const char *why)
{
	struct moves *moves = &relay->moves;
	json_t *ended = json_array();

	if (id.size == ACCOUNT_ID_SIZE)
		end_list(bucket_of(moves, id.data), id, server, why, ended);
	for (size_t i = 0; id.size == 0 && i < MOVES_BUCKETS; i++)
		end_list(&moves->buckets[i], id, server, why, ended);
	return ended;
}

void
moves_forget(struct follower *follower)
{
	if (!follower->relay)
		return;
	LIST_REMOVE(follower, link);
	if (follower->next)
		event_free(follower->next);
	*follower = (struct follower){ 0 };
}
