/*
 * postcellctl: the operator's command.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ctl/account.h"
#include "ctl/backup.h"
#include "ctl/check.h"
#include "ctl/config.h"
#include "ctl/ctl.h"
#include "ctl/director.h"
#include "ctl/enrol.h"
#include "ctl/found.h"
#include "ctl/hosts.h"
#include "ctl/join.h"
#include "ctl/limits.h"
#include "ctl/map.h"
#include "ctl/options.h"
#include "ctl/preview.h"
#include "ctl/proxy.h"
#include "ctl/replica.h"
#include "ctl/server.h"
#include "ctl/trace.h"
#include "ctl/user.h"
#include "ctl/watch.h"
#include "ctl/zone.h"
#include "lib/slice.h"

#define MAIN_NAME  "postcellctl"
#define ERRORS_MAX 65536

#define CHANGE (OPTIONS_RAMP | OPTIONS_WAIT)
#define PLACE  (OPTIONS_ROOT | OPTIONS_PREFIX)

/* A verb is one word or two. */
struct verb_row {
	const char *word, *second; /* second: NULL for none */
	const char *arguments;     /* for people */
	const char *does;
	int argument_min, argument_max;
	uint64_t options;    /* OPTIONS_ */
	enum host_kind kind; /* of host verbs */
	ctl_verb *run;
};

