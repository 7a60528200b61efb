#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "proxy/config.h"
#include "proxy/parent.h"

static const char usage[] =
    "usage: postcell-proxyd [-n] [-c FILE]\n"
    "  -c, --config FILE  configuration (default " POSTCELL_SYSCONFDIR
    "/proxyd.conf)\n"
    "  -n, --check        check configuration, certificates and keys, then end\n"
    "      --options      list every option with its kind, default and bounds\n"
    "  -h, --help         this text\n"
    "  -V, --version      the version\n"
    "See postcell-proxyd(8) and postcell-proxyd.conf(5).\n";

enum {
	OPTION_DESCRIBE = 256
};

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "check", no_argument, NULL, 'n' },
	{ "options", no_argument, NULL, OPTION_DESCRIBE },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static int
describe(void)
{
	struct buf text = buf_bounded(65536);

	config_describe(&text);
	(void)fputs(buf_string(&text), stdout);
	buf_free(&text);
	return EX_OK;
}

int
main(int argc, char *argv[])
{
	const char *path = POSTCELL_SYSCONFDIR "/proxyd.conf";
	int option, check = 0;

	while (
	    (option = getopt_long(argc, argv, "c:nhV", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case 'n':
			check = 1;
			break;
		case OPTION_DESCRIBE:
			return describe();
		case 'h':
			(void)fputs(usage, stdout);
			return EX_OK;
		case 'V':
			puts("postcell-proxyd " POSTCELL_VERSION);
			return EX_OK;
		default:
			(void)fputs(usage, stderr);
			return EX_USAGE;
		}
	}
	if (optind < argc) {
		(void)fputs(usage, stderr);
		return EX_USAGE;
	}
	return parent_run(argv, path, check);
}
