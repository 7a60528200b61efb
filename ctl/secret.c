#include "ctl/secret.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "lib/password.h"

/* Octet by octet, so that nothing of it stays in a buffer of the C library. */
static int
read_line(struct buf *out)
{
	char c = '\0';
	ssize_t size;

	while ((size = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n')
		(void)buf_add_char(out, c);
	if (out->size > 0 && out->data[out->size - 1] == '\r')
		out->size--;
	if (size >= 0)
		return EX_OK;
	ctl_complain("password", strerrordesc_np(errno));
	return EX_NOINPUT;
}

/*
 * Whoever interrupts must find the terminal as it was; and nothing is asked
 * before it is silent, for somebody may type at once.
 */
static int
ask(struct buf *out, const char *user, const char *what)
{
	struct termios before, silent;
	sigset_t all, mask;
	int code;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return read_line(out);
	silent = before;
	silent.c_lflag &= ~(tcflag_t)(ECHO);
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &mask);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
	(void)fprintf(stderr, "%s for %s: ", what, user);
	code = read_line(out);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
	(void)fputc('\n', stderr);
	(void)sigprocmask(SIG_SETMASK, &mask, NULL);
	return code;
}

static int
ask_twice(struct buf *out, const char *user)
{
	struct buf again = buf_bounded(PASSWORD_SIZE_MAX + 2);
	int code = ask(out, user, "New password");

	if (code == EX_OK)
		code = ask(&again, user, "Again");
	if (code == EX_OK &&
	    !slice_equal_secret(buf_slice(out), buf_slice(&again))) {
		ctl_complain(user, "the two passwords differ");
		code = EX_DATAERR;
	}
	buf_wipe(&again);
	return code;
}

int
secret_read(struct buf *out, const char *user)
{
	int code =
	    isatty(STDIN_FILENO) == 1 ? ask_twice(out, user) : read_line(out);
	const char *fault =
	    out->failed ? "password is too long"
			: password_fault(buf_slice(out), PASSWORD_SIZE_MAX);

	if (code != EX_OK || !fault)
		return code;
	ctl_complain(user, fault);
	return EX_DATAERR;
}
