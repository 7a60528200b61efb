/*
 * tls_files: the folder of certificates, and whether any file changed that TLS
 * is made of.
 *
 * In the folder NAME.pem has certificate, chain and key, or its key lies beside
 * it in NAME.key; NAME.crt has certificate and chain, NAME.key the key. Other
 * names, and such as begin with a dot, are of no concern.
 */
#ifndef PROXY_TLS_FILES_H
#define PROXY_TLS_FILES_H

#include <stdint.h>

#include "proxy/config.h"

#define TLS_FILES_MAX 4096 /* certificates in the folder */

typedef void tls_file(void *context, const char *certificate, const char *key);

/* Each certificate of the folder, in the order of names. 0; or -1 with *why
 * (static text). */
int tls_files_each(
    const char *folder, tls_file *file, void *context, const char **why);

/*
 * A number that is another one when a file of TLS was written, replaced, added
 * or taken away. Reads no file.
 */
uint64_t tls_files_digest(const struct config *config);

#endif
