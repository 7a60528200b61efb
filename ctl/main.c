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
	(void)fputs("usage: " MAIN_NAME
		    " [-c FILE | --replica PATH] [--json] VERB ...\n"
		    "  -c, --config FILE   take the replica's path from this "
		    "configuration\n"
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
 * The option `replica` of postcell-replicad.conf or postcell-proxyd.conf;
 * what else stands there is not for us. The caller frees it; NULL and a
 * complaint on failure.
 */
static char *
read_replica_path(const char *file)
{
	cfg_opt_t options[] = {
		CFG_STR("replica", POSTCELL_STATEDIR "/replica", CFGF_NONE),
		CFG_STR("__unknown", NULL, CFGF_NONE),
		CFG_END(),
	};
	cfg_t *cfg = cfg_init(options, CFGF_IGNORE_UNKNOWN);
	char *path = NULL;
	int code;

	if (!cfg)
		return NULL;
	errno = 0;
	code = cfg_parse(cfg, file);
	if (code == CFG_SUCCESS)
		path = strdup(cfg_getstr(cfg, "replica"));
	else
		ctl_complain(file, code == CFG_FILE_ERROR && errno != 0
				       ? strerror(errno)
				       : "cannot be read as a configuration");
	cfg_free(cfg);
	return path;
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
	char *path = NULL;
	int used, code;

	if (!row) {
		print_usage(stderr);
		return EX_USAGE;
	}
	if (config) {
		path = read_replica_path(config);
		if (!path)
			return EX_CONFIG;
		ctl->replica = path;
	}
	used = row->second ? 2 : 1;
	code = row->run(ctl, count - used, words + used);
	if (code == EX_OK && fflush(stdout) != 0)
		code = EX_IOERR;
	free(path);
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
	struct ctl ctl = { .replica = POSTCELL_STATEDIR "/replica" };
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
