#include "ctl/replica.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <jansson.h>

#include "lib/timestamp.h"
#include "replica/reader.h"

#define RECORD_SIZE_MAX ((size_t)1024 * 1024)
#define TEXT_SIZE_MAX   ((size_t)64 * 1024)

/* How one tag of a record is shown. */
struct field_row {
	uint8_t tag;
	bool several; /* a list in JSON, even of one */
	const char *name;
};

static const struct field_row account_rows[] = {
	{ ACCOUNT_DN, false, "dn" },
	{ ACCOUNT_ID, false, "id" },
	{ ACCOUNT_CSN, false, "csn" },
	{ ACCOUNT_UID, true, "uid" },
	{ ACCOUNT_ADDRESS, true, "address" },
	{ ACCOUNT_PRINCIPAL, true, "principal" },
	{ ACCOUNT_POOL, false, "pool" },
	{ ACCOUNT_GROUP, false, "group" },
	{ ACCOUNT_PIN, false, "pin" },
	{ ACCOUNT_MOVED, false, "moved" },
	{ ACCOUNT_STATUS, false, "status" },
	{ ACCOUNT_ROUTING, false, "routing" },
	{ ACCOUNT_FROM, true, "from" },
};

static const struct field_row cell_rows[] = {
	{ CELL_KIND, false, "kind" },
	{ CELL_NAME, false, "name" },
	{ CELL_DN, false, "dn" },
	{ CELL_ID, false, "id" },
	{ CELL_CSN, false, "csn" },
	{ CELL_POOL, true, "pool" },
	{ CELL_SITE, false, "site" },
	{ CELL_SERVICE, true, "service" },
	{ CELL_STATE, false, "state" },
	{ CELL_WEIGHT, false, "weight" },
	{ CELL_TRANSITION, true, "transition" },
	{ CELL_RAMP, false, "ramp" },
	{ CELL_GUARD, false, "guard" },
	{ CELL_FAILBACK, false, "failback" },
	{ CELL_MAX_DOWN, false, "max_down" },
	{ CELL_AFFINITY, false, "affinity" },
	{ CELL_DEFAULT, false, "default" },
	{ CELL_VOTE, true, "vote" },
	{ CELL_ALIVE, false, "alive" },
};

struct field_table {
	const struct field_row *rows;
	size_t count;
	uint8_t id; /* tag of the octets that are shown as a UUID */
};

static const struct field_table account_table = { account_rows,
	ARRAY_SIZE(account_rows), ACCOUNT_ID };
static const struct field_table cell_table = { cell_rows, ARRAY_SIZE(cell_rows),
	CELL_ID };

static const struct field_row *
find_row(const struct field_table *table, uint8_t tag)
{
	for (size_t i = 0; i < table->count; i++) {
		if (table->rows[i].tag == tag)
			return &table->rows[i];
	}
	return NULL;
}

static void
add_uuid(struct buf *out, struct slice id)
{
	for (size_t i = 0; i < id.size; i++)
		(void)buf_printf(out, "%s%02x",
		    i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
		    (unsigned char)id.data[i]);
}

/* A value as JSON text; what is not UTF-8 is shown as it is escaped in logs. */
static json_t *
json_of(struct slice value)
{
	json_t *json =
	    json_stringn(value.size > 0 ? value.data : "", value.size);
	struct buf quoted = buf_bounded(RECORD_SIZE_MAX);

	if (!json && buf_add_quoted(&quoted, value) == 0)
		json = json_stringn(buf_string(&quoted), quoted.size);
	buf_free(&quoted);
	return json;
}

static int
json_add_field(json_t *object, const struct field_row *row, struct slice value)
{
	json_t *list;

	if (!row->several)
		return json_object_set_new(object, row->name, json_of(value));
	list = json_object_get(object, row->name);
	if (!list) {
		list = json_array();
		if (json_object_set_new(object, row->name, list) != 0)
			return -1;
	}
	return json_array_append_new(list, json_of(value));
}

