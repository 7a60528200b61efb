/*
 * Observers' bookkeeping as tables: a row of results, and what is held after
 * each of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/record.h"
#include "proxy/observe.h"

static const struct observe_settings settings = { .interval_ms = 1000,
	.good = 3 };

/*
 * results: a letter every 1000 ms: g good, r refused, s silent, - none; after
 * a `,` the next comes 100 ms later instead. opinions: u up, ? unknown,
 * x suspect, R down by refusal, S down by silence.
 */
static const struct row {
	const char *name, *results, *opinions;
} rows[] = {
	{ "up after three good ones", "gggg", "??uu" },
	{ "a new one has to show it without a break", "ggsgggg", "??x??uu" },
	{ "refused: at once", "gggr", "??uR" },
	{ "refused from the start", "rr", "RR" },
	{ "silent: one interval later", "gggss", "??uxS" },
	{ "silent from the start", "ss", "xS" },
	{ "silent again too soon is the same silence", "ggg,s,s,s", "??uxxx" },
	{ "silent once", "gggsg", "??uxu" },
	{ "silent now and then", "gggsgsgsg", "??uxuxuxu" },
	{ "silent, then refused", "gggsr", "??uxR" },
	{ "down: three good ones in a row", "gggrggrggg", "??uRRRRRRu" },
	{ "down by silence: likewise", "gggssgggs", "??uxSSSux" },
	{ "down by silence, then refused", "gggssr", "??uxSR" },
	{ "refused, then silent", "gggrs", "??uRS" },
	{ "one that was not made changes nothing", "gg-g-s-s", "???uuxxS" },
	{ "nor does it count as good", "r--ggg", "RRRRRu" },
};

static char
letter_of(const struct observed *observed)
{
	switch (observed->opinion) {
	case OPINION_UP:
		return 'u';
	case OPINION_SUSPECT:
		return 'x';
	case OPINION_DOWN:
		return observed->silent ? 'S' : 'R';
	case OPINION_UNKNOWN:
	case OPINION_COUNT:
		break;
	}
	return '?';
}

static enum probe_result
result_of(char letter)
{
	switch (letter) {
	case 'g':
		return PROBE_GOOD;
	case 'r':
		return PROBE_REFUSED;
	case 's':
		return PROBE_SILENT;
	default:
		return PROBE_NONE;
	}
}

static void
test_results(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct observed observed = { 0 };
		char got[32] = "";
		size_t size = 0;
		int64_t now_ms = 50000;

		for (const char *at = rows[i].results; *at != '\0'; at++) {
			char before = letter_of(&observed);
			bool changed;

			now_ms += *at == ',' ? 100 : 1000;
			if (*at == ',')
				at++;
			changed = observe_result(
			    &observed, &settings, result_of(*at), now_ms);
			got[size++] = letter_of(&observed);
			assert_int_equal(changed, before != got[size - 1]);
		}
		if (strcmp(got, rows[i].opinions) != 0)
			fail_msg("%s: %s instead of %s", rows[i].name, got,
			    rows[i].opinions);
	}
}

/* services: kind=letter of each; the host as a whole. */
static const struct {
	const char *name, *services;
	char expected;
} hosts[] = {
	{ "all are up", "imap=u pop3=u lmtp=u sieve=u", 'u' },
	{ "one of them is down", "imap=u pop3=u lmtp=R sieve=u", 'R' },
	{ "refused weighs more than silent", "imap=S pop3=R", 'R' },
	{ "down more than suspect", "imap=x pop3=S", 'S' },
	{ "suspect more than unknown", "imap=? pop3=x", 'x' },
	{ "unknown more than up", "imap=u pop3=?", '?' },
	{ "submission withdraws only itself", "imap=u submission=R", 'u' },
	{ "unless it is all there is", "submission=R", 'R' },
	{ "nor does smtp", "lmtp=u smtp=S", 'u' },
	{ "a directory", "ldap=S", 'S' },
	{ "a KDC that is a name server too", "kerberos=u dns=R", 'R' },
	{ "who changes passwords is not asked", "kerberos=u kpasswd=?", 'u' },
	{ "and tells nothing of a host", "kerberos=R kpasswd=?", 'R' },
	{ "nothing to be seen", "", '?' },
};

static struct observed
observed_of(char letter)
{
	switch (letter) {
	case 'u':
		return (struct observed){ .opinion = OPINION_UP };
	case 'x':
		return (struct observed){ .opinion = OPINION_SUSPECT,
			.silent = true };
	case 'S':
		return (
		    struct observed){ .opinion = OPINION_DOWN, .silent = true };
	case 'R':
		return (struct observed){ .opinion = OPINION_DOWN };
	default:
		return (struct observed){ .opinion = OPINION_UNKNOWN };
	}
}

static void
test_hosts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct observed services[SERVICE_KIND_COUNT] = { 0 };
		struct slice rest = slice_from(hosts[i].services), word;
		struct cell *cell = cell_new();
		struct buf record = buf_bounded(1024);
		struct observed whole;

		record_add(&record, CELL_KIND, slice_from("server"));
		record_add(&record, CELL_NAME, slice_from("m1"));
		while (slice_next_word(&rest, ' ', &word)) {
			struct slice name =
			    slice_first(word, slice_find(word, '='));
			struct buf url = buf_bounded(64);
			enum service_kind kind;

			buf_printf(&url, "%.*s://m1", SLICE_ARGS(name));
			record_add(&record, CELL_SERVICE, buf_slice(&url));
			buf_free(&url);
			assert_int_equal(service_kind_parse(name, &kind), 0);
			services[kind] = observed_of(word.data[word.size - 1]);
		}
		assert_int_equal(cell_add(cell, buf_slice(&record)), 0);
		assert_int_equal(cell_finish(cell), 0);
		whole = observe_host(
		    cell_host(cell, HOST_SERVER, slice_from("m1")), services);
		if (letter_of(&whole) != hosts[i].expected)
			fail_msg("%s: %c instead of %c", hosts[i].name,
			    letter_of(&whole), hosts[i].expected);
		buf_free(&record);
		cell_free(&cell);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
