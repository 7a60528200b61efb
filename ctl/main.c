/*
 * postcellctl: the operator's command.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <confuse.h>

#include "ctl/ctl.h"
#include "ctl/map.h"
#include "ctl/proxy.h"
#include "ctl/replica.h"
#include "lib/slice.h"

#define MAIN_NAME "postcellctl"

/* A verb is one word or two. */
struct verb_row {
	const char *word, *second; /* second: NULL for none */
	const char *arguments;     /* for people */
	const char *does;
	int argument_count;
	ctl_verb *run;
};

static const struct verb_row verb_rows[] = {
	{ "status", NULL, "", "the proxy of this host, and its replica", 0,
	    ctl_status },
	{ "map", NULL, "USER", "the server that serves a user now, and why", 1,
	    ctl_map },
	{ "who", NULL, "", "the proxy's sessions", 0, ctl_who },
	{ "who", NULL, "USER", "one user's sessions", 1, ctl_who },
	{ "reload", NULL, "", "have the proxy take up its configuration anew",
	    0, ctl_reload },
	{ "replica", "status", "", "what the replica holds and how fresh it is",
	    0, ctl_replica_status },
	{ "replica", "get", "USER", "what the replica knows of an account", 1,
	    ctl_replica_get },
	{ "replica", "dump", "", "all that the replica holds", 0,
	    ctl_replica_dump },
};

void
ctl_complain(const char *text, const char *why)
{
	(void)fprintf(stderr, "%s: %s: %s\n", MAIN_NAME, text, why);
}

static void
print_usage(FILE *out)
{
	(void)fputs(
	    "usage: " MAIN_NAME
	    " [-c FILE | --replica PATH] [--json] VERB ...\n"
	    "  -c, --config FILE   the proxy's configuration, for the paths\n"
	    "  -r, --replica PATH  the replica's folder\n"
	    "  -j, --json          answer in JSON\n"
	    "      --version       print the version and end\n"
	    "  -h, --help          print this and end\n"
	    "verbs:\n",
	    out);
	for (size_t i = 0; i < ARRAY_SIZE(verb_rows); i++) {
		const struct verb_row *row = &verb_rows[i];
		char words[64];

		(void)snprintf(words, sizeof(words), "%s %s %s", row->word,
		    row->second ? row->second : "", row->arguments);
		(void)fprintf(out, "  %-22s %s\n", words, row->does);
	}
}

/*
 * The options that concern us of postcell-replicad.conf or
 * postcell-proxyd.conf; what else stands there does not. The caller frees
 * both; -1 and a complaint on failure.
 */
static int
read_config(const char *file, char **replica, char **run_dir)
{
	cfg_opt_t any[] = { CFG_STR("__unknown", NULL, CFGF_NONE), CFG_END() };
	cfg_opt_t options[] = {
		CFG_SEC("tls", any, CFGF_NONE),
		CFG_SEC("listen", any, CFGF_MULTI | CFGF_TITLE),
		CFG_SEC("backend", any, CFGF_NONE),
		CFG_SEC("limits", any, CFGF_NONE),
		CFG_SEC("directory", any, CFGF_NONE),
		CFG_SEC("probe", any, CFGF_NONE),
		CFG_STR("replica", POSTCELL_STATEDIR "/replica", CFGF_NONE),
		CFG_STR("run_dir", POSTCELL_RUNDIR, CFGF_NONE),
		CFG_STR("__unknown", NULL, CFGF_NONE),
		CFG_END(),
	};
	cfg_t *cfg = cfg_init(options, CFGF_IGNORE_UNKNOWN);
	int code;

	if (!cfg)
		return -1;
	errno = 0;
	code = cfg_parse(cfg, file);
	if (code == CFG_SUCCESS) {
		*replica = strdup(cfg_getstr(cfg, "replica"));
		*run_dir = strdup(cfg_getstr(cfg, "run_dir"));
	} else {
		ctl_complain(file, code == CFG_FILE_ERROR && errno != 0
				       ? strerror(errno)
				       : "cannot be read as a configuration");
	}
	cfg_free(cfg);
	return code == CFG_SUCCESS ? 0 : -1;
}

static const struct verb_row *
find_verb(int count, char **words)
{
	for (size_t i = 0; i < ARRAY_SIZE(verb_rows); i++) {
		const struct verb_row *row = &verb_rows[i];
		int used = row->second ? 2 : 1;

		if (count == used + row->argument_count &&
		    strcmp(row->word, words[0]) == 0 &&
		    (!row->second || strcmp(row->second, words[1]) == 0))
			return row;
	}
	return NULL;
}

/* Runs the verb that the words name. */
static int
run_verb(struct ctl *ctl, const char *config, int count, char **words)
{
	const struct verb_row *row = count > 0 ? find_verb(count, words) : NULL;
	char *replica = NULL, *run_dir = NULL;
	int used, code;

	if (!row) {
		print_usage(stderr);
		return EX_USAGE;
	}
	if (config) {
		if (read_config(config, &replica, &run_dir) < 0)
			return EX_CONFIG;
		ctl->replica = replica;
		ctl->run_dir = run_dir;
	}
	used = row->second ? 2 : 1;
	code = row->run(ctl, count - used, words + used);
	if (code == EX_OK && fflush(stdout) != 0)
		code = EX_IOERR;
	free(replica);
	free(run_dir);
	return code;
}

int
main(int argc, char **argv)
{
	enum {
		OPTION_VERSION = 256
	};
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "replica", required_argument, NULL, 'r' },
		{ "json", no_argument, NULL, 'j' },
		{ "version", no_argument, NULL, OPTION_VERSION },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct ctl ctl = { .replica = POSTCELL_STATEDIR "/replica",
		.run_dir = POSTCELL_RUNDIR };
	const char *config = NULL;
	int option;

	while (
	    (option = getopt_long(argc, argv, "+c:r:jh", longs, NULL)) != -1) {
		switch (option) {
		case 'c':
			config = optarg;
			break;
		case 'r':
			ctl.replica = optarg;
			config = NULL;
			break;
		case 'j':
			ctl.json = true;
			break;
		case OPTION_VERSION:
			(void)printf("%s %s\n", MAIN_NAME, POSTCELL_VERSION);
			return EX_OK;
		case 'h':
			print_usage(stdout);
			return EX_OK;
		default:
			print_usage(stderr);
			return EX_USAGE;
		}
	}
	return run_verb(&ctl, config, argc - optind, argv + optind);
}
