#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/log.h"

#define TEXT(literal)                                                          \
	{                                                                      \
		literal, sizeof(literal) - 1                                   \
	}

/* What a line looks like on standard error; `written` has room for it. */
static void
send_line(
    const struct log *log, struct log_line *line, char *written, size_t size)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	int kept = dup(STDERR_FILENO);
	ssize_t got;

	assert_true(fd >= 0 && kept >= 0);
	dup2(fd, STDERR_FILENO);
	log_send(log, line);
	dup2(kept, STDERR_FILENO);
	got = pread(fd, written, size - 1, 0);
	assert_true(got >= 0);
	written[got] = '\0';
	close(fd);
	close(kept);
}

static void
test_line(void **state)
{
	struct log log = log_open(LOG_TARGET_STDERR, LOG_LEVEL_INFO, "relay");
	struct log_line line = log_line(LOG_LEVEL_INFO, "session_end");
	char written[512];

	(void)state;
	log_word(&line, "tls", "none");
	log_number(&line, "in", -42);
	log_string(&line, "user", "bob");
	send_line(&log, &line, written, sizeof(written));
	assert_string_equal(written,
	    "event=session_end tls=none in=-42 user=\"bob\" process=relay\n");
	assert_null(line.buf.data);
}

/* No octet of a stranger splits a line, ends a value or reaches a terminal. */
static void
test_escaping(void **state)
{
	static const struct {
		struct slice value;
		const char *written;
	} rows[] = {
		{ TEXT(""), "\"\"" },
		{ TEXT("a b=c"), "\"a b=c\"" },
		{ TEXT("a\" event=forged \""), "\"a\\\" event=forged \\\"\"" },
		{ TEXT("a\\"), "\"a\\\\\"" },
		{ TEXT("a\r\nevent=forged"), "\"a\\x0d\\x0aevent=forged\"" },
		{ TEXT("\x1b[2J\a"), "\"\\x1b[2J\\x07\"" },
		{ TEXT("a\0b"), "\"a\\x00b\"" },
		{ TEXT("\x7f\xc3\xa4\xff"), "\"\\x7f\\xc3\\xa4\\xff\"" },
	};
	struct log log = log_open(LOG_TARGET_STDERR, LOG_LEVEL_INFO, "relay");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct log_line line = log_line(LOG_LEVEL_INFO, "x");
		char written[512], wanted[512];

		log_text(&line, "user", rows[i].value);
		send_line(&log, &line, written, sizeof(written));
		(void)snprintf(wanted, sizeof(wanted),
		    "event=x user=%s process=relay\n", rows[i].written);
		assert_string_equal(written, wanted);
	}
}

static void
test_levels(void **state)
{
	struct log log =
	    log_open(LOG_TARGET_STDERR, LOG_LEVEL_WARNING, "parent");
	char written[512];

	(void)state;
	for (unsigned level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG;
	     level++) {
		struct log_line line = log_line((enum log_level)level, "x");

		send_line(&log, &line, written, sizeof(written));
		assert_string_equal(written, level <= LOG_LEVEL_WARNING
						 ? "event=x process=parent\n"
						 : "");
		assert_null(line.buf.data);
	}
}

/* However much is said: one line, no longer than the bound, with its end. */
static void
test_bound(void **state)
{
	struct log log = log_open(LOG_TARGET_STDERR, LOG_LEVEL_INFO, "relay");
	struct log_line line = log_line(LOG_LEVEL_INFO, "x");
	static char written[4 * LOG_LINE_SIZE_MAX];
	struct buf value = buf_bounded(3 * LOG_LINE_SIZE_MAX);

	(void)state;
	for (size_t i = 0; i < value.size_max; i++)
		buf_add_char(&value, '\n');
	log_text(&line, "user", buf_slice(&value));
	log_string(&line, "why", "lost");
	send_line(&log, &line, written, sizeof(written));
	assert_in_range(
	    strlen(written), LOG_LINE_SIZE_MAX / 2, LOG_LINE_SIZE_MAX + 1);
	assert_ptr_equal(strchr(written, '\n'), written + strlen(written) - 1);
	buf_free(&value);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_escaping),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