static json_t *
json_record(const struct field_table *table, struct slice record)
{
	json_t *object = json_object();
	struct record_field field;
	int result = object ? 0 : -1;

	while (result == 0 && record_next(&record, &field)) {
		const struct field_row *row = find_row(table, field.tag);
		struct buf uuid = buf_bounded(TEXT_SIZE_MAX);

		if (row && field.tag == table->id) {
			add_uuid(&uuid, field.value);
			field.value = buf_slice(&uuid);
		}
		if (row)
			result = json_add_field(object, row, field.value);
		buf_free(&uuid);
	}
	if (result == 0)
		return object;
	json_decref(object);
	return NULL;
}

/* One line, or (indent > 0) several. Takes the object. */
static int
print_json(json_t *object, size_t indent)
{
	int result = -1;

	if (object)
		result = json_dumpf(
		    object, stdout, JSON_INDENT(indent) | JSON_ENSURE_ASCII);
	json_decref(object);
	if (result == 0)
		result = putchar('\n') == EOF ? -1 : 0;
	return result;
}

static int
print_record(const struct field_table *table, struct slice record)
{
	struct record_field field;

	while (record_next(&record, &field)) {
		const struct field_row *row = find_row(table, field.tag);
		struct buf text = buf_bounded(RECORD_SIZE_MAX);

		if (!row)
			continue;
		if (field.tag == table->id)
			add_uuid(&text, field.value);
		else if (slice_is_printable(field.value))
			(void)buf_add_slice(&text, field.value);
		else
			(void)buf_add_quoted(&text, field.value);
		(void)printf("%s: %s\n", row->name, buf_string(&text));
		buf_free(&text);
	}
	return ferror(stdout) ? -1 : 0;
}

static int
show_record(
    const struct ctl *ctl, bool is_account, struct slice record, size_t indent)
{
	const struct field_table *table =
	    is_account ? &account_table : &cell_table;

	return ctl->json ? print_json(json_record(table, record), indent)
			 : print_record(table, record);
}

static int
open_replica(const struct ctl *ctl, struct replica **replica)
{
	const char *why;

	if (replica_open(replica, ctl->replica, &why) == 0)
		return EX_OK;
	ctl_complain(ctl->replica, why);
	return EX_NOINPUT;
}

static int
exit_code_of(enum replica_result result)
{
	switch (result) {
	case REPLICA_FOUND:
		return EX_OK;
	case REPLICA_UNKNOWN:
		return CTL_NO;
	case REPLICA_AMBIGUOUS:
		return EX_DATAERR;
	case REPLICA_EMPTY:
	case REPLICA_FAILED:
		break;
	}
	return EX_TEMPFAIL;
}

int
ctl_replica_get(const struct ctl *ctl, int count, char **words)
{
	struct buf store = buf_bounded(RECORD_SIZE_MAX);
	struct replica *replica = NULL;
	enum replica_result result;
	struct account account;
	const char *why = "";
	int code = open_replica(ctl, &replica);

	(void)count;
	if (code != EX_OK)
		return code;
	result = replica_find_login(
	    replica, slice_from(words[0]), &store, &account, &why);
	if (result == REPLICA_UNKNOWN)
		result = replica_find(replica, NAME_PRINCIPAL,
		    slice_from(words[0]), &store, &account, &why);
	code = exit_code_of(result);
	if (result != REPLICA_FOUND)
		ctl_complain(words[0], why);
	else if (show_record(ctl, true, account.record, 2) != 0)
		code = EX_IOERR;
	buf_free(&store);
	replica_free(&replica);
	return code;
}

struct dump {
	const struct ctl *ctl;
	bool failed;
};

static bool
dump_record(void *context, bool is_account, struct slice record)
{
	struct dump *dump = context;

	dump->failed = show_record(dump->ctl, is_account, record, 0) != 0;
	if (!dump->failed && !dump->ctl->json)
		(void)putchar('\n');
	return !dump->failed;
}

