/*
 * postcell-zoned: publishes the cell map in DNS.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <event2/event.h>
#include <systemd/sd-daemon.h>

#include "daemon/jail.h"
#include "daemon/log.h"
#include "zones/config.h"
#include "zones/control.h"
#include "zones/publish.h"
#include "zones/tlsa.h"
#include "zones/web.h"

#define MAIN_NAME         "postcell-zoned"
#define MAIN_TEXT_MAX     (8 << 20)
#define MAIN_FAILURES_MAX 3  /* with --once, of one target */
#define MAIN_PATIENCE     30 /* s without news, with --once and --diff */
#define MAIN_DIFFERENT    1  /* exit status of --diff */

enum mode {
	MODE_RUN,
	MODE_CHECK,
	MODE_ONCE,
	MODE_DIFF
};

struct daemon {
	enum mode mode;
	struct config *config;
	struct log log;
	struct event_base *base;
	struct publish *publish;
	struct control *control;
	struct web *web; /* NULL but when it runs on */
	struct event *terminate, *interrupt, *hangup, *patience;
	int code;
};

static const char usage[] =
    "usage: " MAIN_NAME " [-n | --once | --diff] [-c FILE]\n"
    "  -c, --config FILE  configuration (default " POSTCELL_SYSCONFDIR
    "/zoned.conf)\n"
    "  -n, --check        check configuration, keys and certificates, then end\n"
    "      --once         publish what is to be published, then end\n"
    "      --diff         print what would be changed, then end\n"
    "      --options      list every option with its kind, default and bounds\n"
    "  -h, --help         this text\n"
    "  -V, --version      the version\n"
    "See postcell-zoned(8) and postcell-zoned.conf(5).\n";

enum {
	OPTION_ONCE = 256,
	OPTION_DIFF,
	OPTION_DESCRIBE
};

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "check", no_argument, NULL, 'n' },
	{ "once", no_argument, NULL, OPTION_ONCE },
	{ "diff", no_argument, NULL, OPTION_DIFF },
	{ "options", no_argument, NULL, OPTION_DESCRIBE },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static int
describe(void)
{
	struct buf text = buf_bounded(MAIN_TEXT_MAX);

	config_describe(&text);
	(void)fputs(buf_string(&text), stdout);
	buf_free(&text);
	return EX_OK;
}

