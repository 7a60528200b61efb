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
#include <sys/stat.h>
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
	    "event=session_end tls=none in=-42 user=\"bob\" process=relay "
	    "level=info\n");
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
		    "event=x user=%s process=relay level=info\n",
		    rows[i].written);
		assert_string_equal(written, wanted);
	}
}

static void
test_levels(void **state)
{
	struct log log =
	    log_open(LOG_TARGET_STDERR, LOG_LEVEL_WARNING, "parent");
	static const char *const lines[] = {
		[LOG_LEVEL_ERROR] = "event=x process=parent level=error\n",
		[LOG_LEVEL_WARNING] = "event=x process=parent level=warning\n",
		[LOG_LEVEL_INFO] = "",
		[LOG_LEVEL_DEBUG] = "",
	};
	char written[512];

	(void)state;
	for (unsigned level = 0; level < ARRAY_SIZE(lines); level++) {
		struct log_line line = log_line((enum log_level)level, "x");

		send_line(&log, &line, written, sizeof(written));
		assert_string_equal(written, lines[level]);
		assert_null(line.buf.data);
	}
}

/* systemd's journal is told the priority in front, any other file is not. */
static void
test_journal(void **state)
{
	static const struct {
		enum log_level level;
		const char *journal;
	} rows[] = {
		{ LOG_LEVEL_ERROR, "<3>event=x process=parent level=error\n" },
		{ LOG_LEVEL_WARNING,
		    "<4>event=x process=parent level=warning\n" },
		{ LOG_LEVEL_INFO, "<6>event=x process=parent level=info\n" },
		{ LOG_LEVEL_DEBUG, "<7>event=x process=parent level=debug\n" },
	};

	char written[512], stream[64];
	struct stat status;

	(void)state;
	assert_int_equal(fstat(STDERR_FILENO, &status), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows) * 2; i++) {
		bool journal = i % 2 == 0;
		struct log_line line = log_line(rows[i / 2].level, "x");
		struct log log;

		(void)snprintf(stream, sizeof(stream), "%ju:%ju",
		    (uintmax_t)status.st_dev,
		    (uintmax_t)status.st_ino + !journal);
		assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
		log = log_open(LOG_TARGET_STDERR, LOG_LEVEL_DEBUG, "parent");
		send_line(&log, &line, written, sizeof(written));
		assert_string_equal(
		    written, rows[i / 2].journal + (journal ? 0 : 3));
	}
	assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
}

/* However much is said: one line, no longer than the bound, with its end. */
static void
test_bound(void **state)
{
	struct log log = log_open(LOG_TARGET_STDERR, LOG_LEVEL_INFO, "relay");
	struct log_line line = log_line(LOG_LEVEL_INFO, "x");
	static char written[4 * LOG_LINE_SIZE_MAX];
	struct buf value = buf_bounded((size_t)3 * LOG_LINE_SIZE_MAX);

	(void)state;
	for (size_t i = 0; i < value.size_max; i++)
		buf_add_char(&value, '\n');
	log_text(&line, "user", buf_slice(&value));
	log_string(&line, "why", "lost");
	send_line(&log, &line, written, sizeof(written));
	assert_in_range(
	    strlen(written), LOG_LINE_SIZE_MAX / 2, LOG_LINE_SIZE_MAX + 1);
	assert_ptr_equal(strchr(written, '\n'), written + strlen(written) - 1);
	assert_non_null(strstr(written, " process=relay level=info\n"));
	buf_free(&value);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_escaping),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
