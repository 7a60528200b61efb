/*
 * postcell-replicad: follows the directory, or an LDIF file, into the replica.
 */
#include <errno.h>
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
#include "replica/clock.h"
#include "replica/config.h"
#include "replica/decider.h"
#include "replica/intake.h"
#include "replica/ldif_source.h"
#include "replica/locator.h"
#include "replica/metrics_process.h"
#include "replica/providers.h"
#include "replica/status.h"
#include "replica/store.h"

#define MAIN_NAME       "postcell-replicad"
#define MAIN_TICK_MS    100
#define MAIN_READERS_MS 60000
#define MAIN_AGAIN_MS   60000 /* until what failed is tried again */
#define MAIN_FILTER_MAX 65536
#define MAIN_ERRORS_MAX 65536
#define MAIN_WHY_SIZE   LDIF_SOURCE_WHY_SIZE

struct main_options {
	const char *config;
	bool check, reload;
};

struct daemon {
	struct config config;
	struct log log;
	struct event_base *base;
	struct store *store;
	struct status status;
	struct intake *intake;
	struct providers *providers;     /* either this */
	struct ldif_source *ldif;        /* or that */
	struct decider *decider;         /* NULL: others decide */
	struct locator *locator;         /* NULL: no realm is configured */
	struct metrics_process *metrics; /* NULL: none */
	struct event *terminate, *interrupt, *hangup, *tick;
	struct event *shortcut; /* one step of making it */
	long long shortcut_after_ms;
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
    "      --options      list every option with its kind, default and bounds\n"
    "  -V, --version      print the version and end\n"
    "  -h, --help         print this and end\n";

static void
main_describe(void)
{
	struct buf text = buf_bounded(MAIN_ERRORS_MAX);

	config_describe(&text);
	(void)fputs(buf_string(&text), stdout);
	buf_free(&text);
}

/* 0: go on; else *code is what to end with. */
static int
main_read_options(
    int argc, char **argv, struct main_options *options, int *code)
{
	enum {
		OPTION_RELOAD = 256,
		OPTION_DESCRIBE
	};
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "check", no_argument, NULL, 'n' },
		{ "reload", no_argument, NULL, OPTION_RELOAD },
		{ "options", no_argument, NULL, OPTION_DESCRIBE },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*code = EX_OK;
	while (
	    (option = getopt_long(argc, argv, "c:fnhV", longs, NULL)) != -1) {
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
		case OPTION_DESCRIBE:
			main_describe();
			return -1;
		case 'V':
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

/* Makes a folder, where there is none, that belongs to the user. */
static int
main_make_folder(const char *path, mode_t mode, const struct jail *jail)
{
	if (mkdir(path, mode) != 0)
		return 0;
	/* Whatever the mask says. */
	if (chmod(path, mode) != 0)
		return -1;
	return jail ? chown(path, jail->uid, jail->gid) : 0;
}

/* The folder of a file that every program of the host reads. */
static int
main_make_public_folder(const char *file, const struct jail *jail)
{
	const char *end = strrchr(file, '/');
	char *path = strndup(file, (size_t)(end - file));
	int code = path ? main_make_folder(path, 0755, jail) : -1;

	free(path);
	return code;
}

/* Started as root: folders are the user's, and so is the process. */
static int
main_drop_root(const struct config *config, const char **why)
{
	bool drop = geteuid() == 0 && config->user[0] != '\0';
	struct jail jail;

	if (drop && jail_prepare(&jail, config->user, NULL, why) != 0)
		return EX_NOUSER;
	if ((drop && main_make_folder(
			 config->replica, STORE_FOLDER_MODE, &jail) != 0) ||
	    (config->locator.realm[0] != '\0' &&
		main_make_public_folder(
		    config->locator.file, drop ? &jail : NULL) != 0)) {
		*why = strerror(errno);
		return EX_CANTCREAT;
	}
	if (!drop)
		return EX_OK;
	return jail_enter(&jail, why) == 0 ? EX_OK : EX_NOPERM;
}

static void
daemon_ambiguous(void *context, struct slice key)
{
	struct daemon *daemon = context;
	struct log_line line = log_line(LOG_LEVEL_ERROR, "ambiguous_name");

	log_text(&line, "name", slice_first(key, key.size - LAYOUT_NAME_TAIL));
	log_string(&line, "why", "it leads to more than one account");
	log_send(&daemon->log, &line);
}

static int
daemon_open_store(struct daemon *daemon)
{
	const struct config *config = &daemon->config;
	enum store_found found = STORE_FOUND_GOOD;
	struct log_line line;
	const char *why;

	if (store_open(&daemon->store, config->replica,
		(size_t)config->map_size_max << 20, &found, &why) != 0 ||
	    status_init(&daemon->status, daemon->store, &daemon->log,
		config->stale_after * 1000000, &why) != 0) {
		line = log_line(LOG_LEVEL_ERROR, "replica_unusable");
		log_string(&line, "replica", config->replica);
		log_string(&line, "why", why);
		log_send(&daemon->log, &line);
		return EX_CANTCREAT;
	}
	if (found == STORE_FOUND_FORMAT)
		log_why(&daemon->log, LOG_LEVEL_ERROR, "replica_rebuilt",
		    "it had the format of another version");
	store_on_ambiguous(daemon->store, daemon_ambiguous, daemon);
	daemon->intake = intake_new(
	    daemon->store, &daemon->status, (unsigned)config->prune_max);
	return daemon->intake ? EX_OK : EX_OSERR;
}

static struct connection_tls_files
main_tls_files(const struct config *config)
{
	return (struct connection_tls_files){ .ca_file = config->ca_file,
		.certificate = config->certificate,
		.key = config->key };
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
			.starttls = config->tls == CONFIG_TLS_STARTTLS,
			.tls_files = main_tls_files(config),
			.timeout_ms = (int)config->timeout * 1000,
		},
		.suffix = config->suffix,
		.keys = config->keys,
		.trust = trust,
	};

