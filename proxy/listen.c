#include "proxy/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/control.h"

#define LISTEN_BACKLOG 4096

/* Both were checked when the configuration was read. */
static union address
parse_address(const char *text, long port)
{
	union address address = { 0 };

	if (inet_pton(AF_INET, text, &address.in.sin_addr) == 1) {
		address.any.sa_family = AF_INET;
	} else {
		inet_pton(AF_INET6, text, &address.in6.sin6_addr);
		address.any.sa_family = AF_INET6;
	}
	address_set_port(&address, (uint16_t)port);
	return address;
}

static int
find_socket(const struct handover *before, const union address *address)
{
	for (size_t i = 0; i < before->listener_count; i++)
		if (memcmp(&before->listeners[i].address, address,
			address_size(address)) == 0)
			return before->listeners[i].fd;
	return -1;
}

/* A new listening socket, or -1 with errno. */
static int
open_socket(const union address *address)
{
	int fd = socket(address->any.sa_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* "::" means IPv6; "0.0.0.0" stands beside it. */
	if (address->any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, &address->any, address_size(address)) < 0 ||
	    listen(fd, LISTEN_BACKLOG) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static int
open_one(const struct config *config, const struct config_listener *section,
    const char *text, const struct handover *before, struct listener *listener,
    struct buf *errors)
{
	int one = 1;

	listener->config = section;
	listener->address = parse_address(text, section->port);
	listener->fd = find_socket(before, &listener->address);
	if (listener->fd < 0)
		listener->fd = open_socket(&listener->address);
	if (listener->fd >= 0) {
		/* Each accepted connection inherits it. */
		setsockopt(
		    listener->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		return 0;
	}
	/* A machine without IPv6 is no fault of the configuration. */
	if (errno == EAFNOSUPPORT &&
	    listener->address.any.sa_family == AF_INET6)
		return 1;
	buf_printf(errors, "%s:%ld: listen \"%s\": %s port %ld: %s\n",
	    config->path, section->line, section->title, text, section->port,
	    strerrordesc_np(errno));
	return -1;
}

static void
close_new(
    const struct handover *before, struct listener *listeners, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (find_socket(before, &listeners[i].address) < 0)
			close(listeners[i].fd);
}

int
listen_open(const struct config *config, const struct handover *before,
    struct listener **listeners, size_t *count, struct buf *errors)
{
	size_t section_count, total = 0, opened = 0;
	const struct config_listener *sections =
	    config_listeners(config, &section_count);
	int result = 0;

	for (size_t i = 0; i < section_count; i++)
		total += sections[i].addresses.count;
	*listeners = calloc(total + 1, sizeof(**listeners));
	if (!*listeners)
		abort();
	for (size_t i = 0; i < section_count; i++) {
		for (size_t k = 0; k < sections[i].addresses.count; k++) {
			int one = open_one(config, &sections[i],
			    sections[i].addresses.items[k], before,
			    &(*listeners)[opened], errors);

			opened += one == 0;
			result = one < 0 ? -1 : result;
		}
	}
	*count = opened;
	if (result < 0) {
		close_new(before, *listeners, opened);
		free(*listeners);
		*listeners = NULL;
	}
	return result;
}

int
listen_metrics(const struct config *config, const struct handover *before,
    struct handover_listener *metrics, struct buf *errors)
{
	const struct config_metrics *section = &config->metrics;

	metrics->fd = -1;
	if (section->port == 0)
		return 0;
	metrics->address = parse_address(section->address, section->port);
	metrics->fd = find_socket(before, &metrics->address);
	if (metrics->fd < 0)
		metrics->fd = open_socket(&metrics->address);
	if (metrics->fd >= 0)
		return 0;
	buf_printf(errors, "%s: metrics: %s port %ld: %s\n", config->path,
	    section->address, section->port, strerrordesc_np(errno));
	return -1;
}

int
listen_control(
    const struct config *config, const struct jail *jail, struct buf *errors)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct buf path = buf_bounded(sizeof(address.sun_path) - 1);
	int fd = -1;

	buf_printf(&path, "%s/" CONTROL_SOCKET, config->run_dir);
	if (path.failed) {
		buf_printf(errors,
		    "%s: run_dir is too long for a socket's name\n",
		    config->path);
		goto out;
	}
	memcpy(address.sun_path, path.data, path.size);
	if (mkdir(config->run_dir, 0755) == 0 && jail->enter)
		(void)!chown(config->run_dir, jail->uid, jail->gid);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	unlink(address.sun_path);
	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(address.sun_path, 0660) < 0 || listen(fd, SOMAXCONN) < 0) {
		buf_printf(errors, "%s: %s\n", address.sun_path,
		    strerrordesc_np(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
		goto out;
	}
	if (jail->enter)
		(void)!chown(address.sun_path, jail->uid, jail->gid);
out:
	buf_free(&path);
	return fd;
}
