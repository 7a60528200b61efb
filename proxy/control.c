#include "proxy/control.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for one descriptor beside a datagram, aligned as the kernel wants it. */
union ancillary {
	char octets[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int
control_send_fd(int channel, int fd, const char *text)
{
	union ancillary ancillary = { { 0 } };
	/* Declared without const, never written. */
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	struct iovec part = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = ancillary.octets,
		.msg_controllen = sizeof(ancillary.octets),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(channel, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -1
									   : 0;
}

long
control_receive_fd(int channel, int *fd, char *text)
{
	union ancillary ancillary = { { 0 } };
	struct iovec part = { text, CONTROL_QUESTION_SIZE - 1 };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = ancillary.octets,
		.msg_controllen = sizeof(ancillary.octets),
	};
	ssize_t size =
	    recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *header = size > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	*fd = -1;
	text[size > 0 ? size : 0] = '\0';
	if (header && header->cmsg_level == SOL_SOCKET &&
	    header->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(header), sizeof(*fd));
	return size;
}

int
control_answer(int channel, const char *question, const json_t *value)
{
	int fd = memfd_create("postcell-answer", MFD_CLOEXEC);
	int result = -1;

	if (fd < 0)
		return -1;
	if (json_dumpfd(value, fd, JSON_COMPACT) == 0)
		result = control_send_fd(channel, fd, question);
	close(fd);
	return result;
}

json_t *
control_read_answer(int fd)
{
	json_t *value = NULL;

	if (lseek(fd, 0, SEEK_SET) == 0)
		value = json_loadfd(fd, 0, NULL);
	close(fd);
	return value;
}
