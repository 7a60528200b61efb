#include "ctl/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "ctl/ctl.h"
#include "ctl/facts.h"
#include "ctl/file.h"

#define FORMAT    "postcell backup 1"
#define PATH_SIZE 4096
#define PIECE     65536
#define SUM_SIZE  32
#define MODE_MAX  0777

/* ---- sums ---- */

static int
add_file(EVP_MD_CTX *context, const char *path, json_int_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	unsigned char piece[PIECE];
	ssize_t got = fd < 0 ? -1 : 1;

	*size = 0;
	while (got > 0) {
		got = read(fd, piece, sizeof(piece));
		if (got > 0 && !EVP_DigestUpdate(context, piece, (size_t)got))
			abort();
		*size += got > 0 ? got : 0;
	}
	if (got < 0)
		ctl_complain(path, strerrordesc_np(errno));
	if (fd >= 0)
		(void)close(fd);
	explicit_bzero(piece, sizeof(piece));
	return got < 0 ? EX_NOINPUT : EX_OK;
}

/* SHA-256 in hexadecimal. */
static int
sum_file(const char *path, json_int_t *size, struct buf *out)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned int count = 0;
	int code;

	if (!context || !EVP_DigestInit_ex(context, EVP_sha256(), NULL))
		abort();
	code = add_file(context, path, size);
	if (!EVP_DigestFinal_ex(context, sum, &count))
		abort();
	for (unsigned i = 0; i < count; i++)
		(void)buf_printf(out, "%02x", sum[i]);
	EVP_MD_CTX_free(context);
	return code;
}

/* ---- making one ---- */

json_t *
manifest_new(void)
{
	json_t *manifest = json_pack("{s:s, s:[]}", "format", FORMAT, "files");

	if (!manifest)
		abort();
	return manifest;
}

int
manifest_add(
    json_t *manifest, const char *folder, const char *name, unsigned mode)
{
	struct buf path = buf_bounded(PATH_SIZE), sum = buf_bounded(PATH_SIZE);
	json_int_t size = 0;
	int code;

	(void)buf_printf(&path, "%s/%s", folder, name);
	code = sum_file(buf_string(&path), &size, &sum);
	if (code == EX_OK &&
	    json_array_append_new(json_object_get(manifest, "files"),
		json_pack("{s:s, s:I, s:i, s:s}", "name", name, "size", size,
		    "mode", (int)mode, "sha256", buf_string(&sum))) < 0)
		abort();
	buf_free(&path);
	buf_free(&sum);
	return code;
}

int
manifest_write(const json_t *manifest, const char *folder)
{
	struct buf path = buf_bounded(PATH_SIZE);
	char *text = json_dumps(manifest, JSON_INDENT(1));
	int code;

	if (!text)
		abort();
	(void)buf_printf(&path, "%s/" MANIFEST_FILE, folder);
	code = file_write(buf_string(&path), 0600, slice_from(text));
	free(text);
	buf_free(&path);
	return code;
}

/* ---- reading one ---- */

static int
damaged(const char *path, const char *why)
{
	ctl_complain(path, why);
	return EX_DATAERR;
}

/* Whoever altered it must not lead anywhere else. */
static bool
is_plain_name(const char *name)
{
	if (name[0] == '\0' || name[0] == '/' || strstr(name, ".."))
		return false;
	for (; *name; name++)
		if ((unsigned char)*name <= ' ' || *name == '\\' ||
		    (unsigned char)*name >= 0x7f)
			return false;
	return true;
}

static int
verify_file(const json_t *file, const char *folder)
{
	const char *name = facts_get(file, "name");
	const json_t *size = json_object_get(file, "size");
	json_int_t mode = json_integer_value(json_object_get(file, "mode"));
	struct buf path = buf_bounded(PATH_SIZE), sum = buf_bounded(PATH_SIZE);
	json_int_t found = 0;
	int code;

	(void)buf_printf(&path, "%s/%s", folder, name);
	if (!is_plain_name(name) || !json_is_integer(size) || mode < 0 ||
	    mode > MODE_MAX)
		code = damaged(folder, "its manifest is damaged");
	else
		code = sum_file(buf_string(&path), &found, &sum);
	if (code == EX_NOINPUT)
		code = EX_DATAERR;
	if (code == EX_OK && found != json_integer_value(size))
		code = damaged(
		    buf_string(&path), found < json_integer_value(size)
					   ? "is cut: it has been longer"
					   : "is longer than it was");
	else if (code == EX_OK &&
		 strcmp(buf_string(&sum), facts_get(file, "sha256")) != 0)
		code = damaged(
		    buf_string(&path), "is not what it was: its sum differs");
	buf_free(&path);
	buf_free(&sum);
	return code;
}

static int
verify(const json_t *manifest, const char *folder, bool says)
{
	const json_t *files = json_object_get(manifest, "files");
	size_t count = json_array_size(files);
	json_t *file;
	size_t i;
	int code = EX_OK;

	json_array_foreach(files, i, file)
	{
		if (says)
			(void)fprintf(stderr, "verifying %zu of %zu: %s\n",
			    i + 1, count, facts_get(file, "name"));
		if (code == EX_OK)
			code = verify_file(file, folder);
	}
	return code;
}

static bool
has_all(const json_t *manifest)
{
	static const char *const names[] = { "time", "realm", "suffix", "name",
		"etc", "state", "run", "slapd_run", "log", "local_uri" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (facts_get(manifest, names[i])[0] == '\0')
			return false;
	return json_is_boolean(json_object_get(manifest, "secrets")) &&
	       json_array_size(json_object_get(manifest, "files")) > 0;
}

int
manifest_read(json_t **out, const char *folder, bool says)
{
	struct buf path = buf_bounded(PATH_SIZE);
	json_t *manifest = NULL;
	json_error_t error;
	int code = EX_OK;

	(void)buf_printf(&path, "%s/" MANIFEST_FILE, folder);
	if (access(buf_string(&path), R_OK) != 0) {
		ctl_complain(buf_string(&path), strerrordesc_np(errno));
		code = EX_NOINPUT;
	} else {
		manifest = json_load_file(buf_string(&path), 0, &error);
		if (!manifest ||
		    strcmp(facts_get(manifest, "format"), FORMAT) != 0)
			code = damaged(buf_string(&path),
			    "is no manifest of a backup, or a part of one");
		else if (!has_all(manifest))
			code = damaged(buf_string(&path), "is damaged");
	}
	if (code == EX_OK)
		code = verify(manifest, folder, says);
	if (code != EX_OK) {
		json_decref(manifest);
		manifest = NULL;
	}
	*out = manifest;
	buf_free(&path);
	return code;
}
