#include "kdc-plugin/locate_options.h"

#include <stddef.h>

#include "kdc-plugin/rows.h"
#include "lib/slice.h"

#define AT(member) offsetof(struct locate_options, member)

static const struct row locate_rows[] = {
	{ "kdcs", ROW_TEXT, AT(kdcs), POSTCELL_STATEDIR "/realm/kdcs", 0, 0 },
	{ "site", ROW_TEXT, AT(site), "", 0, 0 },
	{ "memory", ROW_TEXT, AT(memory), "/run/user/%u", 0, 0 },
	{ "memory_time", ROW_NUMBER, AT(memory_time), "30", 0, 3600 },
	{ "patience", ROW_NUMBER, AT(patience), "80", 0, 1000 },
};

krb5_error_code
locate_options_read(krb5_context context, struct locate_options *options)
{
	*options = (struct locate_options){ 0 };
	return rows_read(
	    context, locate_rows, ARRAY_SIZE(locate_rows), options);
}

void
locate_options_describe(struct buf *out)
{
	rows_describe(locate_rows, ARRAY_SIZE(locate_rows), out);
}
