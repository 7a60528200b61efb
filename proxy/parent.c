#include "proxy/parent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "proxy/auth.h"
#include "proxy/catchup.h"
#include "proxy/config.h"
#include "proxy/control.h"
#include "proxy/handover.h"
#include "proxy/health.h"
#include "proxy/listen.h"
#include "proxy/relay.h"
#include "proxy/tls.h"
#include "proxy/tls_files.h"

#define ERRORS_SIZE_MAX 65536
#define RESTART_DELAY   1000 /* ms, for a child that died within that time */
#define STOP_TIME       5000 /* ms that children have to end on SIGTERM */

struct parent {
	char *const *argv;
	const char *config_path;
	struct config *config;
	struct log log;
	struct jail jail, auth_jail;
	struct tls_front *front_tls;
	SSL_CTX *back_context;
	struct listener *listeners;
	size_t listener_count;
	struct handover_listener metrics; /* fd -1: none */
	struct stats *stats;
	struct handover now; /* what stands, as it would be handed over */
	int signal_fd;
	sigset_t signals;
	pid_t check_pid;       /* tries out a reload; 0: none */
	int64_t start_from_ms; /* no child is started before */
	uint64_t files;        /* of TLS, as they were last taken or refused */
	uint64_t seen_files;   /* as they were at the last look */
	int64_t look_ms;       /* when the next look is due */
	bool stopping;
};

/* ---- preparing: all that can fail ---- */

static int
prepare_sockets(
    struct parent *parent, const struct handover *before, struct buf *errors)
{
	if (listen_open(parent->config, before, &parent->listeners,
		&parent->listener_count, errors) < 0 ||
	    listen_metrics(parent->config, before, &parent->metrics, errors) <
		0)
		return -1;
	parent->now.control_fd =
	    before->control_fd >= 0
		? before->control_fd
		: listen_control(parent->config, &parent->jail, errors);
	return parent->now.control_fd < 0 ? -1 : 0;
}

static int
prepare(struct parent *parent, const struct handover *before, bool sockets,
    struct buf *errors)
{
	const char *why;

	if (config_read(&parent->config, parent->config_path, errors) < 0)
		return -1;
	if (jail_prepare(&parent->jail, parent->config->user,
		parent->config->chroot, &why) < 0)
		buf_printf(errors, "%s: user \"%s\", chroot \"%s\": %s\n",
		    parent->config_path, parent->config->user,
		    parent->config->chroot, why);
	if ((config_observes(parent->config) ||
		config_verifies(parent->config)) &&
	    jail_prepare(&parent->auth_jail, parent->config->directory.user,
		NULL, &why) < 0)
		buf_printf(errors, "%s: directory { user } \"%s\": %s\n",
		    parent->config_path, parent->config->directory.user, why);
	parent->files = tls_files_digest(parent->config);
	parent->front_tls = tls_front_new(&parent->config->tls, errors);
	parent->back_context =
	    tls_back_context(&parent->config->backend, errors);
	if (errors->size == 0 && sockets)
		prepare_sockets(parent, before, errors);
	return errors->size > 0 ? -1 : 0;
}

/* Counters go on over a reload; all else is described anew. */
static int
prepare_state(struct parent *parent, const struct handover *before)
{
	bool same;

	parent->now.generation = before->generation + 1;
	/* Another program before may have counted otherwise; its relays go on
	 * to do so where nobody looks. */
	same = before->stats_fd >= 0 && stats_fits(before->stats_fd);
	parent->now.stats_fd = same ? before->stats_fd : stats_create();
	parent->stats =
	    parent->now.stats_fd >= 0 ? stats_map(parent->now.stats_fd) : NULL;
	if (!parent->stats)
		return -1;
	failures_seed(&parent->stats->failures);
	if (parent->metrics.fd >= 0)
		handover_add_listener(&parent->now, parent->metrics);
	for (size_t i = 0; i < parent->listener_count; i++)
		handover_add_listener(&parent->now,
		    (struct handover_listener){ parent->listeners[i].fd,
			parent->listeners[i].address });
	for (size_t i = 0; i < before->child_count; i++) {
		struct child child = before->children[i];

		if (!same)
			child.slot = -1;
		handover_add_child(&parent->now, child);
	}
	return 0;
}

