/*
 * Accounts of a file are added where they are missing. What is there is never
 * changed, so an import may be interrupted anywhere and run again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#include "ctl/account.h"
#include "ctl/csv.h"
#include "ctl/output.h"
#include "ctl/person.h"
#include "lib/name.h"
#include "replica/ldif.h"

#define FILE_MAX ((size_t)256 * 1024 * 1024)
#define CHUNK    65536
#define TEXT_MAX 4096
#define WHY_MAX  65536

enum outcome {
	OUTCOME_ADDED,
	OUTCOME_COMPLETED, /* was there without its password */
	OUTCOME_UNCHANGED,
	OUTCOME_DIFFERING,
	OUTCOME_FAULTY,
	OUTCOME_PASSED, /* no account: no uid */
	OUTCOME_COUNT
};

static const char *const outcome_names[] = { "added", "completed", "unchanged",
	"differing", "faulty", "passed_over" };
_Static_assert(ARRAY_SIZE(outcome_names) == OUTCOME_COUNT, "a name for each");

struct import_run {
	const struct ctl *ctl;
	const char *path;
	struct buf text; /* the file; wiped, it holds passwords */
	struct directory *directory;
	struct cell *cell;
	bool login, terminal;
	size_t left; /* octets of the file not read yet */
	size_t counts[OUTCOME_COUNT];
	bool lost; /* the directory went away: no use in going on */
};

/* ---- what is said ---- */

static void
clear_progress(const struct import_run *run)
{
	if (run->terminal)
		(void)fputs("\r\033[K", stderr);
}

static void
show_progress(const struct import_run *run)
{
	size_t size = run->text.size;

	if (run->terminal && size > 0)
		(void)fprintf(stderr,
		    "\r%s: %zu %%, %zu added, %zu there, %zu faulty \033[K",
		    run->path, (size - run->left) * 100 / size,
		    run->counts[OUTCOME_ADDED],
		    run->counts[OUTCOME_UNCHANGED] +
			run->counts[OUTCOME_DIFFERING] +
			run->counts[OUTCOME_COMPLETED],
		    run->counts[OUTCOME_FAULTY]);
}

/* FILE:LINE: WHO: WHY, a line for each line of why. */
static void
say(const struct import_run *run, size_t line, struct slice who,
    struct slice why)
{
	struct slice text;

	clear_progress(run);
	while (slice_next_word(&why, '\n', &text)) {
		struct buf quoted = buf_bounded(TEXT_MAX);

		if (who.size > 0)
			(void)buf_add_quoted(&quoted, who);
		(void)fprintf(stderr, "%s:%zu: %s%s%.*s\n", run->path, line,
		    buf_string(&quoted), who.size > 0 ? ": " : "",
		    SLICE_ARGS(text));
		buf_free(&quoted);
	}
}

static enum outcome
fault(const struct import_run *run, size_t line, struct slice who,
    const char *why)
{
	say(run, line, who, slice_from(why));
	return OUTCOME_FAULTY;
}

/* ---- one account ---- */

static enum outcome
fail(struct import_run *run, size_t line, const struct person *person,
    enum directory_result result, const char *why)
{
	run->lost = run->lost || result == DIRECTORY_LOST;
	return fault(run, line, person->uid, why);
}

/* A pool that is not there would leave the account without a server. */
static const char *
check_pool(const struct import_run *run, const struct person *person)
{
	for (size_t i = 0; i < person->count; i++)
		if (strcasecmp(
			person->values[i].attribute, "postcellPoolName") == 0 &&
		    !cell_pool(run->cell, person->values[i].value))
			return "there is no pool of that name";
	return NULL;
}

