#include "ctl/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/file.h"

#define PATH_SIZE   4096
#define SAID_MAX    ((size_t)1024 * 1024)
#define SHOWN_MAX   ((size_t)2000) /* octets of what it said */
#define TIME_MAX    (600 * 10)     /* tenths of a second without a word */
#define START_TIME  300            /* tenths of a second until it listens */
#define END_TIME    300            /* and until it has ended */
#define TENTH       100            /* ms */
#define PIECE       65536
#define SYSTEM_PATH ":/usr/sbin:/sbin:/usr/bin:/bin:/usr/lib/heimdal-servers"

/* ---- where programs are ---- */

/* Administrators' own PATH need not have the folders of servers. */
static bool
find_program(const char *name, struct buf *path)
{
	struct buf folders = buf_bounded(PATH_SIZE);
	const char *own = getenv("PATH");
	struct slice rest, folder;
	bool found = false;

	(void)buf_printf(&folders, "%s" SYSTEM_PATH, own ? own : "");
	rest = buf_slice(&folders);
	while (!found && slice_next_word(&rest, ':', &folder)) {
		buf_clear(path);
		(void)buf_printf(path, "%.*s/%s", SLICE_ARGS(folder), name);
		found = !path->failed && path->data[0] == '/' &&
			access(buf_string(path), X_OK) == 0;
	}
	buf_free(&folders);
	return found;
}

static const char *
package_of(const char *name)
{
	static const struct {
		const char *name, *package;
	} rows[] = {
		{ "kstash", "heimdal-kdc" },
		{ "kadmin", "heimdal-clients" },
		{ "openssl", "openssl" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strcmp(rows[i].name, name) == 0)
			return rows[i].package;
	return "slapd";
}

static void
complain_missing(const char *name)
{
	struct buf why = buf_bounded(PATH_SIZE);

	(void)buf_printf(
	    &why, "is not installed: package %s has it", package_of(name));
	ctl_complain(name, buf_string(&why));
	buf_free(&why);
}

int
tool_check(const char *const *names, size_t count)
{
	struct buf path = buf_bounded(PATH_SIZE);
	int code = EX_OK;

	for (size_t i = 0; i < count; i++)
		if (!find_program(names[i], &path)) {
			complain_missing(names[i]);
			code = EX_UNAVAILABLE;
		}
	buf_free(&path);
	return code;
}

/* ---- a child ---- */

static void
become(const struct tool *tool, const char *path, int input, int output,
    int errors)
{
	union {
		const char *given[TOOL_WORDS_MAX + 2];
		char *wanted[TOOL_WORDS_MAX + 2];
	} argv = { .given = { path } };

	sigset_t none;

	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)setpgid(0, 0);
	(void)umask(077);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	for (size_t i = 0; i < TOOL_WORDS_MAX && tool->words[i]; i++)
		argv.given[i + 1] = tool->words[i];
	if (tool->krb5_config)
		(void)setenv("KRB5_CONFIG", tool->krb5_config, 1);
	if (dup2(input, STDIN_FILENO) >= 0 &&
	    dup2(output, STDOUT_FILENO) >= 0 &&
	    dup2(errors, STDERR_FILENO) >= 0)
		(void)execv(path, argv.wanted);
	_exit(127);
}

/* -1 after a complaint. */
static pid_t
start(const struct tool *tool, int input, int output, int errors)
{
	struct buf path = buf_bounded(PATH_SIZE);
	pid_t pid = -1;

	if (!find_program(tool->name, &path)) {
		complain_missing(tool->name);
	} else {
		pid = fork();
		if (pid == 0)
			become(tool, buf_string(&path), input, output, errors);
		if (pid < 0)
			ctl_complain(tool->name, strerrordesc_np(errno));
	}
	buf_free(&path);
	return pid;
}

static void
complain_failure(const char *name, int status, struct slice said)
{
	struct buf why = buf_bounded(SHOWN_MAX * 2);

	if (said.size > SHOWN_MAX)
		said = slice_from_offset(said, said.size - SHOWN_MAX);
	while (said.size > 0 && said.data[said.size - 1] == '\n')
		said.size--;
	if (WIFSIGNALED(status))
		(void)buf_printf(&why, "ended by signal %d", WTERMSIG(status));
	else
		(void)buf_printf(
		    &why, "failed with status %d", WEXITSTATUS(status));
	if (said.size > 0)
		(void)buf_printf(&why, ":\n%.*s", SLICE_ARGS(said));
	ctl_complain(name, buf_string(&why));
	buf_free(&why);
}

/* ---- one that is run to its end ---- */

enum end {
	END_INPUT,
	END_OUTPUT,
	END_ERRORS,
	END_COUNT
};

struct talk {
	struct pollfd ours[END_COUNT];
	struct slice input;
	struct buf said, dropped;
	struct buf *output; /* borrowed */
};

static void
hang_up(struct pollfd *end)
{
	if (end->fd >= 0)
		(void)close(end->fd);
	end->fd = -1;
}

static void
tell(struct talk *talk)
{
	struct pollfd *end = &talk->ours[END_INPUT];
	ssize_t size = write(end->fd, talk->input.data,
	    talk->input.size < PIECE ? talk->input.size : PIECE);

	if (size > 0)
		talk->input = slice_from_offset(talk->input, (size_t)size);
	if (size < 0 || talk->input.size == 0)
		hang_up(end);
}

