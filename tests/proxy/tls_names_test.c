#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/tls_names.h"

/* Certificate by certificate; all have keys of one kind. */
static const struct {
	int certificate;
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
				     TLS_KEY_RSA, names[i].certificate),
		    names[i].result);
}

static void
seal(struct tls_names *all)
{
	struct tls_names_clash clash;

	assert_true(tls_names_seal(all, &clash));
}

/* The certificate with that kind of key, or TLS_NO_CERTIFICATE. */
static int
find(const struct tls_names *all, const char *name, enum tls_key key)
{
	const struct tls_name *found = tls_names_find(all, name);

	return found ? found->certificates[key] : TLS_NO_CERTIFICATE;
}

static void
test_names(void **state)
{
	struct tls_names all = { 0 };

	(void)state;
	fill(&all);
	seal(&all);
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		print_message("%s\n", questions[i].name);
		assert_int_equal(find(&all, questions[i].name, TLS_KEY_RSA),
		    questions[i].certificate);
		assert_int_equal(find(&all, questions[i].name, TLS_KEY_ECDSA),
		    TLS_NO_CERTIFICATE);
	}
	tls_names_free(&all);
}

static void
test_nobody(void **state)
{
	struct tls_names all = { 0 };

	(void)state;
	seal(&all);
	assert_null(tls_names_find(&all, "mail.example.org"));
	tls_names_free(&all);
}

/* A name twice in one certificate is no fault, in two of a kind it is. */
static void
test_claimed_twice(void **state)
{
	struct tls_names all = { 0 };
	struct tls_names_clash clash;

	(void)state;
	fill(&all);
	assert_int_equal(
	    tls_names_add(&all, slice_from("MAIL.example.org"), TLS_KEY_RSA, 0),
	    0);
	seal(&all);
	assert_int_equal(
	    tls_names_add(&all, slice_from("*.Example.org"), TLS_KEY_RSA, 3),
	    0);
	assert_false(tls_names_seal(&all, &clash));
	assert_string_equal(clash.name, "*.example.org");
	assert_int_equal(clash.certificates[0] + clash.certificates[1], 1 + 3);
	tls_names_free(&all);
}

/* One of each kind for one name; a name of one alone is nobody else's. */
static void
test_kinds_of_keys(void **state)
{
	struct tls_names all = { 0 };

	(void)state;
	fill(&all);
	assert_int_equal(tls_names_add(&all, slice_from("Mail.example.org"),
			     TLS_KEY_ECDSA, 7),
	    0);
	assert_int_equal(tls_names_add(&all, slice_from("new.example.net"),
			     TLS_KEY_OTHER, 8),
	    0);
	seal(&all);
	assert_int_equal(find(&all, "mail.example.org", TLS_KEY_RSA), 0);
	assert_int_equal(find(&all, "mail.example.org", TLS_KEY_ECDSA), 7);
	assert_int_equal(find(&all, "imap.example.org", TLS_KEY_RSA), 0);
	assert_int_equal(
	    find(&all, "imap.example.org", TLS_KEY_ECDSA), TLS_NO_CERTIFICATE);
	assert_int_equal(
	    find(&all, "new.example.net", TLS_KEY_RSA), TLS_NO_CERTIFICATE);
	assert_int_equal(find(&all, "new.example.net", TLS_KEY_OTHER), 8);
	tls_names_free(&all);
}

static void
test_long(void **state)
{
	char name[TLS_NAMES_SIZE_MAX + 2];
	struct tls_names all = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 2 ? '.' : 'a';
	assert_int_equal(
	    tls_names_add(&all, slice_of(name, sizeof(name)), TLS_KEY_RSA, 0),
	    -1);
	assert_int_equal(
	    tls_names_add(&all, slice_of(name, 253), TLS_KEY_RSA, 0), 0);
	seal(&all);
	name[sizeof(name) - 1] = '\0';
	assert_null(tls_names_find(&all, name));
	name[253] = '\0';
	assert_non_null(tls_names_find(&all, name));
	tls_names_free(&all);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_claimed_twice),
		cmocka_unit_test(test_kinds_of_keys),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
