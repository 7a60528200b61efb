#include "proxy/handover.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/slice.h"

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
	(void)fputs(HANDOVER_FORMAT, file);
	(void)fprintf(file, "generation %u\n", handover->generation);
	(void)fprintf(file, "stats %d\ncontrol %d\n", handover->stats_fd,
	    handover->control_fd);
	for (size_t i = 0; i < handover->listener_count; i++) {
		const struct handover_listener *listener =
		    &handover->listeners[i];

		address_text(&listener->address, text, sizeof(text));
		(void)fprintf(file, "listener %d %s %u\n", listener->fd, text,
		    address_port(&listener->address));
	}
	for (size_t i = 0; i < handover->child_count; i++) {
		const struct child *child = &handover->children[i];

		(void)fprintf(file, "child %d %d %u %d %d %d\n",
		    (int)child->role, (int)child->pid, child->generation,
		    child->slot, child->parent_fd, child->health_fd);
	}
	if (fclose(file) != 0) {
		*why = "the handover could not be written";
		close(fd);
		return -1;
	}
	(void)snprintf(number, sizeof(number), "%d", fd);
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

/* The next word of a line as a number; negative ones stand for "none". */
static int
read_number(struct slice *rest, int *number)
{
	struct slice word;
	uint64_t value;
	bool negative;

	if (!slice_next_word(rest, ' ', &word))
		return -1;
	negative = word.data[0] == '-';
	if (slice_to_uint(slice_from_offset(word, negative), INT_MAX, &value) <
	    0)
		return -1;
	*number = negative ? -1 : (int)value;
	return 0;
}

static int
read_listener(struct handover *handover, struct slice rest)
{
	struct handover_listener listener = { 0 };
	char text[INET6_ADDRSTRLEN];
	struct slice address;
	int port;

	if (read_number(&rest, &listener.fd) < 0 ||
	    !slice_next_word(&rest, ' ', &address) ||
	    address.size >= sizeof(text) || read_number(&rest, &port) < 0 ||
	    port < 0 || port > UINT16_MAX)
		return -1;
	memcpy(text, address.data, address.size);
	text[address.size] = '\0';
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
read_child(struct handover *handover, struct slice rest)
{
	struct child child = { 0 };
	int role, generation;

	if (read_number(&rest, &role) < 0 ||
	    read_number(&rest, &child.pid) < 0 ||
	    read_number(&rest, &generation) < 0 ||
	    read_number(&rest, &child.slot) < 0 ||
	    read_number(&rest, &child.parent_fd) < 0 ||
	    read_number(&rest, &child.health_fd) < 0)
		return -1;
	child.role = (enum child_role)role;
	child.generation = (uint32_t)generation;
	handover_add_child(handover, child);
	return 0;
}

static int
read_line(struct handover *handover, struct slice line)
{
	struct slice rest = line, word;
	int number;

	if (!slice_next_word(&rest, ' ', &word))
		return -1;
	if (slice_is(word, "listener"))
		return read_listener(handover, rest);
	if (slice_is(word, "child"))
		return read_child(handover, rest);
	if (read_number(&rest, &number) < 0)
		return -1;
	if (slice_is(word, "generation"))
		handover->generation = (uint32_t)number;
	else if (slice_is(word, "stats"))
		handover->stats_fd = number;
	else if (slice_is(word, "control"))
		handover->control_fd = number;
	else
		return -1;
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
		size_t size = strcspn(line, "\n");

		if (read_line(handover, slice_of(line, size)) < 0) {
			*why =
			    "the handover of the program before has a bad line";
			(void)fclose(file);
			return -1;
		}
	}
	(void)fclose(file);
	handover_keep(handover, false);
	return 0;
}
