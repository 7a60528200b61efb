#include "proxy/tls_files.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

static bool
has_ending(const char *name, const char *ending)
{
	size_t size = strlen(name), end = strlen(ending);

	return size > end && strcmp(name + size - end, ending) == 0;
}

static int
is_certificate(const struct dirent *entry)
{
	return entry->d_name[0] != '.' &&
	       (has_ending(entry->d_name, ".pem") ||
		   has_ending(entry->d_name, ".crt"));
}

static void
pass_on(const char *folder, const char *name, tls_file *file, void *context)
{
	char certificate[PATH_MAX], key[PATH_MAX];
	int stem = (int)strlen(name) - 4;
	int size =
	    snprintf(certificate, sizeof(certificate), "%s/%s", folder, name);

	if (size < 0 || (size_t)size >= sizeof(certificate))
		return;
	(void)snprintf(key, sizeof(key), "%s/%.*s.key", folder, stem, name);
	if (has_ending(name, ".pem") && access(key, F_OK) < 0)
		file(context, certificate, certificate);
	else
		file(context, certificate, key);
}

int
tls_files_each(
    const char *folder, tls_file *file, void *context, const char **why)
{
	struct dirent **names = NULL;
	int count = scandir(folder, &names, is_certificate, alphasort);

	if (count < 0) {
		*why = strerrordesc_np(errno);
		return -1;
	}
	for (int i = 0; i < count; i++) {
		if (count <= TLS_FILES_MAX)
			pass_on(folder, names[i]->d_name, file, context);
		free(names[i]);
	}
	free((void *)names);
	*why = "has too many certificates";
	return count <= TLS_FILES_MAX ? 0 : -1;
}

/* ---- changes ---- */

/* What is looked at of one file; all zeros when it is not there. */
struct look {
	uint64_t device, inode, size;
	int64_t seconds, nanoseconds;
};

static void
digest_file(XXH64_state_t *state, const char *path)
{
	struct look look;
	struct stat status;

	if (!path)
		return;
	memset(&look, 0, sizeof(look));
	if (stat(path, &status) == 0) {
		look.device = status.st_dev;
		look.inode = status.st_ino;
		look.size = (uint64_t)status.st_size;
		look.seconds = status.st_mtim.tv_sec;
		look.nanoseconds = status.st_mtim.tv_nsec;
	}
	XXH64_update(state, path, strlen(path));
	XXH64_update(state, &look, sizeof(look));
}

static void
digest_pair(void *context, const char *certificate, const char *key)
{
	digest_file(context, certificate);
	digest_file(context, key);
}

uint64_t
tls_files_digest(const struct config *config)
{
	const struct config_tls *tls = &config->tls;
	XXH64_state_t *state = XXH64_createState();
	const char *why;
	uint64_t digest;

	if (!state)
		abort();
	XXH64_reset(state, 0);
	digest_pair(state, tls->certificate, tls->key);
	digest_pair(state, tls->alt_certificate, tls->alt_key);
	digest_pair(state, tls->ticket_keys, tls->client_ca);
	digest_file(state, config->backend.ca_file);
	if (tls->certificates)
		(void)tls_files_each(
		    tls->certificates, digest_pair, state, &why);
	digest = XXH64_digest(state);
	XXH64_freeState(state);
	return digest;
}