	if (syncrepl_filter(
		&daemon->filter, config->account_filter, options.keys) != 0)
		return EX_CONFIG;
	options.filter = buf_string(&daemon->filter);
	daemon->providers =
	    providers_new(daemon->base, &options, config->providers.items,
		config->providers.count, daemon->intake, &daemon->status);
	return daemon->providers ? EX_OK : EX_OSERR;
}

/* The same providers, as somebody else. */
static int
daemon_decide(struct daemon *daemon)
{
	const struct config *config = &daemon->config;
	struct decider_options options = {
		.connection = {
			.bind = CONNECTION_SIMPLE,
			.bind_dn = config->decider.bind_dn,
			.password = buf_slice(&config->decider.password),
			.starttls = config->tls == CONFIG_TLS_STARTTLS,
			.tls_files = main_tls_files(config),
			.timeout_ms = (int)config->timeout * 1000,
		},
		.urls = config->providers.items,
		.url_count = config->providers.count,
		.settings = {
			.return_after_ms = config->decider.return_after * 1000,
			.wish_after_ms = DECIDE_WISH_AFTER,
			.silent_after_ms = DECIDE_SILENT_AFTER,
			.hold_after_ms = DECIDE_HOLD_AFTER,
			.grace_ms = DECIDE_GRACE,
			.delay_ms = config->decider.delay,
		},
		.on_move = config->decider.on_move,
	};

	if (config->decider.bind_dn[0] == '\0')
		return EX_OK;
	daemon->decider =
	    decider_new(daemon->base, &options, daemon->store, &daemon->status);
	return daemon->decider ? EX_OK : EX_OSERR;
}

static int
daemon_locate(struct daemon *daemon)
{
	const struct config_locator *config = &daemon->config.locator;
	struct locator_options options = { .file = config->file,
		.realm = config->realm,
		.dns_servers = &config->dns_servers };
	const char *why;

	if (config->realm[0] == '\0')
		return EX_OK;
	daemon->locator = locator_new(
	    daemon->base, &options, daemon->store, &daemon->status, &why);
	if (daemon->locator)
		return EX_OK;
	log_why(&daemon->log, LOG_LEVEL_ERROR, "not_started", why);
	return EX_CONFIG;
}

