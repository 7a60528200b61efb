#include "ctl/person.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/name.h"
#include "lib/password.h"

#define CLEARTEXT "{CLEARTEXT}"

/* Columns of tables; `attribute` NULL: of that very name. */
static const struct column_row {
	const char *column, *attribute;
} column_rows[] = {
	{ "uid", NULL },
	{ "name", "cn" },
	{ "cn", NULL },
	{ "givenName", NULL },
	{ "sn", NULL },
	{ "displayName", NULL },
	{ "mail", NULL },
	{ "alias", "mailLocalAddress" },
	{ "mailLocalAddress", NULL },
	{ "mailRoutingAddress", NULL },
	{ "from", "postcellFrom" },
	{ "postcellFrom", NULL },
	{ "pool", "postcellPoolName" },
	{ "postcellPoolName", NULL },
	{ "group", "postcellGroup" },
	{ "postcellGroup", NULL },
	{ "status", "postcellStatus" },
	{ "postcellStatus", NULL },
	{ "password", "userPassword" },
	{ "userPassword", NULL },
};

/* What a directory that was written out has, and another one makes itself. */
static const char *const made_by_directories[] = { "dn", "entryUUID",
	"entryCSN", "entryDN", "creatorsName", "createTimestamp",
	"modifiersName", "modifyTimestamp", "structuralObjectClass",
	"subschemaSubentry", "hasSubordinates", "contextCSN", "memberOf",
	"pwdChangedTime", "pwdHistory", "pwdFailureTime", "authTimestamp",
	"postcellServer", "postcellKeys", "postcellLocked",
	"postcellLastLogin" };

static const char *const classes[] = { "inetOrgPerson", "postcellAccount",
	"postcellLogin" };

static const struct column_row *
find_column(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(column_rows); i++)
		if (slice_is_nocase(name, column_rows[i].column))
			return &column_rows[i];
	return NULL;
}

bool
person_knows(struct slice column)
{
	return find_column(column) != NULL;
}

static bool
is_made(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(made_by_directories); i++)
		if (slice_is_nocase(name, made_by_directories[i]))
			return true;
	return false;
}

/* Alike for the directory: case and spaces do not count. */
static bool
is_alike(struct slice a, struct slice b)
{
	struct buf x = buf_bounded(NAME_SIZE_MAX);
	struct buf y = buf_bounded(NAME_SIZE_MAX);
	const char *why;
	bool alike = name_normalise(&x, NAME_UID, a, &why) == 0 &&
			     name_normalise(&y, NAME_UID, b, &why) == 0
			 ? slice_equal(buf_slice(&x), buf_slice(&y))
			 : slice_equal_nocase(a, b);

	buf_free(&x);
	buf_free(&y);
	return alike;
}

static bool
has(const struct person *person, const char *attribute)
{
	for (size_t i = 0; i < person->count; i++)
		if (strcasecmp(person->values[i].attribute, attribute) == 0)
			return true;
	return false;
}

static bool
has_value(
    const struct person *person, struct slice attribute, struct slice value)
{
	for (size_t i = 0; i < person->count; i++)
		if (slice_is_nocase(attribute, person->values[i].attribute) &&
		    is_alike(value, person->values[i].value))
			return true;
	return false;
}

static int
keep(struct person *person, struct slice attribute, struct slice value,
    bool given, const char **why)
{
	struct person_value *kept = &person->values[person->count];

	if (has_value(person, attribute, value))
		return 0;
	*why = "too many values";
	if (person->count == PERSON_VALUES_MAX)
		return -1;
	*why = "the attribute's name is too long";
	if (attribute.size >= sizeof(kept->attribute))
		return -1;
	(void)snprintf(kept->attribute, sizeof(kept->attribute), "%.*s",
	    SLICE_ARGS(attribute));
	kept->value = value;
	kept->given = given;
	person->count++;
	return 0;
}

/* ---- taking ---- */

/* {SCHEME} and something behind it. */
static bool
is_hash(struct slice value)
{
	size_t end = slice_find(value, '}');

	return value.size > 0 && value.data[0] == '{' && end != SIZE_MAX &&
	       end > 1 && end + 1 < value.size &&
	       slice_find(slice_first(value, end), ' ') == SIZE_MAX &&
	       slice_is_printable(value);
}

static int
take_password(struct person *person, struct slice value, const char **why)
{
	*why = "there are two passwords";
	if (person->password.size > 0 || person->hash.size > 0)
		return -1;
	if (slice_starts_nocase(value, CLEARTEXT)) {
		value = slice_from_offset(value, strlen(CLEARTEXT));
	} else if (is_hash(value)) {
		person->hash = value;
		*why = "{K5KEY} is made by the directory alone";
		return slice_starts_nocase(value, "{K5KEY}") ? -1 : 0;
	}
	person->password = value;
	*why = password_fault(value, PASSWORD_SIZE_MAX);
	return *why ? -1 : 0;
}

