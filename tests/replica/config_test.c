/* Options, manual page and example say the same. */
#include "replica/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/replica/scratch.h"

#define MANUAL    "man/postcell-replicad.conf.5"
#define EXAMPLE   "examples/replicad.conf"
#define TEXT_SIZE 65536

static struct buf
read_file(const char *path)
{
	struct buf text = buf_bounded(TEXT_SIZE);
	FILE *file = fopen(path, "re");
	char *room = buf_reserve(&text, TEXT_SIZE);

	assert_non_null(file);
	assert_non_null(room);
	buf_grow(&text, fread(room, 1, TEXT_SIZE, file));
	assert_int_equal(fclose(file), 0);
	return text;
}

/* Whether a line begins with that word, be it commented out. */
static bool
has_first(struct slice text, struct slice name)
{
	struct slice line, word;

	while (slice_next_word(&text, '\n', &line)) {
		if (!slice_next_word(&line, ' ', &word))
			continue;
		if (slice_is(word, "#") && !slice_next_word(&line, ' ', &word))
			continue;
		if (word.data[0] == '#')
			word = slice_trim(slice_from_offset(word, 1));
		if (slice_equal(word, name))
			return true;
	}
	return false;
}

/* Takes the next option that the manual page describes. */
static bool
next_described(struct slice *text, struct slice *names)
{
	static const char begin[] = ".It Cm ";
	struct slice line;

	while (slice_next_word(text, '\n', &line)) {
		if (!slice_starts_nocase(line, begin))
			continue;
		*names = slice_from_offset(line, sizeof(begin) - 1);
		return true;
	}
	return false;
}

static bool
is_described(struct slice manual, struct slice name)
{
	struct slice names, word;

	while (next_described(&manual, &names)) {
		while (slice_next_word(&names, ' ', &word)) {
			if (slice_equal(word, name))
				return true;
		}
	}
	return false;
}

/* SECTION.OPTION is OPTION there, below its section. */
static struct buf
option_names(void)
{
	struct buf described = buf_bounded(TEXT_SIZE);
	struct buf names = buf_bounded(TEXT_SIZE);
	struct slice rest, line, name;

	config_describe(&described);
	rest = buf_slice(&described);
	while (slice_next_word(&rest, '\n', &line)) {
		size_t dot;

		assert_true(slice_next_word(&line, ' ', &name));
		dot = slice_find(name, '.');
		(void)buf_add_slice(&names,
		    dot == SIZE_MAX ? name : slice_from_offset(name, dot + 1));
		(void)buf_add_char(&names, '\n');
	}
	buf_free(&described);
	return names;
}

static void
test_manual_and_example(void **state)
{
	struct buf options = option_names();
	struct buf manual = read_file(MANUAL), example = read_file(EXAMPLE);
	struct slice rest, name;
	size_t count = 0;

	(void)state;
	rest = buf_slice(&options);
	while (slice_next_word(&rest, '\n', &name)) {
		if (!is_described(buf_slice(&manual), name))
			fail_msg("%.*s is not in " MANUAL, SLICE_ARGS(name));
		if (!has_first(buf_slice(&example), name))
			fail_msg("%.*s is not in " EXAMPLE, SLICE_ARGS(name));
		count++;
	}
	assert_true(count > 10);
	buf_free(&options);
	buf_free(&manual);
	buf_free(&example);
}

/* Every option that the manual page has is one. */
static void
test_manual_has_no_more(void **state)
{
	struct buf options = option_names();
	struct buf manual = read_file(MANUAL);
	struct slice rest = buf_slice(&manual), names, word;

	(void)state;
	while (next_described(&rest, &names)) {
		while (slice_next_word(&names, ' ', &word)) {
			if (!slice_is(word, ",") &&
			    !has_first(buf_slice(&options), word))
				fail_msg("%.*s is no option", SLICE_ARGS(word));
		}
	}
	buf_free(&options);
	buf_free(&manual);
}

static int
load(const char *text, struct buf *errors)
{
	char *folder = scratch_new();
	struct buf path = buf_bounded(4096);
	struct config config;
	FILE *file;
	int result;

	(void)buf_printf(&path, "%s/conf", folder);
	file = fopen(buf_string(&path), "we");
	assert_non_null(file);
	assert_int_equal(fputs(text, file) < 0, 0);
	assert_int_equal(fclose(file), 0);
	buf_clear(errors);
	result = config_load(&config, buf_string(&path), errors);
	config_free(&config);
	buf_free(&path);
	scratch_free(folder);
	return result;
}

static void
test_faults(void **state)
{
#define GOOD                                                                   \
	"replica = \"/r\"\nsuffix = \"o=x\"\nproviders = { \"ldap://x\" }\n"

	static const struct {
		const char *text;
		const char *fault; /* NULL: none */
	} rows[] = {
		{ GOOD, NULL },
		{ "source = ldif\nldif_file = \"/x\"\n", NULL },
		{ "source = ldif\n", "ldif_file" },
		{ "suffix = \"o=x\"\n", "no providers" },
		{ "providers = { \"ldap://x\" }\n", "no suffix" },
		{ GOOD "providers = { \"http://x\" }\n", "not an ldap" },
		{ GOOD "replica = \"r\"\n", "absolute" },
		{ GOOD "bind_dn = \"cn=a\"\n", "password_file" },
		{ GOOD "bind_dn = \"cn=a\"\npassword_file = \"/nowhere\"\n",
		    "/nowhere: " },
		{ GOOD "key = \"/k\"\n", "go together" },
		{ GOOD "account_filter = \"uid=*\"\n", "not an LDAP filter" },
		{ GOOD "account_filter = \"(uid=*\"\n", "not an LDAP filter" },
		{ GOOD "account_filter = \"(a=*)(b=*)\"\n",
		    "not an LDAP filter" },
		{ GOOD "account_filter = \"(|(uid=*)(mail=*))\"\n", NULL },
		{ GOOD "map_size_max = 0\n", ":4: " },
		{ GOOD "timeout = 61\n", ":4: " },
		{ GOOD "stale_after = -1\n", ":4: " },
		{ GOOD "tls = maybe\n", ":4: " },
		{ GOOD "bind = gssapi\n", ":4: " },
		{ GOOD "log = paper\n", ":4: " },
		{ GOOD "nonsense = 1\n", ":4: " },
	};
	struct buf errors = buf_bounded(TEXT_SIZE);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int result = load(rows[i].text, &errors);

		assert_int_equal(result, rows[i].fault ? -1 : 0);
		if (rows[i].fault &&
		    !strstr(buf_string(&errors), rows[i].fault))
			fail_msg("%s: %s", rows[i].text, buf_string(&errors));
	}
	buf_free(&errors);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manual_and_example),
		cmocka_unit_test(test_manual_has_no_more),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