/* What goes beyond the bound is read all the same, and forgotten. */
static void
hear(struct pollfd *end, struct buf *out)
{
	char piece[4096];
	ssize_t size = read(end->fd, piece, sizeof(piece));

	if (size > 0)
		(void)buf_add(out, piece, (size_t)size);
	else
		hang_up(end);
	explicit_bzero(piece, sizeof(piece));
}

/* Until it has closed its ends, or was silent for too long. */
static void
converse(struct talk *talk)
{
	struct pollfd *ours = talk->ours;

	if (talk->input.size == 0)
		hang_up(&ours[END_INPUT]);
	while (ours[END_OUTPUT].fd >= 0 || ours[END_ERRORS].fd >= 0) {
		if (poll(ours, END_COUNT, TIME_MAX * TENTH) <= 0)
			break;
		if (ours[END_INPUT].fd >= 0 && ours[END_INPUT].revents)
			tell(talk);
		if (ours[END_OUTPUT].fd >= 0 && ours[END_OUTPUT].revents)
			hear(&ours[END_OUTPUT], talk->output);
		if (ours[END_ERRORS].fd >= 0 && ours[END_ERRORS].revents)
			hear(&ours[END_ERRORS], &talk->said);
	}
}

static bool
make_pipes(struct talk *talk, int theirs[END_COUNT])
{
	for (size_t i = 0; i < END_COUNT; i++) {
		int ends[2];
		bool writes = i == END_INPUT;

		if (pipe2(ends, O_CLOEXEC) < 0)
			return false;
		talk->ours[i] = (struct pollfd){ ends[writes],
			writes ? POLLOUT : POLLIN, 0 };
		theirs[i] = ends[!writes];
	}
	return true;
}

int
tool_run(const struct tool *tool)
{
	struct talk talk = { .input = tool->input,
		.said = buf_bounded(SAID_MAX),
		.dropped = buf_bounded(SAID_MAX),
		.ours = { { -1, 0, 0 }, { -1, 0, 0 }, { -1, 0, 0 } } };
	int theirs[END_COUNT] = { -1, -1, -1 };
	pid_t pid = -1;
	int status = 0, code = EX_UNAVAILABLE;

	talk.output = tool->output ? tool->output : &talk.dropped;
	(void)signal(SIGPIPE, SIG_IGN);
	if (make_pipes(&talk, theirs))
		pid = start(tool, theirs[END_INPUT], theirs[END_OUTPUT],
		    theirs[END_ERRORS]);
	else
		ctl_complain(tool->name, strerrordesc_np(errno));
	for (size_t i = 0; i < END_COUNT; i++)
		if (theirs[i] >= 0)
			(void)close(theirs[i]);
	if (pid > 0) {
		converse(&talk);
		if (talk.ours[END_ERRORS].fd >= 0)
			(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			code = EX_OK;
		else
			complain_failure(
			    tool->name, status, buf_slice(&talk.said));
	}
	for (size_t i = 0; i < END_COUNT; i++)
		hang_up(&talk.ours[i]);
	buf_free(&talk.said);
	buf_wipe(&talk.dropped);
	return code;
}

/* ---- one that goes on ---- */

static void
pause_tenth(void)
{
	struct timespec time = { 0, TENTH * 1000000L };

	(void)nanosleep(&time, NULL);
}

static bool
listens(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good;

	memcpy(address.sun_path, path, strlen(path));
	good = fd >= 0 && connect(fd, (const struct sockaddr *)&address,
			      sizeof(address)) == 0;
	if (fd >= 0)
		(void)close(fd);
	return good;
}

static void
complain_server(struct tool_server *server, const char *name, int status)
{
	struct buf said = buf_bounded(FILE_SIZE_MAX);

	(void)file_read(buf_string(&server->log), &said);
	complain_failure(name, status, buf_slice(&said));
	buf_free(&said);
}

int
tool_start(struct tool_server *server, const struct tool *tool, const char *log,
    const char *socket)
{
	int out = open(
	    log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR);
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int status = 0;

	*server = (struct tool_server){ .log = buf_bounded(PATH_SIZE) };
	(void)buf_add_string(&server->log, log);
	if (strlen(socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		ctl_complain(socket, "is too long a name for a socket");
	else if (out < 0 || null < 0)
		ctl_complain(log, strerrordesc_np(errno));
	else
		server->pid = start(tool, null, out, out);
	if (out >= 0)
		(void)close(out);
	if (null >= 0)
		(void)close(null);
	for (int i = 0; i < START_TIME && server->pid > 0; i++) {
		if (listens(socket))
			return EX_OK;
		if (waitpid(server->pid, &status, WNOHANG) != 0) {
			server->pid = 0;
			complain_server(server, tool->name, status);
			return EX_UNAVAILABLE;
		}
		pause_tenth();
	}
	if (server->pid > 0)
		ctl_complain(tool->name, "does not answer");
	return EX_UNAVAILABLE;
}

void
tool_stop(struct tool_server *server)
{
	if (server->pid > 0) {
		(void)kill(server->pid, SIGTERM);
		for (int i = 0; i < END_TIME; i++) {
			if (waitpid(server->pid, NULL, WNOHANG) != 0)
				break;
			pause_tenth();
			if (i == END_TIME - 1) {
				(void)kill(server->pid, SIGKILL);
				(void)waitpid(server->pid, NULL, 0);
			}
		}
	}
	server->pid = 0;
	buf_free(&server->log);
}