static enum outcome
add_missing(struct import_run *run, size_t line, const struct person *person)
{
	struct buf why = buf_bounded(WHY_MAX);
	const char *pool_why = check_pool(run, person);
	enum outcome outcome = OUTCOME_ADDED;
	enum directory_result result;

	if (pool_why)
		return fault(run, line, person->uid, pool_why);
	if (run->ctl->options.dry_run)
		return OUTCOME_ADDED;
	result = ctl_account_make(run->directory, person, run->login, &why);
	if (result != DIRECTORY_DONE)
		outcome = fail(run, line, person, result, buf_string(&why));
	buf_free(&why);
	return outcome;
}

static bool
shows_password(const struct directory_entry *entry)
{
	static const char *const kept_as[] = { "userPassword", "postcellKeys",
		"krb5Key" };
	struct slice value;

	for (size_t i = 0; i < ARRAY_SIZE(kept_as); i++)
		if (directory_value(entry, kept_as[i], 0, &value))
			return true;
	return false;
}

/*
 * An account without a password is one whose import was interrupted, unless it
 * is only that passwords may not be seen.
 */
static bool
sees_passwords(struct import_run *run)
{
	struct directory_entry *entry = NULL;
	size_t count;
	bool sees =
	    directory_find(run->directory, directory_people(run->directory),
		false, "(|(userPassword=*)(postcellKeys=*))", &count,
		&entry) == DIRECTORY_DONE &&
	    entry && shows_password(entry);

	directory_entry_free(&entry);
	return sees;
}

static enum outcome
complete(struct import_run *run, size_t line, const struct person *person,
    const struct directory_entry *entry)
{
	struct directory_part part = { DIRECTORY_ADD, "userPassword",
		person->hash };
	struct slice dn = slice_from(entry->dn);
	enum directory_result result;

	if (!sees_passwords(run))
		return fault(run, line, person->uid,
		    "is there, and no password of it is to be seen");
	if (run->ctl->options.dry_run)
		return OUTCOME_COMPLETED;
	result =
	    person->hash.size > 0
		? directory_modify(run->directory, dn, slice_from(""), &part, 1)
		: directory_password(run->directory, dn, person->password);
	return result == DIRECTORY_DONE ? OUTCOME_COMPLETED
					: fail(run, line, person, result,
					      directory_why(run->directory));
}

static enum outcome
compare(struct import_run *run, size_t line, const struct person *person,
    const struct directory_entry *entry)
{
	struct buf differences = buf_bounded(WHY_MAX);
	bool wants = person->password.size > 0 || person->hash.size > 0;
	enum outcome outcome = OUTCOME_UNCHANGED;

	person_compare(person, entry->values, entry->count, &differences);
	if (differences.size > 0) {
		outcome = OUTCOME_DIFFERING;
		say(run, line, person->uid, buf_slice(&differences));
	}
	buf_free(&differences);
	if (wants && !shows_password(entry))
		outcome = complete(run, line, person, entry);
	return outcome;
}

/* By uid alone: another account with its address is the directory's to say. */
static enum outcome
import_person(struct import_run *run, size_t line, const struct person *person)
{
	struct buf filter = buf_bounded(TEXT_MAX);
	struct directory_entry *entry = NULL;
	enum outcome outcome;
	enum directory_result result;
	size_t count;

	(void)buf_add_string(&filter, "(uid=");
	(void)name_escape_filter(&filter, person->uid);
	(void)buf_add_char(&filter, ')');
	result =
	    directory_find(run->directory, directory_people(run->directory),
		false, buf_string(&filter), &count, &entry);
	if (result != DIRECTORY_DONE)
		outcome = fail(
		    run, line, person, result, directory_why(run->directory));
	else if (count > 1)
		outcome =
		    fault(run, line, person->uid, "several accounts have it");
	else
		outcome = entry ? compare(run, line, person, entry)
				: add_missing(run, line, person);
	directory_entry_free(&entry);
	buf_free(&filter);
	return outcome;
}

static void
count_outcome(struct import_run *run, enum outcome outcome, size_t left)
{
	run->counts[outcome]++;
	run->left = left;
	show_progress(run);
}