/* "Given Names Sur". */
static int
take_name(struct person *person, struct slice value, const char **why)
{
	struct slice name = slice_trim(value);
	size_t space = slice_find_last(name, ' ');
	struct slice given =
	    slice_trim(slice_first(name, space == SIZE_MAX ? 0 : space));
	struct slice sur =
	    space == SIZE_MAX ? name : slice_from_offset(name, space + 1);

	*why = "a name is spaces alone";
	if (name.size == 0 ||
	    keep(person, slice_from("cn"), name, true, why) < 0 ||
	    keep(person, slice_from("sn"), sur, true, why) < 0)
		return -1;
	return given.size == 0
		   ? 0
		   : keep(person, slice_from("givenName"), given, true, why);
}

static int
check_status(struct slice value, const char **why)
{
	struct slice word = slice_first(value, slice_find(value, ' '));

	*why = "the status is active, nologin REASON or disabled";
	return slice_is_nocase(word, "active") ||
		       slice_is_nocase(word, "nologin") ||
		       slice_is_nocase(word, "disabled")
		   ? 0
		   : -1;
}

int
person_take(struct person *person, struct slice name, struct slice value,
    const char **why)
{
	const struct column_row *row = find_column(name);
	struct slice attribute =
	    row && row->attribute ? slice_from(row->attribute) : name;

	if (value.size == 0 || is_made(name))
		return 0;
	if (slice_is_nocase(name, "name"))
		return take_name(person, value, why);
	if (slice_is_nocase(attribute, "userPassword"))
		return take_password(person, value, why);
	if (slice_is_nocase(attribute, "postcellStatus") &&
	    check_status(value, why) < 0)
		return -1;
	if (slice_is_nocase(attribute, "uid") && person->uid.size == 0)
		person->uid = value;
	return keep(person, attribute, value,
	    !slice_is_nocase(attribute, "objectClass"), why);
}

int
person_finish(struct person *person, const char **why)
{
	struct buf normal = buf_bounded(NAME_SIZE_MAX);
	int result = -1;

	*why = "no uid";
	if (person->uid.size > 0)
		result = name_normalise(&normal, NAME_UID, person->uid, why);
	buf_free(&normal);
	if (result == 0 && !has(person, "cn"))
		result =
		    keep(person, slice_from("cn"), person->uid, false, why);
	if (result == 0 && !has(person, "sn"))
		result =
		    keep(person, slice_from("sn"), person->uid, false, why);
	return result;
}

/* ---- giving ---- */

static void
add_part(struct directory_part *parts, size_t *count, const char *attribute,
    struct slice value)
{
	parts[(*count)++] =
	    (struct directory_part){ DIRECTORY_ADD, attribute, value };
}

/* Values of one attribute have to follow each other. */
static void
add_values(const struct person *person, const char *attribute,
    struct directory_part *parts, size_t *count)
{
	for (size_t i = 0; i < person->count; i++)
		if (strcasecmp(person->values[i].attribute, attribute) == 0)
			add_part(
			    parts, count, attribute, person->values[i].value);
}

static bool
came_before(const struct person *person, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (strcasecmp(person->values[i].attribute,
			person->values[at].attribute) == 0)
			return true;
	return false;
}

size_t
person_parts(
    const struct person *person, bool login, struct directory_part *parts)
{
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(classes) - !login; i++)
		if (!has_value(person, slice_from("objectClass"),
			slice_from(classes[i])))
			add_part(parts, &count, "objectClass",
			    slice_from(classes[i]));
	add_values(person, "objectClass", parts, &count);
	for (size_t i = 0; i < person->count; i++)
		if (strcasecmp(person->values[i].attribute, "objectClass") !=
			0 &&
		    !came_before(person, i))
			add_values(
			    person, person->values[i].attribute, parts, &count);
	if (person->hash.size > 0)
		add_part(parts, &count, "userPassword", person->hash);
	return count;
}

/* ---- comparing ---- */

static bool
entry_has(const struct entry_value *values, size_t count,
    const struct person_value *wanted)
{
	for (size_t i = 0; i < count; i++)
		if (slice_is_nocase(values[i].attribute, wanted->attribute) &&
		    is_alike(values[i].value, wanted->value))
			return true;
	return false;
}

static bool
was_given(const struct person *person, struct slice attribute)
{
	for (size_t i = 0; i < person->count; i++)
		if (person->values[i].given &&
		    slice_is_nocase(attribute, person->values[i].attribute))
			return true;
	return false;
}

void
person_compare(const struct person *person, const struct entry_value *values,
    size_t count, struct buf *out)
{
	for (size_t i = 0; i < person->count; i++) {
		const struct person_value *wanted = &person->values[i];

		if (!wanted->given || entry_has(values, count, wanted))
			continue;
		(void)buf_printf(out, "%s ", wanted->attribute);
		(void)buf_add_quoted(out, wanted->value);
		(void)buf_add_string(out, " is not in the directory\n");
	}
	for (size_t i = 0; i < count; i++) {
		struct slice attribute = values[i].attribute;

		if (!was_given(person, attribute) ||
		    has_value(person, attribute, values[i].value))
			continue;
		(void)buf_printf(out, "%.*s ", SLICE_ARGS(attribute));
		(void)buf_add_quoted(out, values[i].value);
		(void)buf_add_string(out, " is in the directory alone\n");
	}
}
