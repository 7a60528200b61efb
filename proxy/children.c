#include "proxy/children.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/auth.h"
#include "proxy/control.h"
#include "proxy/health.h"
#include "proxy/relay.h"

struct child *
children_find(const struct parent *parent, enum child_role role)
{
	for (size_t i = 0; i < parent->now.child_count; i++) {
		struct child *child = &parent->now.children[i];

		if (child->role == role &&
		    child->generation == parent->now.generation)
			return child;
	}
	return NULL;
}

/* Tells the health process of another child; a new one is told of all. */
static void
introduce(const struct child *health, const struct child *child)
{
	char text[32] = "auth";

	if (child->role == CHILD_RELAY)
		(void)snprintf(text, sizeof(text), "relay %d", child->slot);
	control_send_fd(health->parent_fd, child->health_fd, text);
}

/* Relays of every generation, but the auth process of this one alone. */
static bool
is_introduced(const struct parent *parent, const struct child *child)
{
	return child->role == CHILD_RELAY ||
	       (child->role == CHILD_AUTH &&
		   child->generation == parent->now.generation);
}

/* A child must not hold ends of the others' channels, or their closing is not
 * seen. */
static void
close_inherited(struct parent *parent, bool is_health)
{
	for (size_t i = 0; i < parent->now.child_count; i++) {
		close(parent->now.children[i].parent_fd);
		if (parent->now.children[i].health_fd >= 0)
			close(parent->now.children[i].health_fd);
	}
	/* Where nobody answers any more, nobody may seem to listen. */
	if (!is_health && parent->metrics.fd >= 0)
		close(parent->metrics.fd);
	close(parent->signal_fd);
	unsetenv("NOTIFY_SOCKET");
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_UNBLOCK, &parent->signals, NULL);
}

static struct log
child_log(const struct parent *parent, const char *process)
{
	struct log log = parent->log;

	log.process = process;
	prctl(PR_SET_NAME, process, 0, 0, 0);
	return log;
}

static int
run_relay(struct parent *parent, const struct child *child, int parent_fd,
    int health_fd)
{
	struct relay_settings settings = {
		.config = parent->config,
		.log = child_log(parent, "relay"),
		.jail = parent->jail,
		.front_context = parent->front_tls->context,
		.back_context = parent->back_context,
		.listeners = parent->listeners,
		.listener_count = parent->listener_count,
		.stats = parent->stats,
		.slot = &parent->stats->slots[child->slot],
		.slot_number = (unsigned)child->slot,
		.failures = &parent->stats->failures,
		.parent_fd = parent_fd,
		.health_fd = health_fd,
	};

	settings.slot->pid = getpid();
	return relay_run(&settings);
}

static int
run_health(struct parent *parent, const struct child *child, int parent_fd,
    int health_fd)
{
	struct health_settings settings = {
		.config = parent->config,
		.log = child_log(parent, "health"),
		.jail = parent->jail,
		.back_context = parent->back_context,
		.front_tls = parent->front_tls,
		.stats = parent->stats,
		.generation = parent->now.generation,
		.metrics_fd = parent->metrics.fd,
		.control_fd = parent->now.control_fd,
		.parent_fd = parent_fd,
	};

	(void)child;
	(void)health_fd;
	return health_run(&settings);
}

static int
run_auth(struct parent *parent, const struct child *child, int parent_fd,
    int health_fd)
{
	struct auth_settings settings = {
		.config = parent->config,
		.log = child_log(parent, "auth"),
		.jail = parent->auth_jail,
		.parent_fd = parent_fd,
		.health_fd = health_fd,
	};

	(void)child;
	return auth_run(&settings);
}

static void
log_child(const struct parent *parent, enum log_level level, const char *event,
    pid_t pid, const char *why)
{
	struct log_line line = log_line(level, event);

	log_number(&line, "child", pid);
	if (why)
		log_string(&line, "why", why);
	log_send(&parent->log, &line);
}

