#include "proxy/handover.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HANDOVER_VARIABLE "POSTCELL_HANDOVER"
#define HANDOVER_FORMAT   "postcell-handover 1\n"
#define LINE_SIZE         256

void
handover_add_listener(
    struct handover *handover, struct handover_listener listener)
{
	struct handover_listener *more = reallocarray(
	    handover->listeners, handover->listener_count + 1, sizeof(*more));

	if (!more)
		abort();
	handover->listeners = more;
	more[handover->listener_count++] = listener;
}

void
handover_add_child(struct handover *handover, struct child child)
{
	struct child *more = reallocarray(
	    handover->children, handover->child_count + 1, sizeof(*more));

	if (!more)
		abort();
	handover->children = more;
	more[handover->child_count++] = child;
}

void
handover_free(struct handover *handover)
{
	free(handover->listeners);
	free(handover->children);
	*handover = (struct handover){ .stats_fd = -1, .control_fd = -1 };
}

int
handover_write(const struct handover *handover, const char **why)
{
	int fd = memfd_create("postcell-handover", 0);
	char number[16], text[INET6_ADDRSTRLEN];
	FILE *file;

	if (fd < 0 || !(file = fdopen(dup(fd), "w"))) {
		*why = "no memfd for the handover";
		return -1;
	}
	fputs(HANDOVER_FORMAT, file);
	fprintf(file, "generation %u\n", handover->generation);
	fprintf(file, "stats %d\ncontrol %d\n", handover->stats_fd,
	    handover->control_fd);
	for (size_t i = 0; i < handover->listener_count; i++) {
		const struct handover_listener *listener =
		    &handover->listeners[i];

		address_text(&listener->address, text, sizeof(text));
		fprintf(file, "listener %d %s %u\n", listener->fd, text,
		    address_port(&listener->address));
	}
	for (size_t i = 0; i < handover->child_count; i++) {
		const struct child *child = &handover->children[i];

		fprintf(file, "child %d %d %u %d %d %d\n", (int)child->role,
		    (int)child->pid, child->generation, child->slot,
		    child->parent_fd, child->health_fd);
	}
	if (fclose(file) != 0) {
		*why = "the handover could not be written";
		close(fd);
		return -1;
	}
	snprintf(number, sizeof(number), "%d", fd);
	setenv(HANDOVER_VARIABLE, number, 1);
	return 0;
}

static void
keep_descriptor(int fd, bool keep)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC);
}

void
handover_keep(const struct handover *handover, bool keep)
{
	keep_descriptor(handover->stats_fd, keep);
	keep_descriptor(handover->control_fd, keep);
	for (size_t i = 0; i < handover->listener_count; i++)
		keep_descriptor(handover->listeners[i].fd, keep);
	for (size_t i = 0; i < handover->child_count; i++) {
		keep_descriptor(handover->children[i].parent_fd, keep);
		keep_descriptor(handover->children[i].health_fd, keep);
	}
}

static int
read_listener(struct handover *handover, const char *line)
{
	struct handover_listener listener = { 0 };
	char text[INET6_ADDRSTRLEN];
	unsigned port;

	if (sscanf(line, "listener %d %45s %u", &listener.fd, text, &port) !=
		3 ||
	    port > 65535)
		return -1;
	if (inet_pton(AF_INET, text, &listener.address.in.sin_addr) == 1)
		listener.address.any.sa_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &listener.address.in6.sin6_addr) ==
		 1)
		listener.address.any.sa_family = AF_INET6;
	else
		return -1;
	address_set_port(&listener.address, (uint16_t)port);
	handover_add_listener(handover, listener);
	return 0;
}

static int
read_line(struct handover *handover, const char *line)
{
	struct child child = { 0 };
	int role, pid;

	if (sscanf(line, "generation %u", &handover->generation) == 1 ||
	    sscanf(line, "stats %d", &handover->stats_fd) == 1 ||
	    sscanf(line, "control %d", &handover->control_fd) == 1)
		return 0;
	if (sscanf(line, "child %d %d %u %d %d %d", &role, &pid,
		&child.generation, &child.slot, &child.parent_fd,
		&child.health_fd) != 6)
		return read_listener(handover, line);
	child.role = (enum child_role)role;
	child.pid = pid;
	handover_add_child(handover, child);
	return 0;
}

int
handover_read(struct handover *handover, const char **why)
{
	const char *number = getenv(HANDOVER_VARIABLE);
	char line[LINE_SIZE];
	FILE *file;

	*handover = (struct handover){ .stats_fd = -1, .control_fd = -1 };
	if (!number)
		return 0;
	file = fdopen((int)strtol(number, NULL, 10), "r");
	unsetenv(HANDOVER_VARIABLE);
	if (!file || fseek(file, 0, SEEK_SET) < 0 ||
	    !fgets(line, sizeof(line), file) ||
	    strcmp(line, HANDOVER_FORMAT) != 0) {
		*why = "the handover of the program before is not understood";
		return -1;
	}
	while (fgets(line, sizeof(line), file)) {
		if (read_line(handover, line) < 0) {
			*why =
			    "the handover of the program before has a bad line";
			fclose(file);
			return -1;
		}
	}
	fclose(file);
	handover_keep(handover, false);
	return 0;
}
