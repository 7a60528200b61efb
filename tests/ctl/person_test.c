#include "ctl/person.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_SIZE 65536
#define GIVEN_MAX 8
#define CLASSES   "objectClass=inetOrgPerson objectClass=postcellAccount "

/* What is given, in order, and the entry that it becomes, or "!why". */
static const struct person_row {
	const char *given[GIVEN_MAX * 2];
	const char *entry;
} person_rows[] = {
	{ { "uid", "anna" }, CLASSES "uid=anna cn=anna sn=anna " },
	{ { "uid", "anna", "mail", "" }, CLASSES "uid=anna cn=anna sn=anna " },
	{ { "uid", "anna", "name", "Anna Maria Meier" }, CLASSES
	    "uid=anna cn=Anna Maria Meier sn=Meier givenName=Anna Maria " },
	{ { "uid", "anna", "name", " Anna " },
	    CLASSES "uid=anna cn=Anna sn=Anna " },
	{ { "uid", "a", "pool", "mail", "group", "g", "alias", "x@y" },
	    CLASSES "uid=a postcellPoolName=mail postcellGroup=g "
		    "mailLocalAddress=x@y cn=a sn=a " },
	{ { "uid", "a", "mail", "b@c", "sn", "S", "MAIL", "d@e" },
	    CLASSES "uid=a mail=b@c mail=d@e sn=S cn=a " },
	{ { "uid", "a", "mail", "b@c", "mail", "B@C" },
	    CLASSES "uid=a mail=b@c cn=a sn=a " },
	{ { "objectClass", "top", "objectClass", "INETORGPERSON", "uid", "a" },
	    "objectClass=postcellAccount objectClass=top "
	    "objectClass=INETORGPERSON uid=a cn=a sn=a " },
	{ { "entryUUID", "x", "postcellKeys", "y", "uid", "a" },
	    CLASSES "uid=a cn=a sn=a " },
	{ { "uid", "a", "password", "good one" },
	    CLASSES "uid=a cn=a sn=a password:good one" },
	{ { "uid", "a", "userPassword", "{SSHA}abc=" },
	    CLASSES "uid=a cn=a sn=a userPassword={SSHA}abc= " },
	{ { "uid", "a", "password", "{CLEARTEXT}{SSHA}abc=" },
	    CLASSES "uid=a cn=a sn=a password:{SSHA}abc=" },
	{ { "uid", "a", "password", "{" },
	    CLASSES "uid=a cn=a sn=a password:{" },
	{ { "uid", "a", "password", "{}x" },
	    CLASSES "uid=a cn=a sn=a password:{}x" },
	{ { "uid", "a", "password", "{SSHA}" },
	    CLASSES "uid=a cn=a sn=a password:{SSHA}" },
	{ { "uid", "a", "status", "nologin moved" },
	    CLASSES "uid=a postcellStatus=nologin moved cn=a sn=a " },
	{ { "mail", "a@b" }, "!no uid" },
	{ { "uid", "  " }, "!" },
	{ { "uid", "a\xFF" }, "!" },
	{ { "uid", "a", "name", "  " }, "!a name is spaces alone" },
	{ { "uid", "a", "password", "{K5KEY}abc" },
	    "!{K5KEY} is made by the directory alone" },
	{ { "uid", "a", "password", "{CLEARTEXT}" }, "!password is empty" },
	{ { "uid", "a", "password", "\xFF" }, "!password is not UTF-8" },
	{ { "uid", "a", "password", "x", "password", "y" },
	    "!there are two passwords" },
	{ { "uid", "a", "status", "asleep" },
	    "!the status is active, nologin REASON or disabled" },
};

static int
take_all(struct person *person, const char *const *given, const char **why)
{
	*person = (struct person){ .count = 0 };
	for (size_t i = 0; i < GIVEN_MAX && given[i * 2]; i++)
		if (person_take(person, slice_from(given[i * 2]),
			slice_from(given[i * 2 + 1]), why) < 0)
			return -1;
	return person_finish(person, why);
}

static void
test_persons(void **state)
{
	struct directory_part parts[PERSON_PARTS_MAX];
	const char *why = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(person_rows); i++) {
		const struct person_row *row = &person_rows[i];
		struct buf got = buf_bounded(TEXT_SIZE);
		struct person person;
		size_t count = 0;

		if (take_all(&person, row->given, &why) < 0)
			(void)buf_printf(&got, "!%s", why);
		else
			count = person_parts(&person, false, parts);
		for (size_t j = 0; j < count; j++)
			(void)buf_printf(&got, "%s=%.*s ", parts[j].attribute,
			    SLICE_ARGS(parts[j].value));
		if (count > 0 && person.password.size > 0)
			(void)buf_printf(
			    &got, "password:%.*s", SLICE_ARGS(person.password));
		if (strcmp(row->entry, "!") == 0)
			assert_int_equal(got.data[0], '!');
		else
			assert_string_equal(buf_string(&got), row->entry);
		buf_free(&got);
	}
}

static void
test_login_class(void **state)
{
	const char *const given[GIVEN_MAX * 2] = { "uid", "a" };
	struct directory_part parts[PERSON_PARTS_MAX];
	struct person person;
	const char *why;

	(void)state;
	assert_int_equal(take_all(&person, given, &why), 0);
	assert_int_equal(person_parts(&person, true, parts), 6);
	assert_true(slice_is(parts[2].value, "postcellLogin"));
}

/* Too many values are a fault, not an overrun. */
static void
test_bounds(void **state)
{
	char texts[PERSON_VALUES_MAX + 1][16];
	char name[PERSON_ATTRIBUTE_MAX + 2];
	struct person person = { .count = 0 };
	const char *why = NULL;
	int result = 0;

	(void)state;
	for (size_t i = 0; i <= PERSON_VALUES_MAX; i++) {
		(void)snprintf(texts[i], sizeof(texts[i]), "a%zu@b", i);
		result = person_take(
		    &person, slice_from("mail"), slice_from(texts[i]), &why);
		assert_int_equal(result, i < PERSON_VALUES_MAX ? 0 : -1);
	}
	assert_string_equal(why, "too many values");

	person = (struct person){ .count = 0 };
	memset(name, 'x', sizeof(name));
	assert_int_equal(person_take(&person, slice_of(name, sizeof(name)),
			     slice_from("v"), &why),
	    -1);
	assert_string_equal(why, "the attribute's name is too long");
}

/* Case, spaces and what was made up do not differ. */
static void
test_compare(void **state)
{
	const char *const given[GIVEN_MAX * 2] = { "uid", "anna", "mail",
		"Anna@x", "mail", "new@x", "pool", "mail" };
	const struct entry_value values[] = {
		{ slice_from("uid"), slice_from("ANNA") },
		{ slice_from("cn"), slice_from("Other") },
		{ slice_from("MAIL"), slice_from("anna@X") },
		{ slice_from("mail"), slice_from("old@x") },
		{ slice_from("postcellPoolName"), slice_from(" mail") },
		{ slice_from("postcellGroup"), slice_from("g") },
	};
	struct buf got = buf_bounded(TEXT_SIZE);
	struct person person;
	const char *why;

	(void)state;
	assert_int_equal(take_all(&person, given, &why), 0);
	person_compare(&person, values, ARRAY_SIZE(values), &got);
	assert_string_equal(buf_string(&got),
	    "mail \"new@x\" is not in the directory\n"
	    "mail \"old@x\" is in the directory alone\n");
	buf_free(&got);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_persons),
		cmocka_unit_test(test_login_class),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_compare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
