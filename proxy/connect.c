#include "proxy/connect.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "proxy/proxy_header.h"

/* 0 while it connects, else errno. */
static int
start(struct stream *stream, union address address, uint16_t port)
{
	int one = 1;
	int fd = socket(address.any.sa_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return errno;
	stream_open(stream, fd);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	address_set_port(&address, port);
	if (connect(fd, &address.any, address_size(&address)) == 0 ||
	    errno == EINPROGRESS)
		return 0;
	return errno;
}

bool
connect_next(struct stream *stream, const struct address_list *list,
    size_t *next, uint16_t port, int *error)
{
	stream_close(stream);
	while (*next < list->count) {
		int result = start(stream, list->addresses[(*next)++], port);

		if (result == 0)
			return true;
		*error = result;
		stream_close(stream);
	}
	return false;
}

int
connect_finish(const struct stream *stream)
{
	socklen_t size = sizeof(int);
	int error = 0;

	if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return errno;
	return error;
}

/* A new connection takes so few octets at once, or is broken. */
int
connect_introduce(const struct stream *stream, const union address *client,
    const union address *local)
{
	struct buf header = buf_bounded(PROXY_HEADER_SIZE_MAX);
	int error = 0;
	ssize_t sent;

	proxy_header_add(&header, client, local);
	sent = send(stream->fd, header.data, header.size, MSG_NOSIGNAL);
	if (sent < 0)
		error = errno;
	else if ((size_t)sent != header.size)
		error = EPIPE;
	buf_free(&header);
	return error;
}