static const struct verb_row verb_rows[] = {
	{ "status", NULL, "", "the proxy of this host, and its replica", 0, 0,
	    0, 0, ctl_status },
	{ "watch", NULL, "[--once]", "the servers, each second", 0, 0,
	    OPTIONS_ONCE, 0, ctl_watch },
	{ "check", NULL, "", "what is wrong with the cell's data", 0, 0, 0, 0,
	    ctl_check },
	{ "server", "list", "", "servers, states, weights, users", 0, 0, 0,
	    HOST_SERVER, hosts_list },
	{ "server", "show", "NAME", "all of one server, with its history", 1, 1,
	    0, HOST_SERVER, hosts_show },
	{ "server", "drain", "NAME [--ramp S] [--wait]",
	    "its users move away, pinned ones stay", 1, 1, CHANGE, HOST_SERVER,
	    server_drain },
	{ "server", "up", "NAME [--ramp S] [--wait]", "its users come back", 1,
	    1, CHANGE, HOST_SERVER, server_up },
	{ "server", "down", "NAME [--ramp S] [--wait]",
	    "it serves nobody, at once", 1, 1, CHANGE, HOST_SERVER,
	    server_down },
	{ "server", "weight", "NAME N [--ramp S] [--wait]",
	    "another share of the users", 2, 2, CHANGE, HOST_SERVER,
	    server_weight },
	{ "server", "add",
	    "NAME --service URL ... [--pool P] [--site S] [--weight N] [--ramp S]",
	    "a new server", 1, 1,
	    OPTIONS_SERVICE | OPTIONS_POOL | OPTIONS_SITE | OPTIONS_WEIGHT |
		OPTIONS_RAMP,
	    HOST_SERVER, enrol_add },
	{ "server", "remove", "NAME", "takes a server that is down away", 1, 1,
	    0, HOST_SERVER, enrol_remove },
	{ "server", "rename", "NAME NEW", "of a server that is down", 2, 2, 0,
	    HOST_SERVER, enrol_rename },
	{ "server", "pool", "NAME POOL", "another pool, while it is down", 2, 2,
	    0, HOST_SERVER, enrol_pool },
	{ "proxy", "list", "", "proxies and observers", 0, 0, 0, HOST_PROXY,
	    hosts_list },
	{ "proxy", "show", "NAME", "all of one proxy", 1, 1, 0, HOST_PROXY,
	    hosts_show },
	{ "proxy", "drain", "NAME", "no new clients, by DNS", 1, 1,
	    OPTIONS_RAMP, HOST_PROXY, server_drain },
	{ "proxy", "up", "NAME", "back into DNS", 1, 1, OPTIONS_RAMP,
	    HOST_PROXY, server_up },
	{ "proxy", "down", "NAME", "out of DNS", 1, 1, OPTIONS_RAMP, HOST_PROXY,
	    server_down },
	{ "host", "list", "", "KDCs, directory and name servers", 0, 0, 0,
	    HOST_OTHER, hosts_list },
	{ "host", "show", "NAME", "all of one host", 1, 1, 0, HOST_OTHER,
	    hosts_show },
	{ "host", "drain", "NAME", "out of DNS, soon", 1, 1, OPTIONS_RAMP,
	    HOST_OTHER, server_drain },
	{ "host", "up", "NAME", "back into DNS", 1, 1, OPTIONS_RAMP, HOST_OTHER,
	    server_up },
	{ "host", "down", "NAME", "out of DNS", 1, 1, OPTIONS_RAMP, HOST_OTHER,
	    server_down },
	{ "plan", "server", "VERB NAME [N] [--ramp S]",
	    "what drain, up, down or weight would do", 0, 3, OPTIONS_RAMP,
	    HOST_SERVER, preview_server },
	{ "drain", NULL, "NAME [--ramp S] [--wait]", "server drain, in short",
	    1, 1, CHANGE, HOST_SERVER, server_drain },
	{ "up", NULL, "NAME [--ramp S] [--wait]", "server up, in short", 1, 1,
	    CHANGE, HOST_SERVER, server_up },
	{ "down", NULL, "NAME [--ramp S] [--wait]", "server down, in short", 1,
	    1, CHANGE, HOST_SERVER, server_down },
	{ "map", NULL, "USER [--host]",
	    "the server that serves a user now, and why", 1, 1, OPTIONS_HOST, 0,
	    ctl_map },
	{ "user", "map", "USER [--host]", "the same", 1, 1, OPTIONS_HOST, 0,
	    ctl_map },
	{ "user", "move", "USER [SERVER] [--pool P]",
	    "pins a user to a server, or to another pool", 1, 2, OPTIONS_POOL,
	    0, user_move },
	{ "user", "unpin", "USER", "back to where the hash says", 1, 1, 0, 0,
	    user_unpin },
	{ "user", "kick", "USER", "ends the user's sessions at this proxy", 1,
	    1, 0, 0, user_kick },
	{ "user", "who", "USER", "the user's sessions at this proxy", 1, 1, 0,
	    0, user_who },
	{ "user", "trace", "USER FOLDER [--for S]",
	    "writes down what the user's sessions say", 2, 2, OPTIONS_FOR, 0,
	    ctl_trace },
	{ "account", "add",
	    "UID [--mail ADDR] [--name \"GIVEN SUR\"] [--pool P] [--group G]",
	    "a new account; its password is asked for, or read from stdin", 1,
	    1, OPTIONS_MAIL | OPTIONS_NAME | OPTIONS_POOL | OPTIONS_GROUP, 0,
	    ctl_account_add },
	{ "account", "show", "USER", "all that matters of one account", 1, 1, 0,
	    0, ctl_account_show },
	{ "account", "disable", "USER [--reason TEXT]",
	    "no login at any door; with a reason, mail is still taken", 1, 1,
	    OPTIONS_REASON, 0, ctl_account_disable },
	{ "account", "enable", "USER", "logins again", 1, 1, 0, 0,
	    ctl_account_enable },
	{ "account", "unlock", "USER", "after too many wrong passwords", 1, 1,
	    0, 0, ctl_account_unlock },
	{ "account", "passwd", "USER",
	    "another password, asked for or read from stdin", 1, 1, 0, 0,
	    ctl_account_passwd },
	{ "account", "import", "FILE [--format csv|ldif] [--dry-run]",
	    "adds the accounts of a file that are not there", 1, 1,
	    OPTIONS_FORMAT | OPTIONS_DRY_RUN, 0, ctl_account_import },
	{ "cell", "init",
	    "[--uri URI] [--name NAME] [--domain D] [--realm R] [--suffix DN] "
	    "[--admin UID] [--generate] [--root DIR] [--dry-run] ...",
	    "makes a cell's first host: directory, realm, administrator", 0, 0,
	    OPTIONS_URI | OPTIONS_NAME | OPTIONS_DOMAIN | OPTIONS_REALM |
		OPTIONS_SUFFIX | OPTIONS_ADMIN | OPTIONS_MAIL_HOST |
		OPTIONS_KDC_PORT | OPTIONS_KPASSWD_PORT | OPTIONS_USER |
		OPTIONS_GENERATE | OPTIONS_DRY_RUN | PLACE,
	    0, ctl_cell_init },
	{ "cell", "join", "[--prepare NAME --uri URI] BUNDLE | --peers",
	    "a further provider and KDC, from what a host of the cell "
	    "prepares",
	    0, 1,
	    OPTIONS_PREPARE | OPTIONS_URI | OPTIONS_KDC_PORT |
		OPTIONS_KPASSWD_PORT | OPTIONS_PEERS | OPTIONS_USER |
		OPTIONS_DRY_RUN | PLACE,
	    0, ctl_cell_join },
	{ "cell", "backup", "DIR [--with-master-key] [--root DIR]",
	    "directory and configuration of this host, with their sums", 1, 1,
	    OPTIONS_WITH_MASTER_KEY | PLACE, 0, ctl_cell_backup },
	{ "cell", "restore", "DIR [--keys-from DIR] [--user USER] [--root DIR]",
	    "the same, to where nothing is", 1, 1,
	    OPTIONS_KEYS_FROM | OPTIONS_USER | PLACE, 0, ctl_cell_restore },
	{ "who", NULL, "[USER]", "the proxy's sessions, or one user's", 0, 1, 0,
	    0, ctl_who },
	{ "flush", NULL, "SERVER", "ends this proxy's sessions at a server", 1,
	    1, 0, 0, ctl_flush },
	{ "limits", NULL, "", "the proxy's limits, and who is near them", 0, 0,
	    0, 0, ctl_limits },
	{ "reload", NULL, "", "have the proxy take up its configuration anew",
	    0, 0, 0, 0, ctl_reload },
	{ "replica", "status", "", "what the replica holds and how fresh it is",
	    0, 0, 0, 0, ctl_replica_status },
	{ "replica", "get", "USER", "what the replica knows of an account", 1,
	    1, 0, 0, ctl_replica_get },
	{ "replica", "dump", "", "all that the replica holds", 0, 0, 0, 0,
	    ctl_replica_dump },
	{ "import-director", NULL, "FILE [--suffix DN] [--proxyd NEWFILE]",
	    "a Dovecot Director's doveconf -n as LDIF and a proxyd.conf", 1, 1,
	    OPTIONS_SUFFIX | OPTIONS_PROXYD, 0, director_import },
	{ "zone", "show", "", "what this host publishes in DNS", 0, 0, 0, 0,
	    ctl_zone_show },
	{ "zone", "diff", "", "what it has yet to change there", 0, 0, 0, 0,
	    ctl_zone_diff },
};