/* 0: go on; else *code is what to end with. */
static int
read_options(
    int argc, char **argv, enum mode *mode, const char **path, int *code)
{
	int option;

	*code = EX_OK;
	while (
	    (option = getopt_long(argc, argv, "c:nhV", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			*path = optarg;
			break;
		case 'n':
			*mode = MODE_CHECK;
			break;
		case OPTION_ONCE:
			*mode = MODE_ONCE;
			break;
		case OPTION_DIFF:
			*mode = MODE_DIFF;
			break;
		case OPTION_DESCRIBE:
			*code = describe();
			return -1;
		case 'h':
			(void)fputs(usage, stdout);
			return -1;
		case 'V':
			(void)puts(MAIN_NAME " " POSTCELL_VERSION);
			return -1;
		default:
			(void)fputs(usage, stderr);
			*code = EX_USAGE;
			return -1;
		}
	}
	if (optind == argc)
		return 0;
	(void)fputs(usage, stderr);
	*code = EX_USAGE;
	return -1;
}

/* -n: what config_read() did not look at. */
static int
check(const struct config *config)
{
	struct buf faults = buf_bounded(MAIN_TEXT_MAX);
	struct rrsets set = { 0 };
	int code = EX_OK;

	if (tlsa_read(&set, config, &faults) < 0) {
		(void)fputs(buf_string(&faults), stderr);
		code = EX_CONFIG;
	}
	rrsets_free(&set);
	buf_free(&faults);
	return code;
}

static void
end(struct daemon *daemon, int code)
{
	daemon->code = code;
	(void)event_base_loopbreak(daemon->base);
}

/* --once: all settled, or one that does not come to it. */
static void
judge_once(struct daemon *daemon)
{
	size_t count = publish_target_count(daemon->publish), settled = 0;

	for (size_t i = 0; i < count; i++) {
		struct target_status status =
		    publish_target(daemon->publish, i);

		settled += status.state == TARGET_SETTLED ||
			   status.state == TARGET_DEFERRED;
		if (status.failures >= MAIN_FAILURES_MAX) {
			end(daemon, EX_UNAVAILABLE);
			return;
		}
	}
	if (settled == count)
		end(daemon, EX_OK);
}

/* --diff: once all zones are known. */
static void
judge_diff(struct daemon *daemon)
{
	size_t count = publish_target_count(daemon->publish);
	int code = EX_OK;

	for (size_t i = 0; i < count; i++) {
		struct target_status status =
		    publish_target(daemon->publish, i);

		if (status.failures > 0) {
			end(daemon, EX_UNAVAILABLE);
			return;
		}
		if (!status.known)
			return;
	}
	for (size_t i = 0; i < count; i++) {
		struct target_status status =
		    publish_target(daemon->publish, i);
		struct buf diff = buf_bounded(MAIN_TEXT_MAX);

		(void)publish_diff(daemon->publish, i, &diff);
		if (diff.size > 0) {
			(void)printf("# %s at %s\n%s", status.zone,
			    status.server, buf_string(&diff));
			code = MAIN_DIFFERENT;
		}
		buf_free(&diff);
	}
	end(daemon, code);
}

static void
on_changed(void *context)
{
	struct daemon *daemon = context;

	if (daemon->mode == MODE_ONCE)
		judge_once(daemon);
	else if (daemon->mode == MODE_DIFF)
		judge_diff(daemon);
}

static void
on_end(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	end(context, EX_OK);
}

static void
on_hangup(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;

	(void)fd;
	(void)what;
	publish_refresh(daemon->publish);
}

static void
on_patience(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;
	const char *why = publish_fault(daemon->publish);

	(void)fd;
	(void)what;
	(void)fprintf(stderr, "%s: %s\n", MAIN_NAME,
	    why ? why : "the zones do not settle");
	end(daemon, EX_TEMPFAIL);
}

static int
add_events(struct daemon *daemon)
{
	struct event_base *base = daemon->base;
	struct timeval patience = { MAIN_PATIENCE, 0 };

	daemon->terminate = evsignal_new(base, SIGTERM, on_end, daemon);
	daemon->interrupt = evsignal_new(base, SIGINT, on_end, daemon);
	daemon->hangup = evsignal_new(base, SIGHUP, on_hangup, daemon);
	daemon->patience = evtimer_new(base, on_patience, daemon);
	if (!daemon->terminate || !daemon->interrupt || !daemon->hangup ||
	    !daemon->patience || event_add(daemon->terminate, NULL) < 0 ||
	    event_add(daemon->interrupt, NULL) < 0 ||
	    event_add(daemon->hangup, NULL) < 0)
		return -1;
	return daemon->mode == MODE_RUN
		   ? 0
		   : event_add(daemon->patience, &patience);
}

static int
start(struct daemon *daemon)
{
	struct publish_settings publish = { .config = daemon->config,
		.log = &daemon->log,
		.read_only = daemon->mode == MODE_DIFF,
		.changed = on_changed,
		.context = daemon };
	struct control_settings control = { .config = daemon->config };
	const char *why;

	daemon->base = event_base_new();
	if (!daemon->base || add_events(daemon) < 0)
		return EX_OSERR;
	publish.base = control.base = daemon->base;
	daemon->publish = publish_new(&publish, &why);
	if (!daemon->publish) {
		(void)fprintf(stderr, "%s: %s\n", MAIN_NAME, why);
		return EX_CONFIG;
	}
	control.publish = daemon->publish;
	if (daemon->mode == MODE_RUN) {
		daemon->control = control_new(&control, &why);
		if (!daemon->control) {
			(void)fprintf(stderr, "%s: %s: %s\n", MAIN_NAME,
			    daemon->config->run_dir, why);
			return EX_CANTCREAT;
		}
		web_start(daemon->web, daemon->base, daemon->publish);
	}
	return EX_OK;
}

/* Ports below 1024 want the privileges that are given up next. */
static int
open_web(struct daemon *daemon)
{
	const char *why;

	if (daemon->mode != MODE_RUN)
		return EX_OK;
	daemon->web = web_open(daemon->config, &why);
	if (daemon->web)
		return EX_OK;
	(void)fprintf(
	    stderr, "%s: web: cannot listen there: %s\n", MAIN_NAME, why);
	return EX_UNAVAILABLE;
}

/* The folder of the control socket is the user's. An empty user: stay. */
static int
enter_jail(const struct config *config)
{
	struct jail jail;
	const char *why;

	if (config->user[0] == '\0')
		return EX_OK;
	if (jail_prepare(&jail, config->user, NULL, &why) < 0) {
		(void)fprintf(stderr, "%s: user \"%s\": %s\n", MAIN_NAME,
		    config->user, why);
		return EX_NOUSER;
	}
	if (jail.enter && mkdir(config->run_dir, 0755) == 0)
		(void)!chown(config->run_dir, jail.uid, jail.gid);
	if (jail_enter(&jail, &why) < 0) {
		(void)fprintf(stderr, "%s: %s\n", MAIN_NAME, why);
		return EX_NOPERM;
	}
	return EX_OK;
}

static int
run(struct daemon *daemon)
{
	int code = open_web(daemon);

	if (code == EX_OK)
		code = enter_jail(daemon->config);
	if (code == EX_OK)
		code = start(daemon);
	if (code != EX_OK)
		return code;
	log_why(&daemon->log, LOG_LEVEL_INFO, "started", POSTCELL_VERSION);
	(void)sd_notify(0, "READY=1");
	if (event_base_dispatch(daemon->base) < 0)
		return EX_OSERR;
	(void)sd_notify(0, "STOPPING=1");
	return daemon->code;
}

static void
free_daemon(struct daemon *daemon)
{
	struct event *events[] = { daemon->terminate, daemon->interrupt,
		daemon->hangup, daemon->patience };

	web_free(&daemon->web);
	control_free(&daemon->control);
	publish_free(&daemon->publish);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (events[i])
			event_free(events[i]);
	if (daemon->base)
		event_base_free(daemon->base);
	config_free(&daemon->config);
}

int
main(int argc, char *argv[])
{
	const char *path = POSTCELL_SYSCONFDIR "/zoned.conf";
	struct buf errors = buf_bounded(MAIN_TEXT_MAX);
	struct daemon daemon = { .mode = MODE_RUN };
	int code;

	if (read_options(argc, argv, &daemon.mode, &path, &code) != 0)
		return code;
	(void)signal(SIGPIPE, SIG_IGN);
	if (config_read(&daemon.config, path, &errors) < 0) {
		(void)fputs(buf_string(&errors), stderr);
		code = EX_CONFIG;
	} else if (daemon.mode == MODE_CHECK) {
		code = check(daemon.config);
	} else {
		daemon.log = log_open((enum log_target)daemon.config->log,
		    (enum log_level)daemon.config->log_level, "zoned");
		code = run(&daemon);
	}
	buf_free(&errors);
	free_daemon(&daemon);
	return code;
}