/* ---- a table ---- */

static int
check_header(const struct import_run *run, const struct csv *header)
{
	bool has_uid = false;
	int code = EX_OK;

	for (size_t i = 0; i < header->count; i++) {
		has_uid = has_uid || slice_is_nocase(header->fields[i], "uid");
		if (!person_knows(header->fields[i])) {
			(void)fault(run, header->line, header->fields[i],
			    "there is no such column");
			code = EX_DATAERR;
		}
	}
	if (has_uid)
		return code;
	(void)fault(run, header->line, slice_from(""),
	    "the first line must name the columns, uid among them");
	return EX_DATAERR;
}

static enum outcome
import_row(
    struct import_run *run, const struct csv *header, const struct csv *row)
{
	struct person person = { .count = 0 };
	const char *why = "another number of fields than the first line has";
	bool good = row->count == header->count;

	for (size_t i = 0; good && i < row->count; i++)
		good = person_take(&person, header->fields[i], row->fields[i],
			   &why) == 0;
	if (!good || person_finish(&person, &why) < 0)
		return fault(run, row->line, person.uid, why);
	return import_person(run, row->line, &person);
}

static int
import_table(struct import_run *run)
{
	struct csv header, row;
	const char *why = "is empty";
	enum csv_result result;
	int code = EX_DATAERR;

	csv_init(&header, buf_slice(&run->text));
	if (csv_next(&header, &why) != CSV_ROW)
		(void)fault(run, header.line, slice_from(""), why);
	else
		code = check_header(run, &header);
	csv_init(&row, header.rest);
	row.next = header.next;
	while (code == EX_OK && !run->lost &&
	       (result = csv_next(&row, &why)) != CSV_END)
		count_outcome(run,
		    result == CSV_BAD
			? fault(run, row.line, slice_from(""), why)
			: import_row(run, &header, &row),
		    row.rest.size);
	csv_free(&row);
	csv_free(&header);
	return code;
}

/* ---- entries ---- */

static enum outcome
import_entry(struct import_run *run, size_t line, const struct entry *entry)
{
	struct person person = { .count = 0 };
	const char *why = "";
	bool good = true;

	for (size_t i = 0; good && i < entry->value_count; i++)
		good = person_take(&person, entry->values[i].attribute,
			   entry->values[i].value, &why) == 0;
	if (good && person.uid.size == 0)
		return OUTCOME_PASSED;
	if (!good || person_finish(&person, &why) < 0)
		return fault(run, line, person.uid, why);
	return import_person(run, line, &person);
}

/* Whether the line is none of an entry: empty, a comment, or the version. */
static bool
is_between(struct slice line)
{
	return line.size == 0 || line.data[0] == '#' || slice_is(line, "\r") ||
	       slice_starts_nocase(line, "version:");
}

/* Where the next entry begins; a reader says where it ended. */
static size_t
next_line(const struct ldif *ldif)
{
	struct slice rest = ldif->rest;
	size_t line = ldif->line + 1;

	while (rest.size > 0) {
		size_t end = slice_find(rest, '\n');

		if (end == SIZE_MAX || !is_between(slice_first(rest, end)))
			break;
		rest = slice_from_offset(rest, end + 1);
		line++;
	}
	return line;
}

static int
import_entries(struct import_run *run)
{
	struct ldif ldif;
	struct entry entry;
	const char *why;
	enum ldif_result result = LDIF_ENTRY;

	ldif_init(&ldif, buf_slice(&run->text));
	while (!run->lost && result == LDIF_ENTRY) {
		size_t line = next_line(&ldif);

		result = ldif_next(&ldif, &entry, &why);
		if (result == LDIF_ENTRY)
			count_outcome(run, import_entry(run, line, &entry),
			    ldif.rest.size);
	}
	if (!run->lost && result == LDIF_BAD)
		run->counts[fault(run, ldif.line, slice_from(""), why)]++;
	buf_wipe(&ldif.text);
	ldif_free(&ldif);
	return EX_OK;
}

