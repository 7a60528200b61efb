#include "replica/realm.h"

#include <arpa/inet.h>

#include "lib/endpoint.h"

#define REALM_NAME_MAX 256

static const char *
realm_word(enum service_kind kind)
{
	if (kind == SERVICE_KERBEROS)
		return "kdc";
	return kind == SERVICE_KPASSWD ? "kpasswd" : NULL;
}

static bool
realm_is_address(struct slice host)
{
	struct endpoint endpoint;

	return endpoint_parse(&endpoint, host, 1) == 0;
}

void
realm_names(const struct cell *cell, realm_name *each, void *context)
{
	struct buf name = buf_bounded(REALM_NAME_MAX);
	size_t count;
	const struct host *hosts = cell_hosts(cell, &count);

	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < hosts[i].service_count; j++) {
			const struct service *service = &hosts[i].services[j];

			if (!realm_word(service->kind) ||
			    realm_is_address(service->host))
				continue;
			buf_clear(&name);
			if (buf_add_slice(&name, service->host) == 0)
				each(context, buf_string(&name));
		}
	}
	buf_free(&name);
}

static void
realm_add_word(struct buf *out, struct slice word)
{
	bool clean = word.size > 0 && slice_is_printable(word) &&
		     slice_find(word, ' ') == SIZE_MAX &&
		     slice_find(word, '#') == SIZE_MAX;

	(void)buf_add_char(out, ' ');
	(void)buf_add_slice(out, clean ? word : slice_from("-"));
}

static bool
realm_is_up(const struct host *host, int64_t now_us, int64_t *next_us)
{
	enum host_state state = host->state;

	for (size_t i = 0; i < host->transition_count; i++) {
		const struct transition *each = &host->transitions[i];

		if (each->time_us <= now_us)
			state = each->state;
		else if (each->time_us < *next_us)
			*next_us = each->time_us;
	}
	return state == HOST_UP;
}

struct realm_line {
	const char *service;
	struct slice realm;
	const struct host *host;
	uint16_t port;
	bool up;
};

static void
realm_add_line(
    struct buf *out, const struct realm_line *line, struct slice address)
{
	(void)buf_add_string(out, line->service);
	realm_add_word(out, line->realm);
	realm_add_word(out, address);
	(void)buf_printf(out, " %u", line->port);
	realm_add_word(out, line->host->name);
	realm_add_word(out, line->host->site);
	(void)buf_add_string(out, line->up ? " up\n" : " down\n");
}

static void
realm_add_service(struct buf *out, struct realm_line *line,
    const struct service *service, const struct addresses *addresses)
{
	const struct addresses_name *name;

	line->service = realm_word(service->kind);
	line->port = service->port;
	if (!line->service)
		return;
	if (realm_is_address(service->host)) {
		realm_add_line(out, line, service->host);
		return;
	}
	name = addresses_find(addresses, service->host);
	for (size_t i = 0; name && i < name->count; i++)
		realm_add_line(out, line, slice_from(name->texts[i]));
}

int
realm_format(struct buf *out, struct slice realm, const struct cell *cell,
    const struct addresses *addresses, int64_t now_us, int64_t *next_us)
{
	size_t count;
	const struct host *hosts = cell_hosts(cell, &count);

	*next_us = INT64_MAX;
	for (size_t i = 0; i < count; i++) {
		struct realm_line line = { .realm = realm,
			.host = &hosts[i],
			.up = realm_is_up(&hosts[i], now_us, next_us) };

		for (size_t j = 0; j < hosts[i].service_count; j++)
			realm_add_service(
			    out, &line, &hosts[i].services[j], addresses);
	}
	return out->failed ? -1 : 0;
}
