#include "kdc-plugin/nearest.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "lib/buf.h"

#define NEAREST_ADDRESS_MAX 64

/* 0, or -1 when the text is no address. */
static int
nearest_address(
    struct slice text, uint16_t port, struct sockaddr_storage *address)
{
	struct buf string = buf_bounded(NEAREST_ADDRESS_MAX);
	struct sockaddr_in *four = (struct sockaddr_in *)address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
	int result = -1;

	*address = (struct sockaddr_storage){ 0 };
	if (buf_add_slice(&string, text) != 0)
		return -1;
	if (inet_pton(AF_INET, buf_string(&string), &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		result = 0;
	} else if (inet_pton(AF_INET6, buf_string(&string), &six->sin6_addr) ==
		   1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		result = 0;
	}
	buf_free(&string);
	return result;
}

/* What the last transition that has passed says, else the wish. */
static bool
nearest_is_up(const struct cell *cell, struct slice name, int64_t now_us)
{
	const struct host *host =
	    cell ? cell_host(cell, HOST_OTHER, name) : NULL;
	enum host_state state;

	if (!host)
		return true;
	state = host->state;
	for (size_t i = 0; i < host->transition_count; i++)
		if (host->transitions[i].time_us <= now_us)
			state = host->transitions[i].state;
	return state == HOST_UP;
}

/* False for a line of another service or realm, or of none. */
static bool
nearest_take(struct nearest *server, struct slice line, struct slice service,
    struct slice realm, struct slice site, const struct cell *cell,
    int64_t now_us)
{
	struct slice words[6] = { { NULL, 0 } };
	size_t count = 0;
	uint64_t port;

	while (count < ARRAY_SIZE(words) &&
	       slice_next_word(&line, ' ', &words[count]))
		count++;
	if (count < 5 || slice_trim(line).size > 0 ||
	    !slice_equal(words[0], service) || !slice_equal(words[1], realm) ||
	    slice_to_uint(words[3], UINT16_MAX, &port) != 0 || port == 0 ||
	    nearest_address(words[2], (uint16_t)port, &server->address) != 0)
		return false;
	if (!nearest_is_up(cell, words[4], now_us))
		server->rank = 2;
	else
		server->rank =
		    site.size > 0 && slice_equal_nocase(words[5], site) ? 0 : 1;
	return true;
}

/* Stable, and there are few. */
static void
nearest_insert(struct nearest *servers, size_t count, struct nearest server)
{
	while (count > 0 && servers[count - 1].rank > server.rank) {
		servers[count] = servers[count - 1];
		count--;
	}
	servers[count] = server;
}

size_t
nearest_find(struct nearest servers[NEAREST_MAX], struct slice file,
    struct slice service, struct slice realm, struct slice site,
    const struct cell *cell, int64_t now_us)
{
	struct slice line;
	size_t count = 0;

	while (count < NEAREST_MAX && slice_next_word(&file, '\n', &line)) {
		struct nearest server;
		size_t hash = slice_find(line, '#');

		line = slice_trim(
		    hash == SIZE_MAX ? line : slice_first(line, hash));
		if (nearest_take(
			&server, line, service, realm, site, cell, now_us))
			nearest_insert(servers, count++, server);
	}
	return count;
}
