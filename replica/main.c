/*
 * postcell-replicad: follows the directory, or an LDIF file, into the replica.
 */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <event2/event.h>
#include <systemd/sd-daemon.h>

#include "lib/cell.h"
#include "replica/clock.h"
#include "replica/config.h"
#include "replica/intake.h"
#include "replica/ldif_source.h"
#include "replica/log.h"
#include "replica/providers.h"
#include "replica/status.h"
#include "replica/store.h"

#define MAIN_NAME       "postcell-replicad"
#define MAIN_TICK_MS    100
#define MAIN_READERS_MS 60000
#define MAIN_FILTER_MAX 65536
#define MAIN_WHY_SIZE   LDIF_SOURCE_WHY_SIZE

struct main_options {
	const char *config;
	bool check, reload;
};

struct daemon {
	struct config config;
	struct event_base *base;
	struct store *store;
	struct status status;
	struct intake *intake;
	struct providers *providers; /* either this */
	struct ldif_source *ldif;    /* or that */
	struct event *terminate, *interrupt, *hangup, *tick;
	struct buf filter;
	bool told_ready;
	long long readers_checked_ms;
};

static const char main_usage[] =
    "usage: " MAIN_NAME " [-fn] [-c FILE] [--reload]\n"
    "  -c, --config FILE  read FILE instead of " POSTCELL_SYSCONFDIR
    "/replicad.conf\n"
    "  -f, --foreground   stay in the foreground, as always\n"
    "  -n, --check        check the configuration and end\n"
    "      --reload       take the source for the truth at the next refresh:\n"
    "                     forget the cookie and drop whatever it has not\n"
    "      --version      print the version and end\n"
    "  -h, --help         print this and end\n";

/* 0: go on; else *code is what to end with. */
static int
main_read_options(
    int argc, char **argv, struct main_options *options, int *code)
{
	enum {
		OPTION_RELOAD = 256,
		OPTION_VERSION
	};
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "check", no_argument, NULL, 'n' },
		{ "reload", no_argument, NULL, OPTION_RELOAD },
		{ "version", no_argument, NULL, OPTION_VERSION },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*code = EX_OK;
	while ((option = getopt_long(argc, argv, "c:fnh", longs, NULL)) != -1) {
		switch (option) {
		case 'c':
			options->config = optarg;
			break;
		case 'f':
			break;
		case 'n':
			options->check = true;
			break;
		case OPTION_RELOAD:
			options->reload = true;
			break;
		case OPTION_VERSION:
			(void)printf("%s %s\n", MAIN_NAME, POSTCELL_VERSION);
			return -1;
		case 'h':
			(void)fputs(main_usage, stdout);
			return -1;
		default:
			(void)fputs(main_usage, stderr);
			*code = EX_USAGE;
			return -1;
		}
	}
	if (optind == argc)
		return 0;
	(void)fputs(main_usage, stderr);
	*code = EX_USAGE;
	return -1;
}

/* -n */
static int
main_check(const struct config *config)
{
	char why[MAIN_WHY_SIZE];

	if (config->source == CONFIG_SOURCE_LDIF &&
	    ldif_source_check(config->ldif_file, why, sizeof(why)) != 0) {
		(void)fprintf(stderr, "%s\n", why);
		return EX_DATAERR;
	}
	return EX_OK;
}

/* Started as root: the folder is the user's, and so is the process. */
static int
main_drop_root(const struct config *config)
{
	struct passwd *user;

	if (geteuid() != 0 || config->user[0] == '\0')
		return EX_OK;
	errno = 0;
	user = getpwnam(config->user);
	if (!user) {
		(void)fprintf(
		    stderr, "%s: no user \"%s\"\n", MAIN_NAME, config->user);
		return EX_NOUSER;
	}
	if (mkdir(config->replica, 0750) == 0 &&
	    chown(config->replica, user->pw_uid, user->pw_gid) != 0) {
		(void)fprintf(stderr, "%s: %s: %s\n", MAIN_NAME,
		    config->replica, strerror(errno));
		return EX_CANTCREAT;
	}
	if (initgroups(user->pw_name, user->pw_gid) != 0 ||
	    setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0) {
		(void)fprintf(stderr, "%s: cannot become %s: %s\n", MAIN_NAME,
		    config->user, strerror(errno));
		return EX_NOPERM;
	}
	return EX_OK;
}

