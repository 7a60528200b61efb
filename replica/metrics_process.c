#include "replica/metrics_process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <event2/event.h>

#include "daemon/jail.h"
#include "daemon/metrics_server.h"
#include "replica/metrics.h"
#include "replica/reader.h"

#define METRICS_BACKLOG 64
#define METRICS_PAUSE   1 /* s until one that died is started anew */

struct metrics_process {
	const struct config *config; /* borrowed */
	const struct log *log;       /* borrowed */
	struct event_base *base;     /* borrowed */
	int listening;               /* owned */
	int link;  /* owned: its other end is the process's; -1: none */
	pid_t pid; /* 0: none */
	struct event *ended, *pause; /* owned */
};

/* ---- the socket ---- */

static int
metrics_bind(int fd, const char *address, long port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
		.sin6_port = htons((uint16_t)port) };

	if (inet_pton(AF_INET, address, &in.sin_addr) == 1)
		return bind(fd, (struct sockaddr *)&in, sizeof(in));
	(void)inet_pton(AF_INET6, address, &in6.sin6_addr);
	return bind(fd, (struct sockaddr *)&in6, sizeof(in6));
}

/* -1 with errno. */
static int
metrics_listen(const char *address, long port)
{
	int family = strchr(address, ':') ? AF_INET6 : AF_INET;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1, error;

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (metrics_bind(fd, address, port) == 0 &&
	    listen(fd, METRICS_BACKLOG) == 0)
		return fd;
	error = errno;
	(void)close(fd);
	errno = error;
	return -1;
}

/* ---- the process ---- */

struct metrics_reader {
	const char *path;        /* borrowed */
	struct replica *replica; /* owned; NULL: not readable yet */
	int64_t stale_us;
};

/* It may not be there yet, or have been made anew. */
static void
metrics_look(struct metrics_reader *reader)
{
	struct buf store = buf_bounded((size_t)64 * 1024);
	struct replica_status status;
	const char *why;

	if (!reader->replica ||
	    replica_status(reader->replica, &store, &status, &why) != 0) {
		replica_free(&reader->replica);
		(void)replica_open(&reader->replica, reader->path, &why);
	}
	buf_free(&store);
}

static void
metrics_add_all(struct buf *out, void *context)
{
	struct metrics_reader *reader = context;

	metrics_look(reader);
	replica_metrics_add(out, reader->replica);
}

static const char *
metrics_find_fault(void *context)
{
	struct metrics_reader *reader = context;

	metrics_look(reader);
	return replica_is_stale(reader->replica, reader->stale_us);
}

static void
metrics_parent_ended(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	(void)event_base_loopbreak(context);
}

static int
metrics_serve(struct metrics_reader *reader, int listening, int link)
{
	struct metrics_source source = { metrics_add_all, metrics_find_fault,
		reader };
	struct event_base *base = event_base_new();
	struct metrics_server *server =
	    base ? metrics_server_new(base, listening, &source) : NULL;
	struct event *parent =
	    base ? event_new(base, link, EV_READ, metrics_parent_ended, base)
		 : NULL;
	int code = EX_OSERR;

	if (server && parent && event_add(parent, NULL) == 0 &&
	    event_base_dispatch(base) >= 0)
		code = EX_OK;
	if (parent)
		event_free(parent);
	metrics_server_free(&server);
	if (base)
		event_base_free(base);
	return code;
}

int
metrics_process_run(char **words)
{
	struct metrics_reader reader = { .path = words[0] };
	uint64_t numbers[METRICS_PROCESS_WORDS - 1];
	struct jail jail = { 0 };
	const char *why;
	int code;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (slice_to_uint(
			slice_from(words[i + 1]), INT32_MAX, &numbers[i]) != 0)
			return EX_USAGE;
	/* The terminal's interrupt is for the parent, which ends us. */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_NAME, "metrics", 0, 0, 0);
	if (jail_enter(&jail, &why) != 0)
		return EX_NOPERM;
	reader.stale_us = (int64_t)numbers[0] * 1000000;
	code = metrics_serve(&reader, (int)numbers[1], (int)numbers[2]);
	replica_free(&reader.replica);
	return code;
}

