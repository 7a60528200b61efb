#include "ctl/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <jansson.h>

#include "ctl/output.h"
#include "ctl/proxy.h"
#include "ctl/user.h"
#include "lib/buf.h"
#include "lib/timestamp.h"
#include "replica/clock.h"

#define PIECE_MAX   65536
#define TEXT_MAX    1024
#define SESSION_MAX 64
#define TRACE_TIME  600                   /* s, where nothing is said */
#define TRACE_SIZE  (64ULL * 1024 * 1024) /* octets of all files */

union ancillary {
	char octets[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

/* The proxy's answer to the question; the descriptor that came with it, or -1.
 */
static int
receive_channel(int fd, char *text, size_t size)
{
	union ancillary ancillary = { { 0 } };
	struct iovec part = { text, size - 1 };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = ancillary.octets,
		.msg_controllen = sizeof(ancillary.octets) };
	ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	int channel = -1;

	text[got > 0 ? got : 0] = '\0';
	if (header && header->cmsg_level == SOL_SOCKET &&
	    header->cmsg_type == SCM_RIGHTS)
		memcpy(&channel, CMSG_DATA(header), sizeof(channel));
	return channel;
}

/* -1 after a complaint. */
static int
open_channel(const struct ctl *ctl, const char *id, int64_t seconds)
{
	char text[TEXT_MAX] = "";
	const char *why = NULL;
	json_t *answer;
	int fd = proxy_connect(ctl, &why);
	int channel = -1;

	if (fd < 0) {
		ctl_complain(ctl->run_dir, why);
		return -1;
	}
	if (dprintf(fd, "trace %s %lld\n", id, (long long)seconds) > 0)
		channel = receive_channel(fd, text, sizeof(text));
	close(fd);
	if (channel < 0) {
		answer = json_loads(text, 0, NULL);
		ctl_complain("trace", output_member(answer, "error"));
		json_decref(answer);
	}
	return channel;
}

/* "C SESSION": the name becomes that of a file. */
static bool
read_line(struct slice line, char *who, char session[SESSION_MAX])
{
	static const char digits[] = "0123456789abcdef";

	if (line.size < 3 || line.size - 2 >= SESSION_MAX ||
	    line.data[1] != ' ' || !strchr("CSL", line.data[0]))
		return false;
	*who = line.data[0];
	memcpy(session, line.data + 2, line.size - 2);
	session[line.size - 2] = '\0';
	return strspn(session, digits) == line.size - 2;
}

/* Adds "MOMENT WHO SIZE", the octets and an end of line to the session's file.
 * How many octets these were; 0 for what is not understood, -1 on failure. */
static long long
write_piece(int folder, struct slice piece)
{
	size_t end = slice_find(piece, '\n');
	struct slice octets = slice_from_offset(piece, end + 1);
	struct buf text = buf_bounded((size_t)2 * PIECE_MAX);
	char session[SESSION_MAX], name[SESSION_MAX + 8], who;
	long long written = -1;
	int fd;

	if (end == SIZE_MAX ||
	    !read_line(slice_first(piece, end), &who, session))
		return 0;
	(void)snprintf(name, sizeof(name), "%s.raw", session);
	timestamp_format(&text, clock_realtime_us());
	buf_printf(&text, " %c %zu\n", who, octets.size);
	buf_add_slice(&text, octets);
	buf_add_char(&text, '\n');
	fd = openat(folder, name,
	    O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, text.data, text.size) == (ssize_t)text.size)
		written = (long long)text.size;
	if (written < 0)
		ctl_complain(name, strerrordesc_np(errno));
	if (fd >= 0)
		close(fd);
	buf_free(&text);
	return written;
}

/* Until the time is over, the files are full, or the proxy has no more. */
static int
record(int channel, int folder, int64_t seconds)
{
	static char piece[PIECE_MAX];
	int64_t end_us = clock_realtime_us() + seconds * 1000000;
	unsigned long long size = 0;

	while (size < TRACE_SIZE) {
		struct pollfd ready = { .fd = channel, .events = POLLIN };
		int64_t left_ms = (end_us - clock_realtime_us()) / 1000;
		long long written;
		ssize_t got;

		if (left_ms <= 0 || poll(&ready, 1, (int)left_ms) < 0)
			return EX_OK;
		got = recv(channel, piece, sizeof(piece), MSG_DONTWAIT);
		if (got == 0)
			return EX_OK;
		written =
		    got > 0 ? write_piece(folder, slice_of(piece, (size_t)got))
			    : 0;
		if (written < 0)
			return EX_IOERR;
		size += (unsigned long long)written;
	}
	ctl_complain("trace", "the files are full");
	return EX_OK;
}

int
ctl_trace(const struct ctl *ctl, int count, char **words)
{
	int64_t seconds =
	    ctl->options.time == CTL_ABSENT ? TRACE_TIME : ctl->options.time;
	struct buf id = buf_bounded(TEXT_MAX);
	int channel = -1, folder = -1;
	int code = user_add_id(ctl, words[0], &id);

	(void)count;
	if (code == EX_OK) {
		if (mkdir(words[1], 0700) < 0 && errno != EEXIST)
			ctl_complain(words[1], strerrordesc_np(errno));
		folder = open(words[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		code = EX_CANTCREAT;
	}
	if (folder >= 0) {
		channel = open_channel(ctl, buf_string(&id), seconds);
		code = EX_UNAVAILABLE;
	}
	if (channel >= 0) {
		puts("tracing; interrupt it to end it");
		(void)fflush(stdout);
		code = record(channel, folder, seconds);
		close(channel);
	}
	if (folder >= 0)
		close(folder);
	buf_free(&id);
	return code;
}
