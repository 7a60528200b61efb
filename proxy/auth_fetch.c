#include "proxy/auth_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#define FETCH_RETRY 100000 /* us until another attempt to make a process */
#define FETCH_CHUNK 16384  /* octets */

struct fetch {
	TAILQ_ENTRY(fetch) link; /* in line, or running */
	struct fetches *fetches; /* borrowed */
	bool urgent;
	const struct kerberos_question *question; /* borrowed */
	fetch_done *done; /* NULL: nobody waits any more */
	void *context;
	pid_t pid;           /* 0: in line */
	struct event *event; /* owned: its end of the pipe */
	/* secret: enum kerberos_result as one octet, and what it said */
	struct buf input;
};

TAILQ_HEAD(fetch_list, fetch);

struct fetches {
	struct event_base *base; /* borrowed */
	unsigned seconds;
	long processes, running; /* the urgent ones are not counted */
	struct fetch_list line, active;
	struct event *retry; /* owned */
};

/* ---- in the forked process ---- */

static void
send_all(int fd, const struct buf *out)
{
	struct slice left = buf_slice(out);

	while (left.size > 0) {
		ssize_t moved = write(fd, left.data, left.size);

		if (moved <= 0)
			break;
		left = slice_from_offset(left, (size_t)moved);
	}
}

/* No end of anybody's channel outlives its owner in here. */
static _Noreturn void
run(const struct fetch *fetch, int fd)
{
	const int own_fd = STDERR_FILENO + 1;
	struct buf answer = buf_bounded(KERBEROS_TICKET_MAX);
	struct buf out = buf_bounded(KERBEROS_TICKET_MAX + 1);
	enum kerberos_result result;

	if (fd != own_fd && dup2(fd, own_fd) < 0)
		_exit(EXIT_FAILURE);
	(void)close_range(own_fd + 1, ~0U, 0);
	(void)alarm(fetch->fetches->seconds);
	result = kerberos_ask(fetch->question, &answer);
	buf_add_char(&out, (char)result);
	buf_add_slice(&out, buf_slice(&answer));
	send_all(own_fd, &out);
	_exit(EXIT_SUCCESS);
}

/* ---- one question ---- */

static void begin_next(struct fetches *fetches);

static void
fetch_free(struct fetch *fetch)
{
	struct fetches *fetches = fetch->fetches;

	TAILQ_REMOVE(
	    fetch->pid == 0 ? &fetches->line : &fetches->active, fetch, link);
	if (fetch->pid != 0 && !fetch->urgent)
		fetches->running--;
	if (fetch->event) {
		(void)close(event_get_fd(fetch->event));
		event_free(fetch->event);
	}
	if (fetch->pid != 0)
		(void)waitpid(fetch->pid, NULL, 0);
	buf_wipe(&fetch->input);
	free(fetch);
}

static void
tell(const struct fetch *fetch)
{
	struct slice input = buf_slice(&fetch->input);
	enum kerberos_result result = KERBEROS_FAILED;
	struct slice text = slice_from("the KDC did not answer in time");

	if (!fetch->done)
		return;
	if (input.size > 0 &&
	    (unsigned char)input.data[0] <= (unsigned char)KERBEROS_FAILED) {
		result = (enum kerberos_result)input.data[0];
		text = slice_from_offset(input, 1);
	}
	fetch->done(fetch->context, result, text);
}

static void
on_answer(evutil_socket_t fd, short what, void *context)
{
	struct fetch *fetch = context;
	struct fetches *fetches = fetch->fetches;
	char *room = buf_reserve(&fetch->input, FETCH_CHUNK);
	ssize_t size = room ? read(fd, room, FETCH_CHUNK) : 0;

	(void)what;
	if (size > 0) {
		buf_grow(&fetch->input, (size_t)size);
		return;
	}
	/* It has closed its end with its last breath. */
	tell(fetch);
	fetch_free(fetch);
	begin_next(fetches);
}

/* 0, or -1 when the system has no process to give. */
static int
start(struct fetch *fetch)
{
	struct fetches *fetches = fetch->fetches;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	fetch->pid = fork();
	if (fetch->pid == 0)
		run(fetch, ends[1]);
	(void)close(ends[1]);
	if (fetch->pid < 0) {
		fetch->pid = 0;
		(void)close(ends[0]);
		return -1;
	}
	fetch->event = event_new(
	    fetches->base, ends[0], EV_READ | EV_PERSIST, on_answer, fetch);
	if (!fetch->event || event_add(fetch->event, NULL) < 0)
		abort();
	TAILQ_REMOVE(&fetches->line, fetch, link);
	TAILQ_INSERT_TAIL(&fetches->active, fetch, link);
	fetches->running += !fetch->urgent;
	return 0;
}

static void
begin_next(struct fetches *fetches)
{
	struct timeval pause = { 0, FETCH_RETRY };
	struct fetch *fetch;

	while ((fetch = TAILQ_FIRST(&fetches->line)) &&
	       (fetch->urgent || fetches->running < fetches->processes)) {
		if (start(fetch) == 0)
			continue;
		evtimer_add(fetches->retry, &pause);
		return;
	}
}

static void
on_retry(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	begin_next(context);
}

/* ---- for others ---- */

struct fetch *
fetch_begin(struct fetches *fetches, bool urgent,
    const struct kerberos_question *question, fetch_done *done, void *context)
{
	struct fetch *fetch = calloc(1, sizeof(*fetch));

	if (!fetch)
		abort();
	*fetch = (struct fetch){ .fetches = fetches,
		.urgent = urgent,
		.question = question,
		.done = done,
		.context = context,
		.input = buf_bounded(KERBEROS_TICKET_MAX + FETCH_CHUNK) };
	if (urgent)
		TAILQ_INSERT_HEAD(&fetches->line, fetch, link);
	else
		TAILQ_INSERT_TAIL(&fetches->line, fetch, link);
	begin_next(fetches);
	return fetch;
}

/* A process that is no longer needed ends now, and is seen to end by the loop.
 */
void
fetch_cancel(struct fetch **fetch)
{
	struct fetch *old = *fetch;

	*fetch = NULL;
	if (!old)
		return;
	old->done = NULL;
	if (old->pid != 0)
		(void)kill(old->pid, SIGKILL);
	else
		fetch_free(old);
}

struct fetches *
fetches_new(struct event_base *base, long seconds, long processes)
{
	struct fetches *fetches = calloc(1, sizeof(*fetches));

	if (!fetches)
		return NULL;
	fetches->base = base;
	fetches->seconds = (unsigned)seconds;
	fetches->processes = processes;
	TAILQ_INIT(&fetches->line);
	TAILQ_INIT(&fetches->active);
	fetches->retry = evtimer_new(base, on_retry, fetches);
	if (fetches->retry)
		return fetches;
	free(fetches);
	return NULL;
}

void
fetches_free(struct fetches **fetches)
{
	struct fetches *old = *fetches;
	struct fetch *fetch;

	*fetches = NULL;
	if (!old)
		return;
	while (!TAILQ_EMPTY(&old->line))
		/* Freeing takes it off the list. */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		fetch_free(TAILQ_FIRST(&old->line));
	while (!TAILQ_EMPTY(&old->active)) {
		fetch = TAILQ_FIRST(&old->active);
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		(void)kill(fetch->pid, SIGKILL);
		fetch_free(fetch);
	}
	event_free(old->retry);
	free(old);
}
