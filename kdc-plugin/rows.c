#include "kdc-plugin/rows.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/slice.h"

#define ROWS_SECTION "postcell"

krb5_error_code
rows_fault(krb5_context context, const char *name, const char *why)
{
	krb5_set_error_message(
	    context, EINVAL, "[" ROWS_SECTION "] %s: %s", name, why);
	return EINVAL;
}

static const char *
rows_text(krb5_context context, const struct row *row)
{
	return krb5_config_get_string_default(
	    context, NULL, row->fallback, ROWS_SECTION, row->name, NULL);
}

static krb5_error_code
rows_number(krb5_context context, const struct row *row, int *number)
{
	uint64_t value = 0;

	if (slice_to_uint(slice_from(rows_text(context, row)),
		(uint64_t)row->max, &value) < 0 ||
	    value < (uint64_t)row->min)
		return rows_fault(
		    context, row->name, "not a number within its bounds");
	*number = (int)value;
	return 0;
}

static krb5_error_code
rows_switch(krb5_context context, const struct row *row, bool *out)
{
	const char *text = rows_text(context, row);

	*out = slice_is_nocase(slice_from(text), "yes");
	if (!*out && !slice_is_nocase(slice_from(text), "no"))
		return rows_fault(context, row->name, "neither yes nor no");
	return 0;
}

static krb5_error_code
rows_own(krb5_context context, const struct row *row, char **out)
{
	const char *text = rows_text(context, row);

	*out = text ? strdup(text) : NULL;
	return text && !*out ? krb5_enomem(context) : 0;
}

static krb5_error_code
rows_read_one(krb5_context context, const struct row *row, void *value)
{
	switch (row->kind) {
	case ROW_TEXT:
		*(const char **)value = rows_text(context, row);
		return 0;
	case ROW_OWN:
		return rows_own(context, row, value);
	case ROW_LIST:
		*(char ***)value = krb5_config_get_strings(
		    context, NULL, ROWS_SECTION, row->name, NULL);
		return 0;
	case ROW_NUMBER:
		return rows_number(context, row, value);
	case ROW_SWITCH:
		return rows_switch(context, row, value);
	}
	return 0;
}

krb5_error_code
rows_read(
    krb5_context context, const struct row *rows, size_t count, void *target)
{
	krb5_error_code code = 0;

	for (size_t i = 0; code == 0 && i < count; i++)
		code = rows_read_one(
		    context, &rows[i], (char *)target + rows[i].offset);
	return code;
}

void
rows_describe(const struct row *rows, size_t count, struct buf *out)
{
	static const char *const kinds[] = {
		[ROW_TEXT] = "text",
		[ROW_OWN] = "text",
		[ROW_LIST] = "list",
		[ROW_NUMBER] = "number",
		[ROW_SWITCH] = "switch",
	};

	for (size_t i = 0; i < count; i++) {
		const struct row *row = &rows[i];

		(void)buf_printf(out, "%s %s %s", row->name, kinds[row->kind],
		    row->fallback && row->fallback[0] != '\0' ? row->fallback
							      : "-");
		if (row->kind == ROW_NUMBER)
			(void)buf_printf(out, " %d..%d", row->min, row->max);
		(void)buf_add_char(out, '\n');
	}
}
