/*
 * tool: the programs of other packages that do a part of the work.
 *
 * Each is a child in a process group of its own, which signals from the
 * terminal do not reach: they are for whoever waits for it (ctl/stage.h). It
 * ends with its parent. What it says is shown only when it fails.
 */
#ifndef CTL_TOOL_H
#define CTL_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/slice.h"

#define TOOL_WORDS_MAX 32

struct tool {
	const char *name;                      /* of the program */
	const char *words[TOOL_WORDS_MAX + 1]; /* behind it; NULL ends them */
	struct slice input;                    /* for its standard input */
	struct buf *output;      /* its standard output; or NULL */
	const char *krb5_config; /* KRB5_CONFIG, or NULL */
};

/* Whether all of them are installed: EX_OK, or EX_UNAVAILABLE after complaints.
 */
int tool_check(const char *const *names, size_t count);

/*
 * Runs it to its end. EX_OK; EX_UNAVAILABLE after a complaint with the end of
 * what it said when it failed, is missing, or took too long.
 */
int tool_run(const struct tool *tool);

/* One that goes on. */
struct tool_server {
	pid_t pid;      /* 0: none */
	struct buf log; /* path of the file that it writes to */
};

/*
 * Starts it, and waits until it takes connections at a socket. As above.
 * tool_stop() ends it, and waits for that; also for one that never started.
 */
int tool_start(struct tool_server *server, const struct tool *tool,
    const char *log, const char *socket);
void tool_stop(struct tool_server *server);

#endif
