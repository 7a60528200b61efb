#include "slapd-overlay/overlay.h"

#include "lib/name.h"
#include "lib/record.h"

#define RECORD_MAX ((size_t)1 << 20)

enum fold {
	FOLD_NONE,
	FOLD_UID,
	FOLD_HOST /* lower case */
};

struct row {
	enum attribute attribute;
	uint8_t tag;
	enum fold fold;
};

static const struct row cell_rows[] = {
	{ ATTRIBUTE_CN, CELL_NAME, FOLD_HOST },
	{ ATTRIBUTE_POOL, CELL_POOL, FOLD_HOST },
	{ ATTRIBUTE_SITE, CELL_SITE, FOLD_NONE },
	{ ATTRIBUTE_SERVICE, CELL_SERVICE, FOLD_NONE },
	{ ATTRIBUTE_STATE, CELL_STATE, FOLD_NONE },
	{ ATTRIBUTE_WEIGHT, CELL_WEIGHT, FOLD_NONE },
	{ ATTRIBUTE_TRANSITION, CELL_TRANSITION, FOLD_NONE },
	{ ATTRIBUTE_RAMP, CELL_RAMP, FOLD_NONE },
	{ ATTRIBUTE_GUARD, CELL_GUARD, FOLD_NONE },
	{ ATTRIBUTE_FAILBACK, CELL_FAILBACK, FOLD_NONE },
	{ ATTRIBUTE_MAX_DOWN, CELL_MAX_DOWN, FOLD_NONE },
	{ ATTRIBUTE_AFFINITY, CELL_AFFINITY, FOLD_NONE },
	{ ATTRIBUTE_DEFAULT, CELL_DEFAULT, FOLD_NONE },
};

static const struct row account_rows[] = {
	{ ATTRIBUTE_UID, ACCOUNT_UID, FOLD_NONE },
	{ ATTRIBUTE_MAIL, ACCOUNT_ADDRESS, FOLD_NONE },
	{ ATTRIBUTE_ADDRESS, ACCOUNT_ADDRESS, FOLD_NONE },
	{ ATTRIBUTE_POOL, ACCOUNT_POOL, FOLD_HOST },
	{ ATTRIBUTE_GROUP, ACCOUNT_GROUP, FOLD_UID },
	{ ATTRIBUTE_MAIL_HOST, ACCOUNT_PIN, FOLD_HOST },
	{ ATTRIBUTE_MOVED, ACCOUNT_MOVED, FOLD_NONE },
	{ ATTRIBUTE_STATUS, ACCOUNT_STATUS, FOLD_NONE },
};

static int
add_value(struct buf *record, const struct row *row, struct slice value)
{
	struct buf folded = buf_bounded(value.size + NAME_SIZE_MAX);
	const char *why;
	int result;

	if (row->fold == FOLD_NONE)
		return record_add(record, row->tag, value);
	if (row->fold == FOLD_HOST)
		for (size_t i = 0; i < value.size; i++) {
			char c = value.data[i];

			(void)buf_add_char(&folded,
			    c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
		}
	else if (name_normalise(&folded, NAME_UID, value, &why) < 0)
		return 0; /* it names nobody */
	result = folded.failed
		     ? -1
		     : record_add(record, row->tag, buf_slice(&folded));
	buf_free(&folded);
	return result;
}

static int
add_rows(struct buf *record, Entry *entry, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		BerVarray values =
		    entry_values(entry, attribute(rows[i].attribute));

		for (size_t k = 0; values && values[k].bv_val; k++)
			if (add_value(record, &rows[i], bv_slice(&values[k])) <
			    0)
				return -1;
	}
	return 0;
}

static int
add_head(struct buf *record, Entry *entry)
{
	BerVarray csn = entry_values(entry, slap_schema.si_ad_entryCSN);

	if (record_add(record, CELL_ID, entry_id(entry)) < 0 ||
	    record_add(record, CELL_DN, bv_slice(&entry->e_name)) < 0)
		return -1;
	return csn ? record_add(record, CELL_CSN, bv_slice(&csn[0])) : 0;
}

static const struct {
	const char *text;
	enum class class;
	enum host_kind kind;
} kinds[] = {
	{ "pool", CLASS_POOL, HOST_OTHER },
	{ "server", CLASS_SERVER, HOST_SERVER },
	{ "proxy", CLASS_PROXY, HOST_PROXY },
	{ "host", CLASS_HOST, HOST_OTHER },
};

struct reading {
	struct cell *cell;
	bool failed;
};

static bool
take(Entry *entry, void *data)
{
	struct reading *reading = data;
	struct buf record = buf_bounded(RECORD_MAX);

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!entry_is(entry, kinds[i].class))
			continue;
		reading->failed |=
		    add_head(&record, entry) < 0 ||
		    record_add(&record, CELL_KIND, slice_from(kinds[i].text)) <
			0 ||
		    add_rows(&record, entry, cell_rows, ARRAY_SIZE(cell_rows)) <
			0 ||
		    cell_add(reading->cell, buf_slice(&record)) < 0;
		break;
	}
	buf_free(&record);
	return !reading->failed;
}

struct cell *
map_read(Operation *op)
{
	static const char filter[] =
	    "(|(objectClass=postcellPool)(objectClass=postcellServer)"
	    "(objectClass=postcellProxy)(objectClass=postcellHost))";
	struct reading reading = { cell_new(), false };

	if (!reading.cell)
		return NULL;
	if (directory_search(op, filter, 0, take, &reading) != LDAP_SUCCESS ||
	    reading.failed || cell_finish(reading.cell) < 0)
		cell_free(&reading.cell);
	return reading.cell;
}

int
map_account(struct account *account, Entry *entry, struct buf *record)
{
	const char *why;

	if (add_head(record, entry) < 0 ||
	    add_rows(record, entry, account_rows, ARRAY_SIZE(account_rows)) < 0)
		return -1;
	return account_read(account, buf_slice(record), &why);
}

bool
map_host(Entry *entry, enum host_kind *kind, struct slice *name)
{
	for (size_t i = 1; i < ARRAY_SIZE(kinds); i++) {
		if (!entry_is(entry, kinds[i].class))
			continue;
		*kind = kinds[i].kind;
		*name = entry_first(entry, ATTRIBUTE_CN);
		return name->size > 0;
	}
	return false;
}
