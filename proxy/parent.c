#include "proxy/parent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "proxy/catchup.h"
#include "proxy/children.h"
#include "proxy/control.h"
#include "proxy/relay.h"
#include "proxy/tls_files.h"

#define ERRORS_SIZE_MAX 65536
#define STOP_TIME       5000 /* ms that children have to end on SIGTERM */

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
reap(struct parent *parent)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == parent->check_pid)
			end_check(parent, status);
		else
			children_take_dead(parent, pid, status);
	}
}

static void
stop(struct parent *parent)
{
	parent->stopping = true;
	sd_notify(0, "STOPPING=1");
	children_signal(parent, SIGTERM);
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

	if (parent->stopping || !children_are_whole(parent))
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

		children_start_missing(parent);
		look_at_files(parent);
		health = children_find(parent, CHILD_HEALTH);
		if (health)
			fds[1].fd = health->parent_fd;
		ready = poll(fds, ARRAY_SIZE(fds), poll_timeout(parent));
		if (ready == 0 && parent->stopping) {
			children_signal(parent, SIGKILL);
			parent->start_from_ms = relay_now_ms() + STOP_TIME;
		}
		if (ready > 0 && health && (fds[1].revents & POLLIN))
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
	children_start_missing(parent);
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