/* ---- its parent ---- */

/* It holds nothing that it would have to leave in order. */
static void
metrics_bury(struct metrics_process *process)
{
	if (process->link >= 0)
		(void)close(process->link);
	process->link = -1;
	if (process->pid > 0 && kill(process->pid, SIGKILL) == 0)
		(void)waitpid(process->pid, NULL, 0);
	process->pid = 0;
}

static void
metrics_child_ended(evutil_socket_t fd, short what, void *context)
{
	struct timeval pause = { METRICS_PAUSE, 0 };
	struct metrics_process *process = context;

	(void)fd;
	(void)what;
	log_why(process->log, LOG_LEVEL_ERROR, "child_died",
	    "the process of the metrics is started anew");
	event_free(process->ended);
	process->ended = NULL;
	metrics_bury(process);
	(void)evtimer_add(process->pause, &pause);
}

/* After the fork: executes the program anew. */
static _Noreturn void
metrics_become(const struct metrics_process *process, int link)
{
	char name[] = "postcell-replicad", word[] = METRICS_PROCESS_WORD;
	char *path = strdup(process->config->replica);
	char stale[32], listening_text[32], link_text[32];
	char *words[] = { name, word, path, stale, listening_text, link_text,
		NULL };

	(void)snprintf(
	    stale, sizeof(stale), "%ld", process->config->metrics.stale_time);
	(void)snprintf(
	    listening_text, sizeof(listening_text), "%d", process->listening);
	(void)snprintf(link_text, sizeof(link_text), "%d", link);
	if (path && fcntl(process->listening, F_SETFD, 0) == 0 &&
	    fcntl(link, F_SETFD, 0) == 0)
		(void)execv("/proc/self/exe", words);
	_exit(EX_OSERR);
}

static void
metrics_fork(evutil_socket_t fd, short what, void *context)
{
	struct timeval pause = { METRICS_PAUSE, 0 };
	struct metrics_process *process = context;
	int ends[2] = { -1, -1 };

	(void)fd;
	(void)what;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0) {
		process->link = ends[0];
		process->pid = fork();
		if (process->pid == 0)
			metrics_become(process, ends[1]);
		(void)close(ends[1]);
	}
	if (process->pid > 0)
		process->ended = event_new(process->base, process->link,
		    EV_READ, metrics_child_ended, process);
	if (process->ended && event_add(process->ended, NULL) == 0)
		return;
	log_why(process->log, LOG_LEVEL_ERROR, "metrics_failed",
	    strerrordesc_np(errno));
	(void)evtimer_add(process->pause, &pause);
}

int
metrics_process_new(struct metrics_process **process,
    const struct config *config, const struct log *log, const char **why)
{
	const struct config_metrics *metrics = &config->metrics;

	*process = NULL;
	if (metrics->port == 0)
		return 0;
	*process = calloc(1, sizeof(**process));
	if (!*process) {
		*why = "out of memory";
		return -1;
	}
	(*process)->config = config;
	(*process)->log = log;
	(*process)->link = -1;
	(*process)->listening = metrics_listen(metrics->address, metrics->port);
	if ((*process)->listening >= 0)
		return 0;
	*why = strerrordesc_np(errno);
	metrics_process_free(process);
	return -1;
}

void
metrics_process_start(struct metrics_process *process, struct event_base *base)
{
	if (!process)
		return;
	process->base = base;
	process->pause = evtimer_new(base, metrics_fork, process);
	if (process->pause)
		metrics_fork(-1, 0, process);
}

void
metrics_process_free(struct metrics_process **process)
{
	struct metrics_process *old = *process;

	*process = NULL;
	if (!old)
		return;
	if (old->ended)
		event_free(old->ended);
	if (old->pause)
		event_free(old->pause);
	metrics_bury(old);
	if (old->listening >= 0)
		(void)close(old->listening);
	free(old);
}
