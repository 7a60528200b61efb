#include "kdc-plugin/configured.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "lib/endpoint.h"

static const struct configured_row {
	const char *name, *service;
	uint16_t port;
} configured_rows[] = {
	{ "kdc", "kdc", 88 },
	{ "kpasswd_server", "kpasswd", 464 },
};

/* Without the protocol that may stand before it: "udp/192.0.2.1:88". */
static struct slice
configured_host(const char *text)
{
	static const char *const protocols[] = { "udp/", "tcp/" };
	struct slice host = slice_from(text);

	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (slice_starts_nocase(host, protocols[i]))
			return slice_from_offset(host, 4);
	return host;
}

static void
configured_add(struct buf *out, const char *realm,
    const struct configured_row *row, const char *text)
{
	struct endpoint place;
	const struct sockaddr_in *four =
	    (const struct sockaddr_in *)&place.address;
	const struct sockaddr_in6 *six =
	    (const struct sockaddr_in6 *)&place.address;
	char address[INET6_ADDRSTRLEN];
	bool is_four;

	if (endpoint_parse(&place, configured_host(text), row->port) != 0)
		return;
	is_four = place.address.ss_family == AF_INET;
	if (inet_ntop(place.address.ss_family,
		is_four ? (const void *)&four->sin_addr
			: (const void *)&six->sin6_addr,
		address, sizeof(address)))
		(void)buf_printf(out, "%s %s %s %u -\n", row->service, realm,
		    address, ntohs(is_four ? four->sin_port : six->sin6_port));
}

static void
configured_realm(krb5_context context, struct buf *out, const char *realm)
{
	for (size_t i = 0; i < ARRAY_SIZE(configured_rows); i++) {
		char **values = krb5_config_get_strings(context, NULL, "realms",
		    realm, configured_rows[i].name, NULL);

		for (size_t j = 0; values && values[j]; j++)
			configured_add(
			    out, realm, &configured_rows[i], values[j]);
		krb5_config_free_strings(values);
	}
}

void
configured_servers(krb5_context context, struct buf *out)
{
	const krb5_config_binding *realm =
	    krb5_config_get_list(context, NULL, "realms", NULL);

	for (; realm; realm = realm->next)
		if (realm->type == krb5_config_list)
			configured_realm(context, out, realm->name);
}
