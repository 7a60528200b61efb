#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kdc-plugin/experience.h"

#define NOW 1800000000

static enum experience_word
said(const struct experience *experience, enum service_kind service,
    const char *place)
{
	struct endpoint endpoint;

	assert_int_equal(endpoint_parse(&endpoint, slice_from(place), 1), 0);
	return experience_of(experience, service, &endpoint, NOW, 30);
}

static void
test_read(void **state)
{
	static const struct {
		const char *text;
		enum experience_word word;
	} rows[] = {
		{ "", EXPERIENCE_NONE },
		{ "kdc 192.0.2.7:88 1800000000 answered\n",
		    EXPERIENCE_ANSWERED },
		{ "kdc 192.0.2.7:88 1799999970 silent", EXPERIENCE_SILENT },
		{ "kdc 192.0.2.7:88 1799999969 silent", EXPERIENCE_NONE },
		{ "kdc 192.0.2.7:88 1800000001 silent", EXPERIENCE_NONE },
		{ "kdc 192.0.2.7:89 1800000000 silent", EXPERIENCE_NONE },
		{ "kpasswd 192.0.2.7:88 1800000000 silent", EXPERIENCE_NONE },
		{ "kdc 192.0.2.7:88 1800000000 sil", EXPERIENCE_NONE },
		{ "kdc 192.0.2.7 1800000000 silent", EXPERIENCE_SILENT },
		{ "kdc 192.0.2.7:88 1800000000", EXPERIENCE_NONE },
		{ "kdc 192.0.2.7:88 -1 silent", EXPERIENCE_NONE },
		{ "kdc 192.0.2.7:88 1800000000 silent more", EXPERIENCE_NONE },
		{ "kadmin 192.0.2.7:88 1800000000 silent", EXPERIENCE_NONE },
		{ "kdc host:88 1800000000 silent", EXPERIENCE_NONE },
		/* The newer one holds, wherever it stands. */
		{ "kdc 192.0.2.7:88 1799999999 silent\n"
		  "kdc 192.0.2.7:88 1800000000 answered\n",
		    EXPERIENCE_ANSWERED },
		{ "kdc 192.0.2.7:88 1800000000 answered\n"
		  "rubbish\n"
		  "kdc 192.0.2.7:88 1799999999 silent\n",
		    EXPERIENCE_ANSWERED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct experience experience = { .count = 0 };

		experience_read(&experience, slice_from(rows[i].text));
		assert_int_equal(
		    said(&experience, SERVICE_KERBEROS, "192.0.2.7:88"),
		    rows[i].word);
	}
}

static void
test_there_and_back(void **state)
{
	static const char text[] =
	    "kdc 192.0.2.7:88 1800000000 answered\n"
	    "kpasswd [2001:db8::7]:464 1799999999 silent\n";
	struct experience experience = { .count = 0 };
	struct buf out = buf_bounded(EXPERIENCE_TEXT_MAX);

	(void)state;
	experience_read(&experience, slice_from(text));
	assert_int_equal(experience_write(&out, &experience), 0);
	assert_string_equal(buf_string(&out), text);
	buf_free(&out);
}

/* The oldest makes room, and what is kept fits. */
static void
test_bound(void **state)
{
	struct experience experience = { .count = 0 };
	struct buf out = buf_bounded(EXPERIENCE_TEXT_MAX);

	(void)state;
	for (int i = 0; i < 2 * EXPERIENCE_MAX; i++) {
		struct buf place = buf_bounded(100);
		struct experience_item item = { .service = SERVICE_KPASSWD,
			.time_s = NOW - 2 * EXPERIENCE_MAX + i,
			.word = EXPERIENCE_ANSWERED };

		(void)buf_printf(&place,
		    "[2001:db8:1111:2222:3333:4444:"
		    "5555:%x]:65535",
		    i + 0x1000);
		(void)endpoint_parse(&item.place, buf_slice(&place), 1);
		experience_note(&experience, &item);
		buf_free(&place);
	}
	assert_int_equal(experience.count, EXPERIENCE_MAX);
	for (size_t i = 0; i < EXPERIENCE_MAX; i++)
		assert_true(experience.items[i].time_s >= NOW - EXPERIENCE_MAX);
	assert_int_equal(experience_write(&out, &experience), 0);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
