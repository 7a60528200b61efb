/*
 * locate: postcell_locate.so, the service locator of Kerberos clients.
 *
 * libkrb5 asks it before its own configuration and DNS. It reads a small file,
 * and the replica where there is one that it may read, and lets others answer
 * when it knows nothing. It never waits: no names, no network.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <krb5.h>
#include <krb5/locate_plugin.h>

#include "kdc-plugin/nearest.h"
#include "lib/buf.h"
#include "replica/clock.h"
#include "replica/reader.h"

#define LOCATE_EXPORT __attribute__((visibility("default")))

/* Borrowed from the context's configuration. */
struct locate {
	const char *kdcs, *replica, *site;
};

static krb5_error_code
locate_init(krb5_context context, void **data)
{
	struct locate *locate = calloc(1, sizeof(*locate));

	*data = locate;
	if (!locate)
		return krb5_enomem(context);
	locate->kdcs = krb5_config_get_string_default(
	    context, NULL, POSTCELL_STATEDIR "/kdcs", "postcell", "kdcs", NULL);
	locate->replica = krb5_config_get_string_default(context, NULL,
	    POSTCELL_STATEDIR "/replica", "postcell", "replica", NULL);
	locate->site = krb5_config_get_string_default(
	    context, NULL, "", "postcell", "site", NULL);
	return 0;
}

static void
locate_fini(void *data)
{
	free(data);
}

/* The whole file; -1 when there is none. */
static int
locate_read(const char *path, struct buf *text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *room = buf_reserve(text, NEAREST_FILE_MAX);
	ssize_t size = -1;

	if (fd >= 0 && room)
		size = read(fd, room, NEAREST_FILE_MAX);
	if (fd >= 0)
		(void)close(fd);
	if (size < 0)
		return -1;
	buf_grow(text, (size_t)size);
	return 0;
}

/* NULL where the map cannot be had; cell_free(). */
static struct cell *
locate_cell(const char *path)
{
	struct replica *replica = NULL;
	struct cell *cell = NULL;
	uint64_t generation;
	const char *why;

	if (replica_open(&replica, path, &why) == 0)
		(void)replica_cell(replica, &cell, &generation, &why);
	replica_free(&replica);
	return cell;
}

static krb5_error_code
locate_lookup(void *data, unsigned long flags, enum locate_service_type service,
    const char *realm, int domain, int type,
    int (*add)(void *, int, struct sockaddr *), void *context)
{
	const struct locate *locate = data;
	struct buf text = buf_bounded(NEAREST_FILE_MAX);
	bool kdc = service == locate_service_kdc ||
		   service == locate_service_master_kdc;
	struct nearest servers[NEAREST_MAX];
	struct cell *cell = NULL;
	size_t count = 0;

	(void)flags;
	(void)domain;
	if ((kdc || service == locate_service_kpasswd) &&
	    locate_read(locate->kdcs, &text) == 0) {
		cell = locate_cell(locate->replica);
		count = nearest_find(servers, buf_slice(&text),
		    slice_from(kdc ? "kdc" : "kpasswd"), slice_from(realm),
		    slice_from(locate->site), cell, clock_realtime_us());
	}
	for (size_t i = 0; i < count; i++)
		(void)add(
		    context, type, (struct sockaddr *)&servers[i].address);
	cell_free(&cell);
	buf_free(&text);
	return count > 0 ? 0 : KRB5_PLUGIN_NO_HANDLE;
}

static krb5_error_code
locate_lookup_old(void *data, enum locate_service_type service,
    const char *realm, int domain, int type,
    int (*add)(void *, int, struct sockaddr *), void *context)
{
	return locate_lookup(
	    data, 0, service, realm, domain, type, add, context);
}

extern krb5plugin_service_locate_ftable service_locator;

LOCATE_EXPORT krb5plugin_service_locate_ftable service_locator = {
	.minor_version = KRB5_PLUGIN_LOCATE_VERSION_2,
	.init = locate_init,
	.fini = locate_fini,
	.old_lookup = locate_lookup_old,
	.lookup = locate_lookup,
};