static bool
is_listening(const struct parent *parent, int fd)
{
	for (size_t i = 0; i < parent->listener_count; i++)
		if (parent->listeners[i].fd == fd)
			return true;
	return fd == parent->metrics.fd;
}

/* ---- children ---- */

/* The one of this generation; NULL when there is none. */
static struct child *
find_child(const struct parent *parent, enum child_role role)
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
run_relay(struct parent *parent, int slot, int parent_fd, int health_fd)
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
		.slot = &parent->stats->slots[slot],
		.slot_number = (unsigned)slot,
		.failures = &parent->stats->failures,
		.parent_fd = parent_fd,
		.health_fd = health_fd,
	};

	settings.slot->pid = getpid();
	return relay_run(&settings);
}

static int
run_health(struct parent *parent, int parent_fd)
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

	return health_run(&settings);
}

static int
run_auth(struct parent *parent, int parent_fd, int health_fd)
{
	struct auth_settings settings = {
		.config = parent->config,
		.log = child_log(parent, "auth"),
		.jail = parent->auth_jail,
		.parent_fd = parent_fd,
		.health_fd = health_fd,
	};

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

/* 0; or -1 when the system lacks what a child needs: tried again later. */
static int
start_health(struct parent *parent)
{
	struct child child = { .role = CHILD_HEALTH,
		.generation = parent->now.generation,
		.slot = -1,
		.health_fd = -1,
		.started_ms = relay_now_ms() };
	int ends[2];

	if (new_channel(ends) < 0)
		return -1;
	child.parent_fd = ends[0];
	child.pid = fork();
	if (child.pid == 0) {
		close_inherited(parent, true);
		close(ends[0]);
		exit(run_health(parent, ends[1]));
	}
	close(ends[1]);
	if (child.pid < 0) {
		close(ends[0]);
		return -1;
	}
	for (size_t i = 0; i < parent->now.child_count; i++)
		if (is_introduced(parent, &parent->now.children[i]))
			introduce(&child, &parent->now.children[i]);
	handover_add_child(&parent->now, child);
	return 0;
}

static int
start_auth(struct parent *parent)
{
	struct child child = { .role = CHILD_AUTH,
		.generation = parent->now.generation,
		.slot = -1,
		.started_ms = relay_now_ms() };
	int ours[2], health[2];

	if (new_channel(ours) < 0)
		return -1;
	if (new_channel(health) < 0) {
		close(ours[0]);
		close(ours[1]);
		return -1;
	}
	child.parent_fd = ours[0];
	child.health_fd = health[0];
	child.pid = fork();
	if (child.pid == 0) {
		close_inherited(parent, false);
		close(ours[0]);
		close(health[0]);
		exit(run_auth(parent, ours[1], health[1]));
	}
	close(ours[1]);
	close(health[1]);
	if (child.pid < 0) {
		close(ours[0]);
		close(health[0]);
		return -1;
	}
	if (find_child(parent, CHILD_HEALTH))
		introduce(find_child(parent, CHILD_HEALTH), &child);
	handover_add_child(&parent->now, child);
	return 0;
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

static int
start_verify(struct parent *parent)
{
	struct child child = { .role = CHILD_VERIFY,
		.generation = parent->now.generation,
		.slot = -1,
		.health_fd = -1,
		.started_ms = relay_now_ms() };
	int ends[2];

	if (new_channel(ends) < 0)
		return -1;
	child.parent_fd = ends[0];
	child.pid = fork();
	if (child.pid == 0) {
		close_inherited(parent, false);
		close(ends[0]);
		exit(run_auth(parent, ends[1], -1));
	}
	close(ends[1]);
	if (child.pid < 0) {
		close(ends[0]);
		return -1;
	}
	connect_all(parent, &child);
	handover_add_child(&parent->now, child);
	return 0;
}

static int
start_relay(struct parent *parent)
{
	struct stats_slot *slot =
	    stats_take(parent->stats, parent->now.generation);
	struct child child = { .role = CHILD_RELAY,
		.generation = parent->now.generation,
		.started_ms = relay_now_ms() };
	int ours[2] = { -1, -1 }, health[2] = { -1, -1 };

	if (!slot)
		return -1;
	child.slot = (int)(slot - parent->stats->slots);
	if (new_channel(ours) < 0 || new_channel(health) < 0)
		goto fail;
	child.parent_fd = ours[0];
	child.health_fd = health[0];
	child.pid = fork();
	if (child.pid == 0) {
		close_inherited(parent, false);
		close(ours[0]);
		close(health[0]);
		exit(run_relay(parent, child.slot, ours[1], health[1]));
	}
	if (child.pid < 0)
		goto fail;
	slot->pid = child.pid;
	close(ours[1]);
	close(health[1]);
	if (find_child(parent, CHILD_HEALTH))
		introduce(find_child(parent, CHILD_HEALTH), &child);
	connect_all(parent, &child);
	handover_add_child(&parent->now, child);
	return 0;
fail:
	for (int i = 0; i < 2; i++) {
		if (ours[i] >= 0)
			close(ours[i]);
		if (health[i] >= 0)
			close(health[i]);
	}
	stats_release(parent->stats, slot);
	return -1;
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

/* Whom a whole generation has, in the order in which they are started. */
static const struct crew {
	enum child_role role;
	int (*start)(struct parent *parent);
} crew[] = {
	{ CHILD_HEALTH, start_health },
	{ CHILD_AUTH, start_auth },
	{ CHILD_VERIFY, start_verify },
	{ CHILD_RELAY, start_relay },
};

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

static bool
is_whole(const struct parent *parent)
{
	for (size_t i = 0; i < ARRAY_SIZE(crew); i++)
		if (count_children(parent, crew[i].role) <
		    wanted_children(parent, crew[i].role))
			return false;
	return true;
}

/* Starts whoever is missing of this generation. */
static void
start_missing(struct parent *parent)
{
	if (parent->stopping || relay_now_ms() < parent->start_from_ms)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(crew); i++) {
		while (count_children(parent, crew[i].role) <
		       wanted_children(parent, crew[i].role)) {
			if (crew[i].start(parent) == 0)
				continue;
			log_why(&parent->log, LOG_LEVEL_ERROR, "start_failed",
			    strerrordesc_np(errno));
			parent->start_from_ms = relay_now_ms() + RESTART_DELAY;
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

/* ---- reload ---- */

static void
begin_reload(struct parent *parent)
{
	const char *why;

	if (parent->check_pid != 0 || parent->stopping)
		return;
	sd_notify(0, "RELOADING=1");
	parent->check_pid = fork();
	if (parent->check_pid == 0) {
		char check[] = "-n";
		size_t count = 0;
		char **argv;

		while (parent->argv[count])
			count++;
		argv = calloc(count + 2, sizeof(*argv));
		if (!argv || handover_write(&parent->now, &why) < 0)
			_exit(EX_OSERR);
		memcpy(argv, parent->argv, count * sizeof(*argv));
		argv[count] = check;
		handover_keep(&parent->now, true);
		sigprocmask(SIG_UNBLOCK, &parent->signals, NULL);
		execvp(argv[0], argv);
		_exit(EX_OSERR);
	}
	if (parent->check_pid < 0) {
		parent->check_pid = 0;
		log_why(&parent->log, LOG_LEVEL_ERROR, "reload_failed",
		    strerrordesc_np(errno));
	}
}

/* The check went well: becomes the new program. Comes back only on failure. */
static void
replace(struct parent *parent)
{
	const char *why = NULL;

	log_why(&parent->log, LOG_LEVEL_INFO, "reload",
	    "a new generation takes over");
	if (handover_write(&parent->now, &why) == 0) {
		handover_keep(&parent->now, true);
		execvp(parent->argv[0], parent->argv);
		why = strerrordesc_np(errno);
		handover_keep(&parent->now, false);
	}
	log_why(&parent->log, LOG_LEVEL_ERROR, "reload_failed", why);
	sd_notify(0, "READY=1");
}

static void
end_check(struct parent *parent, int status)
{
	parent->check_pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		replace(parent);
		return;
	}
	log_why(&parent->log, LOG_LEVEL_ERROR, "reload_refused",
	    "the new configuration or program has errors, the old one goes on");
	sd_notify(0, "READY=1");
}

/*
 * Looks whether files of TLS changed. Whoever writes them may not be through
 * with all of them: a reload begins when two looks saw the same.
 */
static void
look_at_files(struct parent *parent)
{
	long watch_time = parent->config->tls.watch_time;
	uint64_t files;

	if (watch_time == 0 || parent->stopping ||
	    relay_now_ms() < parent->look_ms)
		return;
	parent->look_ms = relay_now_ms() + watch_time * 1000;
	files = tls_files_digest(parent->config);
	if (files != parent->files && files == parent->seen_files &&
	    parent->check_pid == 0) {
		log_why(&parent->log, LOG_LEVEL_INFO, "files_changed",
		    "files of TLS are not what they were");
		/* What is refused is not tried again until it changes. */
		parent->files = files;
		begin_reload(parent);
	}
	parent->seen_files = files;
}

/* ---- signals and time ---- */

static void
take_dead_child(struct parent *parent, pid_t pid, int status)
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
		if (relay_now_ms() - child.started_ms < RESTART_DELAY)
			parent->start_from_ms = relay_now_ms() + RESTART_DELAY;
		return;
	}
}

static void
reap(struct parent *parent)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == parent->check_pid)
			end_check(parent, status);
		else
			take_dead_child(parent, pid, status);
	}
}

