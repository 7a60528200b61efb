#include "ctl/watch.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "ctl/hosts.h"
#include "ctl/output.h"
#include "ctl/proxy.h"
#include "ctl/view.h"
#include "lib/timestamp.h"
#include "replica/clock.h"

#define INTERVAL 1000 /* ms */

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static size_t
count_sessions(const json_t *sessions, const char *server)
{
	const json_t *session;
	size_t count = 0, i;

	json_array_foreach(sessions, i, session) count +=
	    strcmp(output_member(session, "server"), server) == 0;
	return count;
}

/* Servers with their sessions at this proxy, and the proxies. */
static json_t *
look(const struct ctl *ctl, struct view *view)
{
	int64_t now_us = clock_realtime_us();
	json_t *servers = NULL, *proxies = NULL, *sessions, *server;
	const char *why = NULL;
	size_t i;

	if (view_refresh(view) != EX_OK)
		return NULL;
	servers = hosts_describe(view, HOST_SERVER, now_us);
	proxies = hosts_describe(view, HOST_PROXY, now_us);
	sessions = proxy_sessions(ctl, &why);
	json_array_foreach(servers, i, server)
	{
		if (sessions)
			json_object_set_new(server, "sessions",
			    json_integer((json_int_t)count_sessions(
				sessions, output_member(server, "name"))));
	}
	json_decref(sessions);
	return json_pack("{s:o, s:o*, s:o*, s:s*}", "time",
	    output_moment(now_us), "servers", servers, "proxies", proxies,
	    "proxy_silent", why);
}

static int
print(const json_t *answer, const char *end)
{
	const char *silent =
	    json_string_value(json_object_get(answer, "proxy_silent"));

	printf("%s%s", output_member(answer, "time"), end);
	if (silent)
		printf(
		    "no sessions are shown: the proxy does not answer (%s)%s",
		    silent, end);
	printf("%s", end);
	(void)hosts_print(json_object_get(answer, "servers"), HOST_SERVER, end);
	printf("%s", end);
	(void)hosts_print(json_object_get(answer, "proxies"), HOST_PROXY, end);
	return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

/* Single keys, unseen; the old manner is kept for the end. */
static bool
take_terminal(struct termios *before)
{
	struct termios now;

	if (isatty(STDIN_FILENO) != 1 || tcgetattr(STDIN_FILENO, before) != 0)
		return false;
	now = *before;
	now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	return tcsetattr(STDIN_FILENO, TCSANOW, &now) == 0;
}

/* Waits for the next second; false when q was pressed or we are to end. */
static bool
wait_for_key(bool keys)
{
	struct pollfd input = { keys ? STDIN_FILENO : -1, POLLIN, 0 };
	char key = '\0';

	if (poll(&input, 1, INTERVAL) > 0 && read(STDIN_FILENO, &key, 1) <= 0)
		return false;
	return !interrupted && key != 'q' && key != 'Q';
}

static int
watch(const struct ctl *ctl, struct view *view)
{
	static const char screen_on[] = "\033[?1049h\033[?25l";
	static const char screen_off[] = "\033[?25h\033[?1049l";
	struct sigaction action = { .sa_handler = on_signal };
	struct termios before;
	bool keys = take_terminal(&before);
	int code = EX_OK;

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	printf("%s", screen_on);
	do {
		json_t *answer = look(ctl, view);

		if (!answer) {
			code = EX_TEMPFAIL;
			break;
		}
		/* Overwrites in place, so that nothing flickers. */
		printf("\033[H");
		code = print(answer, "\033[K\n");
		printf("\033[Jq ends");
		(void)fflush(stdout);
		json_decref(answer);
	} while (code == EX_OK && wait_for_key(keys));
	printf("%s", screen_off);
	if (keys)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
	return code;
}

int
ctl_watch(const struct ctl *ctl, int count, char **words)
{
	struct view view;
	int code = view_open(&view, ctl);
	json_t *answer;

	(void)count;
	(void)words;
	if (code == EX_OK && !ctl->options.once && !ctl->json) {
		code = watch(ctl, &view);
	} else if (code == EX_OK) {
		answer = look(ctl, &view);
		if (!answer)
			code = EX_TEMPFAIL;
		else if (ctl->json)
			code = output_json(json_incref(answer));
		else
			code = print(answer, "\n");
		json_decref(answer);
	}
	view_close(&view);
	return code;
}