static void
daemon_ambiguous(void *context, struct slice key)
{
	struct log_line line = log_begin(LOG_ALARM, "ambiguous_name");

	(void)context;
	log_text(&line, "name", slice_from_offset(key, 1));
	log_string(&line, "why", "it leads to more than one account");
	log_end(&line);
}

static int
daemon_open_store(struct daemon *daemon)
{
	const struct config *config = &daemon->config;
	enum store_found found = STORE_FOUND_GOOD;
	const char *why;

	if (store_open(&daemon->store, config->replica,
		(size_t)config->map_size_max << 20, &found, &why) != 0 ||
	    status_init(&daemon->status, daemon->store,
		config->stale_after * 1000000, &why) != 0) {
		(void)fprintf(
		    stderr, "%s: %s: %s\n", MAIN_NAME, config->replica, why);
		return EX_CANTCREAT;
	}
	if (found == STORE_FOUND_FORMAT)
		log_why(LOG_ALARM, "replica_rebuilt",
		    "it had the format of another version");
	store_on_ambiguous(daemon->store, daemon_ambiguous, NULL);
	daemon->intake = intake_new(
	    daemon->store, &daemon->status, (unsigned)config->prune_max);
	return daemon->intake ? EX_OK : EX_OSERR;
}

static int
daemon_follow_ldap(struct daemon *daemon, bool trust)
{
	const struct config *config = &daemon->config;
	struct syncrepl_options options = {
		.connection = {
			.bind = config->bind == CONNECTION_EXTERNAL
			    ? CONNECTION_EXTERNAL : CONNECTION_SIMPLE,
			.bind_dn = config->bind_dn,
			.password = buf_slice(&config->password),
			.starttls = config->tls != 0,
			.ca_file = config->ca_file,
			.certificate = config->certificate,
			.key = config->key,
			.timeout_ms = (int)config->timeout * 1000,
		},
		.suffix = config->suffix,
		.trust = trust,
	};
	const char *const *urls = (const char *const *)config->providers;

	if (syncrepl_filter(&daemon->filter, config->account_filter) != 0)
		return EX_CONFIG;
	options.filter = buf_string(&daemon->filter);
	daemon->providers = providers_new(daemon->base, &options, urls,
	    config->provider_count, daemon->intake, &daemon->status);
	return daemon->providers ? EX_OK : EX_OSERR;
}

static int
daemon_follow(struct daemon *daemon, bool trust)
{
	const struct config *config = &daemon->config;
	bool ldif = config->source == CONFIG_SOURCE_LDIF, moved = false;
	const char *why;

	if (intake_set_origin(daemon->intake, ldif ? "ldif" : "ldap",
		ldif ? "" : config->suffix, ldif ? "" : config->account_filter,
		&moved, &why) != 0) {
		log_why(LOG_ALARM, "store_failed", why);
		return EX_IOERR;
	}
	if (!ldif)
		return daemon_follow_ldap(daemon, trust || moved);
	daemon->ldif = ldif_source_new(daemon->base, config->ldif_file,
	    trust || moved, daemon->intake, &daemon->status);
	return daemon->ldif ? EX_OK : EX_OSERR;
}

static void
daemon_end(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;

	(void)fd;
	(void)what;
	(void)event_base_loopbreak(daemon->base);
}

static void
daemon_hangup(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;

	(void)fd;
	(void)what;
	if (daemon->ldif)
		ldif_source_reload(daemon->ldif);
	if (daemon->providers)
		providers_hurry(daemon->providers);
}