static int
daemon_follow(struct daemon *daemon, bool trust)
{
	const struct config *config = &daemon->config;
	bool ldif = config->source == CONFIG_SOURCE_LDIF, moved = false;
	const char *why;

	if (config->keys)
		intake_keep_keys(daemon->intake);
	if (intake_set_origin(daemon->intake, ldif ? "ldif" : "ldap",
		ldif ? "" : config->suffix, ldif ? "" : config->account_filter,
		&moved, &why) != 0) {
		log_why(&daemon->log, LOG_LEVEL_ERROR, "store_failed", why);
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

/* A step, and then whoever else has something to do gets his turn. */
static void
daemon_make_shortcut(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;
	struct timeval none = { 0, 0 };
	bool more = false;
	const char *why;

	(void)fd;
	(void)what;
	if (!store_wants_shortcut(daemon->store))
		return;
	if (store_make_shortcut(daemon->store, &more, &why) != 0) {
		log_why(&daemon->log, LOG_LEVEL_ERROR, "shortcut_failed", why);
		daemon->shortcut_after_ms =
		    clock_monotonic_ms() + MAIN_AGAIN_MS;
	} else if (more) {
		(void)evtimer_add(daemon->shortcut, &none);
	} else {
		log_why(&daemon->log, LOG_LEVEL_DEBUG, "shortcut",
		    "look-ups are fast from here on");
	}
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
		log_why(&daemon->log, LOG_LEVEL_INFO, "ready",
		    "the replica is complete");
	}
	if (daemon->status.complete && now_ms >= daemon->shortcut_after_ms)
		event_active(daemon->shortcut, EV_TIMEOUT, 0);
	if (now_ms - daemon->readers_checked_ms < MAIN_READERS_MS)
		return;
	daemon->readers_checked_ms = now_ms;
	(void)store_check_readers(daemon->store);
}

static int
daemon_add_events(struct daemon *daemon)
{
	struct timeval tick = { 0, (suseconds_t)MAIN_TICK_MS * 1000 };

	daemon->terminate =
	    evsignal_new(daemon->base, SIGTERM, daemon_end, daemon);
	daemon->interrupt =
	    evsignal_new(daemon->base, SIGINT, daemon_end, daemon);
	daemon->hangup =
	    evsignal_new(daemon->base, SIGHUP, daemon_hangup, daemon);
	daemon->tick =
	    event_new(daemon->base, -1, EV_PERSIST, daemon_tick, daemon);
	daemon->shortcut =
	    evtimer_new(daemon->base, daemon_make_shortcut, daemon);
	return daemon->terminate && daemon->interrupt && daemon->hangup &&
		       daemon->tick && daemon->shortcut &&
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
	metrics_process_start(daemon->metrics, daemon->base);
	/* Whatever a process that was killed left standing there. */
	status_set_state(&daemon->status, "disconnected", "starting");
	log_why(&daemon->log, LOG_LEVEL_INFO, "started", POSTCELL_VERSION);
	code = daemon_follow(daemon, trust);
	if (code == EX_OK)
		code = daemon_decide(daemon);
	if (code == EX_OK)
		code = daemon_locate(daemon);
	if (code != EX_OK)
		return code;
	if (event_base_dispatch(daemon->base) < 0)
		return EX_OSERR;
	(void)sd_notify(0, "STOPPING=1");
	intake_abandon(daemon->intake);
	status_set_state(
	    &daemon->status, "disconnected", "postcell-replicad has ended");
	log_why(&daemon->log, LOG_LEVEL_INFO, "ended", "asked to");
	return EX_OK;
}

static void
daemon_free(struct daemon *daemon)
{
	struct event *events[] = { daemon->terminate, daemon->interrupt,
		daemon->hangup, daemon->tick, daemon->shortcut };

	metrics_process_free(&daemon->metrics);
	decider_free(&daemon->decider);
	locator_free(&daemon->locator);
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

/* With the configuration read. */
static int
main_run(struct daemon *daemon, const struct main_options *options)
{
	const char *why = "";
	int code;

	if (options->check)
		return main_check(&daemon->config);
	daemon->log = log_open((enum log_target)daemon->config.log,
	    (enum log_level)daemon->config.log_level, "replicad");
	code = metrics_process_new(
		   &daemon->metrics, &daemon->config, &daemon->log, &why) == 0
		   ? main_drop_root(&daemon->config, &why)
		   : EX_UNAVAILABLE;
	if (code != EX_OK) {
		log_why(&daemon->log, LOG_LEVEL_ERROR, "not_started", why);
		return code;
	}
	return daemon_run(daemon, options->reload);
}

int
main(int argc, char **argv)
{
	struct main_options options = { .config = POSTCELL_SYSCONFDIR
					"/replicad.conf" };
	struct daemon daemon = { .filter = buf_bounded(MAIN_FILTER_MAX) };
	struct buf errors = buf_bounded(MAIN_ERRORS_MAX);
	int code;

	if (argc == 2 + METRICS_PROCESS_WORDS &&
	    strcmp(argv[1], METRICS_PROCESS_WORD) == 0)
		return metrics_process_run(argv + 2);
	if (main_read_options(argc, argv, &options, &code) != 0)
		return code;
	/* What the host's ldap.conf says is meant for others. */
	(void)setenv("LDAPNOINIT", "1", 1);
	(void)signal(SIGPIPE, SIG_IGN);
	if (config_load(&daemon.config, options.config, &errors) == 0) {
		code = main_run(&daemon, &options);
	} else {
		(void)fputs(buf_string(&errors), stderr);
		code = EX_CONFIG;
	}
	buf_free(&errors);
	daemon_free(&daemon);
	return code;
}