enum general_letter {
	LETTER_VERSION = 256,
	LETTER_DESCRIBE
};

static const struct option general[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "replica", required_argument, NULL, 'r' },
	{ "json", no_argument, NULL, 'j' },
	{ "version", no_argument, NULL, LETTER_VERSION },
	{ "options", no_argument, NULL, LETTER_DESCRIBE },
	{ "help", no_argument, NULL, 'h' },
};

#define LONGS_COUNT (ARRAY_SIZE(general) + OPTIONS_COUNT)

/* What the command line says. */
struct command {
	struct ctl ctl;
	const char *config, *replica;         /* NULL: not given */
	uint64_t options;                     /* verb options that were given */
	struct option longs[LONGS_COUNT + 1]; /* all of them, and an end */
};

void
ctl_complain(const char *text, const char *why)
{
	(void)fprintf(stderr, "%s: %s: %s\n", MAIN_NAME, text, why);
}

static void
print_verb(FILE *out, const struct verb_row *row)
{
	(void)fprintf(out, "  %s%s%s%s%s\n      %s\n", row->word,
	    row->second ? " " : "", row->second ? row->second : "",
	    row->arguments[0] ? " " : "", row->arguments, row->does);
}

static void
print_usage(FILE *out)
{
	(void)fputs("usage: " MAIN_NAME " [-c FILE] [-r PATH] [-j] VERB ...\n"
		    "  -c, --config FILE   configuration, instead of\n"
		    "                      " POSTCELL_SYSCONFDIR
		    "/postcellctl.conf\n"
		    "  -r, --replica PATH  the replica's folder\n"
		    "  -j, --json          answer in JSON\n"
		    "      --options       print the configuration's options\n"
		    "      --version       print the version and end\n"
		    "  -h, --help          print this and end\n"
		    "verbs:\n",
	    out);
	for (size_t i = 0; i < ARRAY_SIZE(verb_rows); i++)
		print_verb(out, &verb_rows[i]);
}

static bool
begins_row(const struct verb_row *row, int count, char **words)
{
	return count > 0 && strcmp(row->word, words[0]) == 0 &&
	       (!row->second ||
		   (count > 1 && strcmp(row->second, words[1]) == 0));
}

/* What could have been meant, as near as it can be said. */
static int
complain_usage(int count, char **words)
{
	bool near = false;

	if (count == 0) {
		print_usage(stderr);
		return EX_USAGE;
	}
	for (size_t i = 0; i < ARRAY_SIZE(verb_rows); i++)
		near = near || begins_row(&verb_rows[i], count, words);
	ctl_complain(words[0], near ? "too few or too many words; usage:"
				    : "there is no such verb; see --help");
	for (size_t i = 0; i < ARRAY_SIZE(verb_rows); i++) {
		const struct verb_row *row = &verb_rows[i];

		if (near ? begins_row(row, count, words)
			 : strcmp(row->word, words[0]) == 0)
			print_verb(stderr, row);
	}
	return EX_USAGE;
}

static const struct verb_row *
find_verb(int count, char **words)
{
	for (size_t i = 0; i < ARRAY_SIZE(verb_rows); i++) {
		const struct verb_row *row = &verb_rows[i];
		int arguments = count - (row->second ? 2 : 1);

		if (begins_row(row, count, words) &&
		    arguments >= row->argument_min &&
		    arguments <= row->argument_max)
			return row;
	}
	return NULL;
}

