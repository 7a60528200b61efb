#include "proxy/control.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#define SEND_TIMEOUT 1000 /* ms */

int
control_send(int fd, const json_t *value)
{
	struct pollfd ready = { .fd = fd, .events = POLLOUT };
	char *text = json_dumps(value, JSON_COMPACT);
	size_t size = text ? json_dumpb(value, NULL, 0, JSON_COMPACT) : 0;
	ssize_t sent = -1;

	if (text && poll(&ready, 1, SEND_TIMEOUT) == 1)
		sent = send(fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	free(text);
	return sent < 0 ? -1 : 0;
}

json_t *
control_receive(int fd, int timeout_ms)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	char *text = malloc(CONTROL_ANSWER_SIZE);
	json_t *value = NULL;
	ssize_t size;

	if (text && poll(&ready, 1, timeout_ms) == 1) {
		size = recv(fd, text, CONTROL_ANSWER_SIZE, MSG_DONTWAIT);
		if (size > 0)
			value = json_loadb(text, (size_t)size, 0, NULL);
	}
	free(text);
	return value;
}
