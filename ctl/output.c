#include "ctl/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "lib/buf.h"
#include "lib/timestamp.h"

#define TEXT_SIZE_MAX ((size_t)4 * 1024 * 1024)

int
output_json(json_t *value)
{
	int result = value ? json_dumpf(value, stdout, JSON_INDENT(2)) : -1;

	json_decref(value);
	return result == 0 && putchar('\n') != EOF ? EX_OK : EX_IOERR;
}

json_t *
output_text(struct slice text)
{
	json_t *value = json_stringn(text.size > 0 ? text.data : "", text.size);
	struct buf quoted = buf_bounded(TEXT_SIZE_MAX);

	if (!value && buf_add_quoted(&quoted, text) == 0)
		value = json_stringn(buf_string(&quoted), quoted.size);
	buf_free(&quoted);
	if (!value)
		abort();
	return value;
}

json_t *
output_moment(int64_t moment_us)
{
	struct buf text = buf_bounded(64);
	json_t *value = NULL;

	if (moment_us > 0 && timestamp_format(&text, moment_us) == 0)
		value = json_string(buf_string(&text));
	buf_free(&text);
	return value ? value : json_null();
}

const char *
output_member(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value ? value : "-";
}

long long
output_number(const json_t *object, const char *name)
{
	return (long long)json_integer_value(json_object_get(object, name));
}
