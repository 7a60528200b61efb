/*
 * locate: postcell_locate.so, the service locator of Kerberos clients.
 *
 * libkrb5 asks it before its own configuration and DNS. It knows the servers
 * from a small file, or from krb5.conf where that has addresses, and who of
 * them answers from its own experience; where it has none it asks them all at
 * once. It resolves no names, waits no longer than its patience, and lets
 * others answer when it knows nothing.
 *
 * libkrb5 makes it once a process and uses it from any thread; it may be loaded
 * into any program.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <krb5.h>
#include <krb5/locate_plugin.h>

#include "kdc-plugin/ask.h"
#include "kdc-plugin/configured.h"
#include "kdc-plugin/locate_options.h"
#include "kdc-plugin/nearest.h"
#include "kdc-plugin/private_file.h"
#include "lib/buf.h"

#define LOCATE_EXPORT __attribute__((visibility("default")))
#define LOCATE_MEMORY "postcell-kdcs"

struct locate {
	char *kdcs, *site, *memory; /* owned */
	int memory_time, patience;
	struct buf configured; /* what krb5.conf says, as nearest.h has it */
	pthread_mutex_t lock;  /* of what follows */
	struct experience experience;
};

/* What a thread works with while it looks up. */
struct locate_view {
	struct nearest servers[NEAREST_MAX];
	size_t count;
	struct experience experience;
	int64_t now_s;
};

static void
locate_fini(void *data)
{
	struct locate *locate = data;

	if (!locate)
		return;
	free(locate->kdcs);
	free(locate->site);
	free(locate->memory);
	buf_free(&locate->configured);
	(void)pthread_mutex_destroy(&locate->lock);
	free(locate);
}

static krb5_error_code
locate_fill(krb5_context context, struct locate *locate)
{
	struct locate_options options;
	krb5_error_code code = locate_options_read(context, &options);

	if (code != 0)
		return code;
	/* The context may end before us. */
	locate->kdcs = strdup(options.kdcs);
	locate->site = strdup(options.site);
	locate->memory = strdup(options.memory);
	locate->memory_time = options.memory_time;
	locate->patience = options.patience;
	configured_servers(context, &locate->configured);
	return locate->kdcs && locate->site && locate->memory
		   ? 0
		   : krb5_enomem(context);
}

static krb5_error_code
locate_init(krb5_context context, void **data)
{
	struct locate *locate = calloc(1, sizeof(*locate));
	krb5_error_code code;

	*data = NULL;
	if (!locate)
		return krb5_enomem(context);
	(void)pthread_mutex_init(&locate->lock, NULL);
	locate->configured = buf_bounded(NEAREST_TEXT_MAX);
	code = locate_fill(context, locate);
	if (code == 0)
		*data = locate;
	else
		locate_fini(locate);
	return code;
}

/* The whole file, unless others than its owner may write it; -1 for none. */
static int
locate_read(const char *path, struct buf *text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	char *room = buf_reserve(text, NEAREST_TEXT_MAX);
	struct stat status;
	ssize_t size = -1;

	if (fd >= 0 && room && fstat(fd, &status) == 0 &&
	    S_ISREG(status.st_mode) &&
	    (status.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		size = read(fd, room, NEAREST_TEXT_MAX);
	if (fd >= 0)
		(void)close(fd);
	if (size < 0)
		return -1;
	buf_grow(text, (size_t)size);
	return 0;
}

static void
locate_find(const struct locate *locate, struct locate_view *view,
    const struct nearest_wish *wish)
{
	struct buf text = buf_bounded(NEAREST_TEXT_MAX);

	if (locate_read(locate->kdcs, &text) == 0)
		view->count =
		    nearest_find(view->servers, buf_slice(&text), wish);
	if (view->count == 0)
		view->count = nearest_find(
		    view->servers, buf_slice(&locate->configured), wish);
	buf_free(&text);
}

static void
locate_recall(const struct locate *locate, struct locate_view *view,
    const struct nearest_wish *wish)
{
	for (size_t i = 0; i < view->count; i++)
		view->servers[i].said = experience_of(&view->experience,
		    wish->service, &view->servers[i].place, view->now_s,
		    locate->memory_time);
	nearest_sort(view->servers, view->count);
}

static void
locate_remember(const struct locate *locate, struct locate_view *view,
    const struct nearest_wish *wish)
{
	struct buf text = buf_bounded(EXPERIENCE_TEXT_MAX);

	for (size_t i = 0; i < view->count; i++) {
		struct experience_item item = { .service = wish->service,
			.place = view->servers[i].place,
			.time_s = view->now_s,
			.word = view->servers[i].said };

		/* Who was known to be silent was not asked. */
		if (item.word != EXPERIENCE_NONE &&
		    experience_of(&view->experience, item.service, &item.place,
			view->now_s, locate->memory_time) != EXPERIENCE_SILENT)
			experience_note(&view->experience, &item);
	}
	if (locate->memory_time > 0 &&
	    experience_write(&text, &view->experience) == 0)
		(void)private_file_write(
		    locate->memory, LOCATE_MEMORY, buf_slice(&text));
	buf_free(&text);
}

/* Sorts them by all that is known, and finds out what is not. */
static void
locate_judge(const struct locate *locate, struct locate_view *view,
    const struct nearest_wish *wish)
{
	struct buf text = buf_bounded(EXPERIENCE_TEXT_MAX);

	locate_recall(locate, view, wish);
	if (view->count < 2 || locate->patience == 0 ||
	    nearest_is_settled(view->servers, view->count))
		return;
	if (private_file_read(locate->memory, LOCATE_MEMORY, &text) == 0) {
		experience_read(&view->experience, buf_slice(&text));
		locate_recall(locate, view, wish);
	}
	buf_free(&text);
	if (nearest_is_settled(view->servers, view->count))
		return;
	ask_servers(
	    view->servers, view->count, wish->service, locate->patience);
	nearest_sort(view->servers, view->count);
	locate_remember(locate, view, wish);
}

static void
locate_work(struct locate *locate, struct locate_view *view,
    const struct nearest_wish *wish)
{
	locate_find(locate, view, wish);
	(void)pthread_mutex_lock(&locate->lock);
	view->experience = locate->experience;
	(void)pthread_mutex_unlock(&locate->lock);
	locate_judge(locate, view, wish);
	(void)pthread_mutex_lock(&locate->lock);
	locate->experience = view->experience;
	(void)pthread_mutex_unlock(&locate->lock);
}

static krb5_error_code
locate_lookup(void *data, unsigned long flags, enum locate_service_type service,
    const char *realm, int domain, int type,
    int (*add)(void *, int, struct sockaddr *), void *context)
{
	struct locate *locate = data;
	bool kdc = service == locate_service_kdc ||
		   service == locate_service_master_kdc;
	struct nearest_wish wish = {
		.service = kdc ? SERVICE_KERBEROS : SERVICE_KPASSWD,
		.realm = slice_from(realm),
		.site = slice_from(locate->site),
	};
	struct locate_view *view;
	size_t count;

	(void)flags;
	(void)domain;
	if (!kdc && service != locate_service_kpasswd)
		return KRB5_PLUGIN_NO_HANDLE;
	view = calloc(1, sizeof(*view));
	if (!view)
		return KRB5_PLUGIN_NO_HANDLE;
	view->now_s = time(NULL);
	locate_work(locate, view, &wish);
	count = view->count;
	for (size_t i = 0; i < count; i++)
		(void)add(context, type,
		    (struct sockaddr *)&view->servers[i].place.address);
	free(view);
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
