/* Files that an operator imports: tables of accounts, a Director's
 * configuration. */
#include <string.h>

#include "ctl/csv.h"
#include "ctl/import.h"
#include "ctl/person.h"
#include "replica/ldif.h"
#include "tests/fuzz/fuzz.h"

#define COLUMN_MAX 256

const char fuzz_name[] = "table";

/* Fields as the columns of the first row name them. */
static void
take_person(const struct slice *columns, size_t column_count,
    const struct slice *fields, size_t count)
{
	static struct person person;
	static struct directory_part parts[PERSON_PARTS_MAX];
	const char *why = NULL;
	size_t part_count;

	memset(&person, 0, sizeof(person));
	for (size_t i = 0; i < count && i < column_count; i++)
		if (person_take(&person, columns[i], fields[i], &why) < 0) {
			fuzz_require(why, "a reason");
			return;
		}
	if (person_finish(&person, &why) < 0) {
		fuzz_require(why, "a reason");
		return;
	}
	fuzz_require(person.uid.size > 0, "a person has a name");
	part_count = person_parts(&person, true, parts);
	fuzz_require(part_count <= PERSON_PARTS_MAX, "parts are bounded");
}

static void
read_table(struct slice text)
{
	char names[CSV_FIELDS_MAX][COLUMN_MAX];
	struct slice columns[CSV_FIELDS_MAX];
	enum csv_result result;
	size_t column_count = 0;
	const char *why = NULL;
	struct csv csv;

	csv_init(&csv, text);
	while ((result = csv_next(&csv, &why)) != CSV_END) {
		fuzz_require(result == CSV_ROW || why, "a reason");
		fuzz_require(csv.count <= CSV_FIELDS_MAX, "a bounded row");
		if (result != CSV_ROW)
			continue;
		if (column_count > 0) {
			take_person(
			    columns, column_count, csv.fields, csv.count);
			continue;
		}
		for (; column_count < csv.count; column_count++) {
			struct slice name =
			    slice_first(csv.fields[column_count], COLUMN_MAX);

			if (name.size > 0)
				memcpy(
				    names[column_count], name.data, name.size);
			columns[column_count] =
			    slice_of(names[column_count], name.size);
		}
	}
	csv_free(&csv);
}

/* What is made of a Director can be read by those who shall. */
static void
check_ldif(struct slice text)
{
	enum ldif_result result;
	struct entry entry;
	const char *why = NULL;
	struct ldif ldif;

	ldif_init(&ldif, text);
	while ((result = ldif_next(&ldif, &entry, &why)) == LDIF_ENTRY)
		fuzz_require(entry.dn.size > 0, "an entry has a name");
	fuzz_require(result == LDIF_END, "entries as files have them");
	ldif_free(&ldif);
}

static void
import_director(struct slice text)
{
	struct buf errors = buf_bounded(1 << 20), out = buf_bounded(1 << 22);
	struct import import;

	if (import_read(&import, text, &errors) < 0) {
		fuzz_require(errors.size > 0, "a reason");
	} else {
		import_ldif(&import, slice_from("dc=x"), &out);
		check_ldif(buf_slice(&out));
		buf_clear(&out);
		import_proxyd(&import, &out);
	}
	import_free(&import);
	buf_free(&errors);
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size);

	read_table(text);
	import_director(text);
	return 0;
}