static void
stop(struct parent *parent)
{
	parent->stopping = true;
	sd_notify(0, "STOPPING=1");
	for (size_t i = 0; i < parent->now.child_count; i++)
		kill(parent->now.children[i].pid, SIGTERM);
	parent->start_from_ms = relay_now_ms() + STOP_TIME;
}

static void
take_signal(struct parent *parent)
{
	struct signalfd_siginfo info;

	if (read(parent->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		reap(parent);
	else if (info.ssi_signo == SIGHUP)
		begin_reload(parent);
	else
		stop(parent);
}

/* The health process passes on what postcellctl asks for. */
static void
take_request(struct parent *parent, struct child *health)
{
	char text[CONTROL_QUESTION_SIZE];
	ssize_t size =
	    recv(health->parent_fd, text, sizeof(text), MSG_DONTWAIT);

	if (size > 0 && slice_is(slice_of(text, (size_t)size), "reload"))
		begin_reload(parent);
}

/* What the old health process was asked before it knew is not forgotten. */
static void
retire_before(struct parent *parent)
{
	for (size_t i = 0; i < parent->now.child_count; i++) {
		struct child *child = &parent->now.children[i];

		if (child->generation == parent->now.generation)
			continue;
		shutdown(child->parent_fd, SHUT_RDWR);
		if (child->role == CHILD_HEALTH)
			take_request(parent, child);
	}
}

/* Milliseconds until something is due; -1: nothing will be. */
static int
poll_timeout(const struct parent *parent)
{
	int64_t due_ms = INT64_MAX, wait_ms;

	if (parent->stopping || !is_whole(parent))
		due_ms = parent->start_from_ms;
	if (!parent->stopping && parent->config->tls.watch_time > 0 &&
	    parent->look_ms < due_ms)
		due_ms = parent->look_ms;
	if (due_ms == INT64_MAX)
		return -1;
	wait_ms = due_ms - relay_now_ms();
	return wait_ms > 0 ? (int)wait_ms : 0;
}

static void
supervise(struct parent *parent)
{
	while (!parent->stopping || parent->now.child_count > 0) {
		struct child *health;
		struct pollfd fds[2] = { { .fd = parent->signal_fd,
					     .events = POLLIN },
			{ .fd = -1, .events = POLLIN } };
		int ready;

		start_missing(parent);
		look_at_files(parent);
		health = find_child(parent, CHILD_HEALTH);
		if (health)
			fds[1].fd = health->parent_fd;
		ready = poll(fds, ARRAY_SIZE(fds), poll_timeout(parent));
		if (ready == 0 && parent->stopping) {
			for (size_t i = 0; i < parent->now.child_count; i++)
				kill(parent->now.children[i].pid, SIGKILL);
			parent->start_from_ms = relay_now_ms() + STOP_TIME;
		}
		if (ready > 0 && (fds[1].revents & POLLIN))
			take_request(parent, health);
		if (ready > 0 && (fds[0].revents & POLLIN))
			take_signal(parent);
	}
}

static int
open_signals(struct parent *parent)
{
	sigemptyset(&parent->signals);
	sigaddset(&parent->signals, SIGHUP);
	sigaddset(&parent->signals, SIGTERM);
	sigaddset(&parent->signals, SIGINT);
	sigaddset(&parent->signals, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &parent->signals, NULL) < 0)
		return -1;
	parent->signal_fd =
	    signalfd(-1, &parent->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return parent->signal_fd < 0 ? -1 : 0;
}

static void
raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void
close_unused(struct parent *parent, const struct handover *before)
{
	for (size_t i = 0; i < before->listener_count; i++)
		if (!is_listening(parent, before->listeners[i].fd))
			close(before->listeners[i].fd);
}

static void
run(struct parent *parent, struct handover *before)
{
	raise_descriptor_limit();
	close_unused(parent, before);
	log_why(&parent->log, LOG_LEVEL_INFO, "started",
	    "postcell-proxyd " POSTCELL_VERSION);
	if (before->generation == 0)
		catchup_wait(parent->config, &parent->log, parent->signal_fd);
	start_missing(parent);
	retire_before(parent);
	reap(parent); /* whoever died while the program was replaced */
	sd_notify(0, "READY=1");
	supervise(parent);
	log_why(&parent->log, LOG_LEVEL_INFO, "stopped", "as asked");
}

static void
parent_close(struct parent *parent)
{
	tls_front_free(&parent->front_tls);
	SSL_CTX_free(parent->back_context);
	free(parent->listeners);
	handover_free(&parent->now);
	config_free(&parent->config);
}

int
parent_run(char *const argv[], const char *config_path, int check)
{
	struct parent parent = { .argv = argv,
		.config_path = config_path,
		.metrics = { .fd = -1 },
		.now = { .stats_fd = -1, .control_fd = -1 } };
	struct buf errors = buf_bounded(ERRORS_SIZE_MAX);
	struct handover before;
	const char *why = NULL;
	int status = EX_OK;

	if (handover_read(&before, &why) < 0) {
		(void)fprintf(stderr, "postcell-proxyd: %s\n", why);
		return EX_OSERR;
	}
	if (prepare(&parent, &before, !check || before.stats_fd >= 0, &errors) <
	    0) {
		(void)fputs(buf_string(&errors), stderr);
		status = EX_CONFIG;
	} else if (!check) {
		parent.log = log_open((enum log_target)parent.config->log,
		    (enum log_level)parent.config->log_level, "parent");
		if (prepare_state(&parent, &before) < 0 ||
		    open_signals(&parent) < 0) {
			(void)fprintf(stderr, "postcell-proxyd: %s\n",
			    strerrordesc_np(errno));
			status = EX_OSERR;
		} else {
			run(&parent, &before);
		}
	}
	handover_free(&before);
	buf_free(&errors);
	parent_close(&parent);
	return status;
}
