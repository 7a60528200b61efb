/*
 * describe: the options of a module, for the test that holds them against the
 * manual page and the example.
 *
 *   describe hdb|locate
 */
#include <err.h>
#include <stdio.h>
#include <string.h>

#include "kdc-plugin/locate_options.h"
#include "kdc-plugin/options.h"

int
main(int argc, char **argv)
{
	struct buf text = buf_bounded(65536);

	if (argc != 2)
		errx(64, "hdb or locate");
	if (strcmp(argv[1], "locate") == 0)
		locate_options_describe(&text);
	else
		options_describe(&text);
	(void)fputs(buf_string(&text), stdout);
	buf_free(&text);
	return 0;
}
