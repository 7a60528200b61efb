/*
 * describe: the options of postcell_hdb.so, for the test that holds them
 * against the manual page and the example.
 */
#include <stdio.h>

#include "kdc-plugin/options.h"

int
main(void)
{
	struct buf text = buf_bounded(65536);

	options_describe(&text);
	(void)fputs(buf_string(&text), stdout);
	buf_free(&text);
	return 0;
}