static int
new_channel(int ends[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

/* A channel between a relay and an auth process, an end for each. */
static void
connect_pair(const struct child *relay, const struct child *auth)
{
	int ends[2];

	if (new_channel(ends) < 0)
		return;
	control_send_fd(relay->parent_fd, ends[0], "auth");
	control_send_fd(auth->parent_fd, ends[1], "relay");
	close(ends[0]);
	close(ends[1]);
}

/* With all of the other role in this generation. */
static void
connect_all(struct parent *parent, const struct child *child)
{
	enum child_role other =
	    child->role == CHILD_RELAY ? CHILD_VERIFY : CHILD_RELAY;

	for (size_t i = 0; i < parent->now.child_count; i++) {
		const struct child *each = &parent->now.children[i];

		if (each->role != other ||
		    each->generation != parent->now.generation)
			continue;
		if (other == CHILD_RELAY)
			connect_pair(each, child);
		else
			connect_pair(child, each);
	}
}

/*
 * Those who have to do with a new child are told of it; the health process is
 * told of everybody.
 */
static void
make_known(struct parent *parent, const struct child *child)
{
	const struct child *health = children_find(parent, CHILD_HEALTH);

	for (size_t i = 0;
	     child->role == CHILD_HEALTH && i < parent->now.child_count; i++)
		if (is_introduced(parent, &parent->now.children[i]))
			introduce(child, &parent->now.children[i]);
	if (child->health_fd >= 0 && health)
		introduce(health, child);
	if (child->role == CHILD_RELAY || child->role == CHILD_VERIFY)
		connect_all(parent, child);
}

/* Whom a whole generation has, in the order in which they are started. */
static const struct crew {
	enum child_role role;
	bool reports; /* has a channel to the health process */
	int (*run)(struct parent *parent, const struct child *child,
	    int parent_fd, int health_fd);
} crew[] = {
	{ CHILD_HEALTH, false, run_health },
	{ CHILD_AUTH, true, run_auth },
	{ CHILD_VERIFY, false, run_auth },
	{ CHILD_RELAY, true, run_relay },
};

static void
close_channel(int ends[2])
{
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			close(ends[i]);
}

/* 0; or -1 when the system lacks what it needs. */
static int
fork_child(struct parent *parent, const struct crew *row, struct child *child)
{
	int ours[2] = { -1, -1 }, health[2] = { -1, -1 };

	if (new_channel(ours) < 0 || (row->reports && new_channel(health) < 0))
		goto fail;
	child->parent_fd = ours[0];
	child->health_fd = health[0];
	child->pid = fork();
	if (child->pid < 0)
		goto fail;
	if (child->pid == 0) {
		close_inherited(parent, row->role == CHILD_HEALTH);
		close(ours[0]);
		if (row->reports)
			close(health[0]);
		exit(row->run(parent, child, ours[1], health[1]));
	}
	close(ours[1]);
	if (row->reports)
		close(health[1]);
	return 0;
fail:
	close_channel(ours);
	close_channel(health);
	return -1;
}

/* 0; or -1 when the system lacks what a child needs: tried again later. */
static int
start_child(struct parent *parent, const struct crew *row)
{
	struct child child = { .role = row->role,
		.generation = parent->now.generation,
		.slot = -1,
		.started_ms = relay_now_ms() };
	struct stats_slot *slot = NULL;

	if (row->role == CHILD_RELAY) {
		slot = stats_take(parent->stats, parent->now.generation);
		if (!slot)
			return -1;
		child.slot = (int)(slot - parent->stats->slots);
	}
	if (fork_child(parent, row, &child) < 0) {
		if (slot)
			stats_release(parent->stats, slot);
		return -1;
	}
	if (slot)
		slot->pid = child.pid;
	make_known(parent, &child);
	handover_add_child(&parent->now, child);
	return 0;
}

static size_t
count_children(const struct parent *parent, enum child_role role)
{
	size_t count = 0;

	for (size_t i = 0; i < parent->now.child_count; i++)
		count += parent->now.children[i].role == role &&
			 parent->now.children[i].generation ==
			     parent->now.generation;
	return count;
}

static size_t
wanted_children(const struct parent *parent, enum child_role role)
{
	const struct config *config = parent->config;

	switch (role) {
	case CHILD_HEALTH:
		return 1;
	case CHILD_AUTH:
		return config_observes(config) ? 1 : 0;
	case CHILD_VERIFY:
		return config_verifies(config) ? (size_t)config->auth.processes
					       : 0;
	case CHILD_RELAY:
		break;
	}
	return (size_t)config->relays;
}

bool
children_are_whole(const struct parent *parent)
{
	for (size_t i = 0; i < ARRAY_SIZE(crew); i++)
		if (count_children(parent, crew[i].role) <
		    wanted_children(parent, crew[i].role))
			return false;
	return true;
}

void
children_start_missing(struct parent *parent)
{
	if (parent->stopping || relay_now_ms() < parent->start_from_ms)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(crew); i++) {
		while (count_children(parent, crew[i].role) <
		       wanted_children(parent, crew[i].role)) {
			if (start_child(parent, &crew[i]) == 0)
				continue;
			log_why(&parent->log, LOG_LEVEL_ERROR, "start_failed",
			    strerrordesc_np(errno));
			parent->start_from_ms =
			    relay_now_ms() + CHILDREN_RESTART_DELAY;
			return;
		}
	}
}

/* Lets go of a child that ended. */
static void
drop_child(struct parent *parent, size_t index)
{
	struct child *child = &parent->now.children[index];

	close(child->parent_fd);
	if (child->health_fd >= 0)
		close(child->health_fd);
	if (child->slot >= 0)
		stats_release(
		    parent->stats, &parent->stats->slots[child->slot]);
	*child = parent->now.children[--parent->now.child_count];
}

void
children_take_dead(struct parent *parent, pid_t pid, int status)
{
	for (size_t i = 0; i < parent->now.child_count; i++) {
		struct child child = parent->now.children[i];

		if (child.pid != pid)
			continue;
		drop_child(parent, i);
		if (parent->stopping ||
		    child.generation != parent->now.generation)
			return;
		log_child(parent, LOG_LEVEL_ERROR, "child_died", pid,
		    WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
					: "it gave up, see above");
		if (relay_now_ms() - child.started_ms < CHILDREN_RESTART_DELAY)
			parent->start_from_ms =
			    relay_now_ms() + CHILDREN_RESTART_DELAY;
		return;
	}
}

void
children_signal(const struct parent *parent, int number)
{
	for (size_t i = 0; i < parent->now.child_count; i++)
		kill(parent->now.children[i].pid, number);
}