static void
daemon_tick(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;
	long long now_ms = clock_monotonic_ms();

	(void)fd;
	(void)what;
	if (!daemon->told_ready && daemon->status.complete) {
		daemon->told_ready = true;
		(void)sd_notify(0, "READY=1");
		log_why(LOG_EVENT, "ready", "the replica is complete");
	}
	if (now_ms - daemon->readers_checked_ms < MAIN_READERS_MS)
		return;
	daemon->readers_checked_ms = now_ms;
	(void)store_check_readers(daemon->store);
}

static int
daemon_add_events(struct daemon *daemon)
{
	struct timeval tick = { 0, MAIN_TICK_MS * 1000 };

	daemon->terminate =
	    evsignal_new(daemon->base, SIGTERM, daemon_end, daemon);
	daemon->interrupt =
	    evsignal_new(daemon->base, SIGINT, daemon_end, daemon);
	daemon->hangup =
	    evsignal_new(daemon->base, SIGHUP, daemon_hangup, daemon);
	daemon->tick =
	    event_new(daemon->base, -1, EV_PERSIST, daemon_tick, daemon);
	return daemon->terminate && daemon->interrupt && daemon->hangup &&
		       daemon->tick &&
		       event_add(daemon->terminate, NULL) == 0 &&
		       event_add(daemon->interrupt, NULL) == 0 &&
		       event_add(daemon->hangup, NULL) == 0 &&
		       event_add(daemon->tick, &tick) == 0
		   ? 0
		   : -1;
}

static int
daemon_run(struct daemon *daemon, bool trust)
{
	int code = daemon_open_store(daemon);

	if (code != EX_OK)
		return code;
	daemon->base = event_base_new();
	if (!daemon->base || daemon_add_events(daemon) != 0)
		return EX_OSERR;
	log_why(LOG_EVENT, "started", POSTCELL_VERSION);
	/* Whatever a process that was killed left standing there. */
	status_set_state(&daemon->status, "disconnected", "starting");
	code = daemon_follow(daemon, trust);
	if (code != EX_OK)
		return code;
	if (event_base_dispatch(daemon->base) < 0)
		return EX_OSERR;
	(void)sd_notify(0, "STOPPING=1");
	intake_abandon(daemon->intake);
	status_set_state(
	    &daemon->status, "disconnected", "postcell-replicad has ended");
	log_why(LOG_EVENT, "ended", "asked to");
	return EX_OK;
}

static void
daemon_free(struct daemon *daemon)
{
	struct event *events[] = { daemon->terminate, daemon->interrupt,
		daemon->hangup, daemon->tick };

	ldif_source_free(&daemon->ldif);
	providers_free(&daemon->providers);
	intake_free(&daemon->intake);
	store_free(&daemon->store);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		if (events[i])
			event_free(events[i]);
	}
	if (daemon->base)
		event_base_free(daemon->base);
	buf_free(&daemon->filter);
	config_free(&daemon->config);
}

int
main(int argc, char **argv)
{
	struct main_options options = { .config = POSTCELL_SYSCONFDIR
					"/replicad.conf" };
	struct daemon daemon = { .filter = buf_bounded(MAIN_FILTER_MAX) };
	int code;

	if (main_read_options(argc, argv, &options, &code) != 0)
		return code;
	/* What the host's ldap.conf says is meant for others. */
	(void)setenv("LDAPNOINIT", "1", 1);
	(void)signal(SIGPIPE, SIG_IGN);
	code = config_load(&daemon.config, options.config) == 0 ? EX_OK
								: EX_CONFIG;
	if (code == EX_OK && options.check) {
		code = main_check(&daemon.config);
	} else if (code == EX_OK) {
		log_open(MAIN_NAME, daemon.config.log == LOG_TARGET_SYSLOG
					? LOG_TARGET_SYSLOG
					: LOG_TARGET_STDERR);
		code = main_drop_root(&daemon.config);
		if (code == EX_OK)
			code = daemon_run(&daemon, options.reload);
	}
	daemon_free(&daemon);
	return code;
}
