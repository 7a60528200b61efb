#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/tls_names.h"

/* Certificate by certificate. */
static const struct {
	unsigned certificate;
	const char *name;
	int result;
} names[] = {
	{ 0, "mail.example.org", 0 },
	{ 0, "IMAP.Example.Org", 0 },
	{ 1, "*.example.org", 0 },
	{ 2, "*.wild.example.org", 0 },
	{ 2, "wild.example.org", 0 },
	{ 3, "x--y.example.com", 0 },
	{ 4, "", -1 },
	{ 4, "*", -1 },
	{ 4, "*.", -1 },
	{ 4, "a*.example.org", -1 },
	{ 4, "a.*.example.org", -1 },
	{ 4, "**.example.org", -1 },
	{ 4, "two words", -1 },
	{ 4, "-a.example.org", -1 },
	{ 4, ".example.org", -1 },
};

static const struct {
	const char *name;
	int certificate; /* -1: none */
} questions[] = {
	{ "mail.example.org", 0 },
	{ "mail.example.org.", 0 },
	{ "MAIL.EXAMPLE.ORG", 0 },
	{ "imap.example.org", 0 },
	{ "other.example.org", 1 },
	{ "wild.example.org", 2 },
	{ "a.wild.example.org", 2 },
	{ "a.b.wild.example.org", -1 },
	{ "a.mail.example.org", -1 },
	{ "example.org", -1 },
	{ "*.example.org", 1 },
	{ ".example.org", -1 },
	{ "x--y.example.com", 3 },
	{ "example.com", -1 },
	{ "com", -1 },
	{ "", -1 },
	{ ".", -1 },
	{ "..", -1 },
};

static void
fill(struct tls_names *all)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(tls_names_add(all, slice_from(names[i].name),
				     names[i].certificate),
		    names[i].result);
}

static void
test_names(void **state)
{
	struct tls_names all = { 0 };

	(void)state;
	fill(&all);
	assert_null(tls_names_seal(&all));
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		unsigned certificate = 0;
		bool found =
		    tls_names_find(&all, questions[i].name, &certificate);

		print_message("%s\n", questions[i].name);
		assert_int_equal(
		    found ? (int)certificate : -1, questions[i].certificate);
	}
	tls_names_free(&all);
}

static void
test_nobody(void **state)
{
	struct tls_names all = { 0 };
	unsigned certificate;

	(void)state;
	assert_null(tls_names_seal(&all));
	assert_false(tls_names_find(&all, "mail.example.org", &certificate));
	tls_names_free(&all);
}

/* A name twice in one certificate is no fault, in two it is. */
static void
test_claimed_twice(void **state)
{
	struct tls_names all = { 0 };
	const struct tls_name *twice;

	(void)state;
	fill(&all);
	assert_int_equal(
	    tls_names_add(&all, slice_from("MAIL.example.org"), 0), 0);
	assert_null(tls_names_seal(&all));
	assert_int_equal(
	    tls_names_add(&all, slice_from("*.Example.org"), 3), 0);
	twice = tls_names_seal(&all);
	assert_non_null(twice);
	assert_string_equal(twice->text, "*.example.org");
	assert_int_equal(twice[0].certificate + twice[1].certificate, 1 + 3);
	tls_names_free(&all);
}

static void
test_long(void **state)
{
	char name[TLS_NAMES_SIZE_MAX + 2];
	struct tls_names all = { 0 };
	unsigned certificate;

	(void)state;
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 2 ? '.' : 'a';
	assert_int_equal(
	    tls_names_add(&all, slice_of(name, sizeof(name)), 0), -1);
	assert_int_equal(tls_names_add(&all, slice_of(name, 253), 0), 0);
	assert_null(tls_names_seal(&all));
	name[sizeof(name) - 1] = '\0';
	assert_false(tls_names_find(&all, name, &certificate));
	name[253] = '\0';
	assert_true(tls_names_find(&all, name, &certificate));
	tls_names_free(&all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_claimed_twice),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