/* ---- the whole ---- */

static int
read_file(struct import_run *run)
{
	bool standard = strcmp(run->path, "-") == 0;
	int fd =
	    standard ? STDIN_FILENO : open(run->path, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : 1;

	while (size > 0) {
		char *room = buf_reserve(&run->text, CHUNK);

		errno = EFBIG;
		size = room ? read(fd, room, CHUNK) : -1;
		if (size > 0)
			buf_grow(&run->text, (size_t)size);
	}
	if (size < 0)
		ctl_complain(run->path, strerrordesc_np(errno));
	if (fd >= 0 && !standard)
		(void)close(fd);
	return size < 0 ? EX_NOINPUT : EX_OK;
}

static bool
ends_with(const char *path, const char *ending)
{
	size_t size = strlen(path), tail = strlen(ending);

	return size >= tail && strcasecmp(path + size - tail, ending) == 0;
}

/* EX_OK, or EX_USAGE after a complaint. */
static int
find_format(const struct import_run *run, bool *table)
{
	const char *format = run->ctl->options.format;

	if (!format)
		format = ends_with(run->path, ".csv")    ? "csv"
			 : ends_with(run->path, ".ldif") ? "ldif"
							 : "";
	*table = strcmp(format, "csv") == 0;
	if (*table || strcmp(format, "ldif") == 0)
		return EX_OK;
	ctl_complain(run->path,
	    "neither .csv nor .ldif: say --format csv or --format ldif");
	return EX_USAGE;
}

static int
open_run(struct import_run *run)
{
	int code = read_file(run);

	if (code == EX_OK)
		code = directory_open(&run->directory, run->ctl);
	if (code == EX_OK)
		code = directory_exit(
		    run->directory, directory_cell(run->directory, &run->cell));
	if (code == EX_OK)
		code = directory_exit(run->directory,
		    ctl_account_schema(run->directory, &run->login));
	return code;
}

static int
sum_up(const struct import_run *run)
{
	json_t *answer = json_pack("{s:s, s:b}", "file", run->path, "dry_run",
	    (int)run->ctl->options.dry_run);
	int code = EX_OK;

	clear_progress(run);
	for (size_t i = 0; i < OUTCOME_COUNT; i++)
		json_object_set_new(answer, outcome_names[i],
		    json_integer((json_int_t)run->counts[i]));
	if (run->ctl->json)
		code = output_json(json_incref(answer));
	else
		printf("%s: %s%lld added, %lld completed, %lld unchanged, "
		       "%lld differing, %lld faulty, %lld passed over\n",
		    run->path, run->ctl->options.dry_run ? "would be: " : "",
		    output_number(answer, "added"),
		    output_number(answer, "completed"),
		    output_number(answer, "unchanged"),
		    output_number(answer, "differing"),
		    output_number(answer, "faulty"),
		    output_number(answer, "passed_over"));
	json_decref(answer);
	if (run->lost)
		return EX_UNAVAILABLE;
	if (run->counts[OUTCOME_FAULTY] > 0)
		return EX_DATAERR;
	return code == EX_OK && run->counts[OUTCOME_DIFFERING] > 0 ? CTL_NO
								   : code;
}

int
ctl_account_import(const struct ctl *ctl, int count, char **words)
{
	struct import_run run = { .ctl = ctl,
		.path = words[0],
		.text = buf_bounded(FILE_MAX),
		.terminal = isatty(STDERR_FILENO) == 1 };
	bool table;
	int code = find_format(&run, &table);

	(void)count;
	if (code == EX_OK)
		code = open_run(&run);
	if (code == EX_OK)
		code = table ? import_table(&run) : import_entries(&run);
	if (code == EX_OK)
		code = sum_up(&run);
	buf_wipe(&run.text);
	cell_free(&run.cell);
	directory_free(&run.directory);
	return code;
}