int
ctl_replica_dump(const struct ctl *ctl, int count, char **words)
{
	struct dump dump = { .ctl = ctl };
	struct replica *replica = NULL;
	const char *why;
	int code = open_replica(ctl, &replica);

	(void)count;
	(void)words;
	if (code != EX_OK)
		return code;
	if (replica_walk(replica, dump_record, &dump, &why) != 0) {
		ctl_complain(ctl->replica, why);
		code = EX_TEMPFAIL;
	} else if (dump.failed) {
		code = EX_IOERR;
	}
	replica_free(&replica);
	return code;
}

static json_t *
json_moment(int64_t moment_us)
{
	struct buf text = buf_bounded(TEXT_SIZE_MAX);
	json_t *json = NULL;

	if (moment_us > 0 && timestamp_format(&text, moment_us) == 0)
		json = json_of(buf_slice(&text));
	buf_free(&text);
	return json ? json : json_null();
}

static int
print_status_json(const struct replica_status *status)
{
	json_t *lag = status->lag_us < 0
			  ? json_null()
			  : json_real((double)status->lag_us / 1e6);

	return print_json(
	    json_pack("{so so so sb so so so sI sI sI sI sI sI sI}", "source",
		json_of(status->source), "state", json_of(status->state), "csn",
		json_of(status->csn), "complete", (int)status->complete,
		"filled", json_moment(status->filled_us), "contact",
		json_moment(status->contact_us), "lag", lag, "accounts",
		(json_int_t)status->accounts, "names",
		(json_int_t)status->names, "pools", (json_int_t)status->pools,
		"hosts", (json_int_t)status->hosts, "cell_generation",
		(json_int_t)status->cell_generation, "size",
		(json_int_t)status->size, "size_max",
		(json_int_t)status->size_max),
	    2);
}

static void
print_text(const char *name, struct slice value)
{
	struct buf text = buf_bounded(TEXT_SIZE_MAX);

	if (slice_is_printable(value))
		(void)buf_add_slice(&text, value);
	else
		(void)buf_add_quoted(&text, value);
	(void)printf("%-10s %s\n", name, buf_string(&text));
	buf_free(&text);
}

static void
print_moment(const char *name, int64_t moment_us)
{
	struct buf text = buf_bounded(TEXT_SIZE_MAX);

	if (moment_us <= 0 || timestamp_format(&text, moment_us) != 0) {
		buf_clear(&text);
		(void)buf_add_string(&text, "never");
	}
	print_text(name, buf_slice(&text));
	buf_free(&text);
}

static int
print_status(const struct replica_status *status)
{
	print_text("state", status->state);
	print_text("source", status->source);
	print_text("csn", status->csn);
	print_text("complete", slice_from(status->complete ? "yes" : "no"));
	print_moment("filled", status->filled_us);
	print_moment("contact", status->contact_us);
	if (status->lag_us < 0)
		print_text("lag", slice_from("unknown"));
	else
		(void)printf(
		    "%-10s %.6f s\n", "lag", (double)status->lag_us / 1e6);
	(void)printf("%-10s %llu accounts, %llu names, %llu pools, %llu "
		     "hosts\n",
	    "holds", (unsigned long long)status->accounts,
	    (unsigned long long)status->names,
	    (unsigned long long)status->pools,
	    (unsigned long long)status->hosts);
	(void)printf("%-10s %llu\n", "generation",
	    (unsigned long long)status->cell_generation);
	(void)printf("%-10s %llu of %llu octets\n", "size",
	    (unsigned long long)status->size,
	    (unsigned long long)status->size_max);
	return ferror(stdout) ? -1 : 0;
}

int
ctl_replica_status(const struct ctl *ctl, int count, char **words)
{
	struct buf store = buf_bounded(TEXT_SIZE_MAX);
	struct replica *replica = NULL;
	struct replica_status status;
	const char *why;
	int code = open_replica(ctl, &replica);

	(void)count;
	(void)words;
	if (code != EX_OK)
		return code;
	if (replica_status(replica, &store, &status, &why) != 0) {
		ctl_complain(ctl->replica, why);
		code = EX_TEMPFAIL;
	} else if ((ctl->json ? print_status_json(&status)
			      : print_status(&status)) != 0) {
		code = EX_IOERR;
	}
	buf_free(&store);
	replica_free(&replica);
	return code;
}