/* Runs the verb that the words name. */
static int
run_verb(struct command *command, int count, char **words)
{
	const struct verb_row *row = find_verb(count, words);
	struct buf errors = buf_bounded(ERRORS_MAX);
	struct config *config = NULL;
	const char *stray;
	int used, code;

	if (!row)
		return complain_usage(count, words);
	stray = options_name(command->options & ~row->options);
	if (stray) {
		(void)fprintf(
		    stderr, MAIN_NAME ": --%s does not go with:\n", stray);
		print_verb(stderr, row);
		return EX_USAGE;
	}
	if (config_read(&config, command->config, &errors) < 0) {
		(void)fputs(buf_string(&errors), stderr);
		buf_free(&errors);
		return EX_CONFIG;
	}
	command->ctl.replica =
	    command->replica ? command->replica : config->replica;
	command->ctl.run_dir = config->run_dir;
	command->ctl.directory = &config->directory;
	command->ctl.kind = row->kind;
	used = row->second ? 2 : 1;
	code = row->run(&command->ctl, count - used, words + used);
	if (code == EX_OK && fflush(stdout) != 0)
		code = EX_IOERR;
	config_free(&config);
	buf_free(&errors);
	return code;
}

static int
describe_options(void)
{
	struct buf text = buf_bounded(ERRORS_MAX);

	config_describe(&text);
	(void)fputs(buf_string(&text), stdout);
	buf_free(&text);
	return EX_OK;
}

/* CTL_NO: go on; else the exit status. */
static int
take_option(struct command *command, int letter)
{
	int code;

	switch (letter) {
	case 'c':
		command->config = optarg;
		return CTL_NO;
	case 'r':
		command->replica = optarg;
		return CTL_NO;
	case 'j':
		command->ctl.json = true;
		return CTL_NO;
	case LETTER_VERSION:
		(void)printf("%s %s\n", MAIN_NAME, POSTCELL_VERSION);
		return EX_OK;
	case LETTER_DESCRIBE:
		return describe_options();
	case 'h':
		print_usage(stdout);
		return EX_OK;
	case '?':
		(void)fputs("see " MAIN_NAME " --help\n", stderr);
		return EX_USAGE;
	default:
		code = options_take(
		    &command->ctl.options, letter, optarg, &command->options);
		return code == EX_OK ? CTL_NO : code;
	}
}

/* Of "NAME" or "NAME=VALUE", whole names alone; NULL for none. */
static const struct option *
find_long(const struct command *command, struct slice text)
{
	struct slice name = slice_first(text, slice_find(text, '='));

	for (size_t i = 0; command->longs[i].name; i++)
		if (slice_is(name, command->longs[i].name))
			return &command->longs[i];
	return NULL;
}

/* One "--NAME" behind the verb, its value perhaps in the next argument. */
static int
take_long(struct command *command, char **arguments, int *at)
{
	struct slice text = slice_from(arguments[*at] + 2);
	const struct option *option = find_long(command, text);
	size_t equals = slice_find(text, '=');
	bool wants = option && option->has_arg == required_argument;

	optarg = NULL;
	if (wants && equals != SIZE_MAX)
		optarg = arguments[*at] + 2 + equals + 1;
	else if (wants && arguments[*at + 1])
		optarg = arguments[++*at];
	if (option && wants == (optarg != NULL) &&
	    (wants || equals == SIZE_MAX))
		return take_option(command, option->val);
	ctl_complain(arguments[*at], !option ? "there is no such option"
				     : wants ? "needs a value"
					     : "takes no value");
	return EX_USAGE;
}

/*
 * Parts options from words behind the verb. A single hyphen begins a word
 * there, for it may begin a user's name.
 */
static int
take_words(struct command *command, char **arguments, int *count)
{
	bool options = true;

	*count = 0;
	for (int i = 0; arguments[i]; i++) {
		int code = CTL_NO;

		if (options && strcmp(arguments[i], "--") == 0)
			options = false;
		else if (options && strncmp(arguments[i], "--", 2) == 0)
			code = take_long(command, arguments, &i);
		else
			arguments[(*count)++] = arguments[i];
		if (code != CTL_NO)
			return code;
	}
	return CTL_NO;
}

int
main(int argc, char **argv)
{
	struct command command = { .ctl.options = { .weight = CTL_ABSENT,
				       .ramp = CTL_ABSENT,
				       .time = CTL_ABSENT } };
	int letter, code, count;

	memcpy(command.longs, general, sizeof(general));
	options_list(command.longs + ARRAY_SIZE(general));
	while ((letter = getopt_long(
		    argc, argv, "+c:r:jh", command.longs, NULL)) != -1) {
		code = take_option(&command, letter);
		if (code != CTL_NO)
			return code;
	}
	code = take_words(&command, argv + optind, &count);
	return code != CTL_NO ? code : run_verb(&command, count, argv + optind);
}
