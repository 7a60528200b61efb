#include "replica/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "replica/clock.h"

struct hook {
	const struct log *log;          /* borrowed */
	struct event *child_event;      /* owned: SIGCHLD */
	struct event *timer;            /* owned: kills what takes too long */
	pid_t pids[HOOK_MAX];           /* 0: free */
	int64_t deadlines_ms[HOOK_MAX]; /* monotonic */
};

static void
hook_log(const struct hook *hook, enum log_level level, pid_t pid,
    const char *why, int64_t status)
{
	struct log_line line = log_line(level, "hook_ended");

	log_number(&line, "child", pid);
	log_number(&line, "status", status);
	log_string(&line, "why", why);
	log_send(hook->log, &line);
}

static void
hook_child(evutil_socket_t signal_number, short what, void *context)
{
	struct hook *hook = context;

	(void)signal_number;
	(void)what;
	for (size_t i = 0; i < HOOK_MAX; i++) {
		int status;
		bool good;

		if (hook->pids[i] == 0 ||
		    waitpid(hook->pids[i], &status, WNOHANG) <= 0)
			continue;
		good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
		hook_log(hook, good ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
		    hook->pids[i],
		    WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
		    : good              ? "done"
					: "it says that it failed",
		    WIFEXITED(status) ? WEXITSTATUS(status) : -1);
		hook->pids[i] = 0;
	}
}

static void
hook_timer(evutil_socket_t fd, short what, void *context)
{
	struct hook *hook = context;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < HOOK_MAX; i++)
		if (hook->pids[i] != 0 &&
		    hook->deadlines_ms[i] <= clock_monotonic_ms())
			(void)kill(-hook->pids[i], SIGKILL);
}

struct hook *
hook_new(struct event_base *base, const struct log *log)
{
	struct hook *hook = calloc(1, sizeof(*hook));
	struct timeval second = { 1, 0 };

	if (!hook)
		return NULL;
	hook->log = log;
	hook->child_event = evsignal_new(base, SIGCHLD, hook_child, hook);
	hook->timer = event_new(base, -1, EV_PERSIST, hook_timer, hook);
	if (!hook->child_event || !hook->timer ||
	    event_add(hook->child_event, NULL) != 0 ||
	    event_add(hook->timer, &second) != 0)
		hook_free(&hook);
	return hook;
}

void
hook_free(struct hook **hook)
{
	struct hook *old = *hook;

	*hook = NULL;
	if (!old)
		return;
	if (old->child_event)
		event_free(old->child_event);
	if (old->timer)
		event_free(old->timer);
	free(old);
}

static void
hook_execute(char *const argv[])
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)setpgid(0, 0);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
	}
	(void)execv(argv[0], argv);
	_exit(127);
}

void
hook_run(struct hook *hook, char *const argv[])
{
	size_t slot = 0;
	pid_t pid;

	while (slot < HOOK_MAX && hook->pids[slot] != 0)
		slot++;
	if (slot == HOOK_MAX) {
		log_why(hook->log, LOG_LEVEL_ERROR, "hook_failed",
		    "too many of them run");
		return;
	}
	pid = fork();
	if (pid == 0)
		hook_execute(argv);
	if (pid < 0) {
		log_why(
		    hook->log, LOG_LEVEL_ERROR, "hook_failed", strerror(errno));
		return;
	}
	hook->pids[slot] = pid;
	hook->deadlines_ms[slot] = clock_monotonic_ms() + HOOK_TIME_MS;
}
