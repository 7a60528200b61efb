#include "ctl/authority.h"

#include <arpa/inet.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "ctl/ctl.h"
#include "ctl/tool.h"

#define TEXT_MAX 4096
#define DAYS     "3650"

/* Words that all calls share: a new key, in a file of its own. */
#define NEW_KEY                                                                \
	"req", "-x509", "-newkey", "ec", "-pkeyopt",                           \
	    "ec_paramgen_curve:P-256", "-nodes", "-sha256", "-days", DAYS

int
authority_make(const char *folder, const char *domain)
{
	struct buf certificate = buf_bounded(TEXT_MAX);
	struct buf key = buf_bounded(TEXT_MAX);
	struct buf subject = buf_bounded(TEXT_MAX);
	int code;

	(void)buf_printf(&certificate, "%s/ca.pem", folder);
	(void)buf_printf(&key, "%s/ca.key", folder);
	(void)buf_printf(&subject, "/O=%.50s/CN=Postcell authority", domain);
	code = tool_run(&(struct tool){ .name = "openssl",
	    .words = { NEW_KEY, "-out", buf_string(&certificate), "-keyout",
		buf_string(&key), "-subj", buf_string(&subject), "-addext",
		"keyUsage=critical,keyCertSign,cRLSign" } });
	if (code == EX_OK)
		(void)chmod(buf_string(&certificate), 0644);
	buf_free(&certificate);
	buf_free(&key);
	buf_free(&subject);
	return code;
}

static bool
is_address(const char *host)
{
	struct in6_addr address;

	return inet_pton(AF_INET, host, &address) == 1 ||
	       inet_pton(AF_INET6, host, &address) == 1;
}

int
authority_certify(
    const char *from, const char *folder, const char *name, const char *host)
{
	struct buf ca = buf_bounded(TEXT_MAX), ca_key = buf_bounded(TEXT_MAX);
	struct buf certificate = buf_bounded(TEXT_MAX);
	struct buf key = buf_bounded(TEXT_MAX);
	struct buf subject = buf_bounded(TEXT_MAX);
	struct buf names = buf_bounded(TEXT_MAX);
	int code;

	(void)buf_printf(&ca, "%s/ca.pem", from);
	(void)buf_printf(&ca_key, "%s/ca.key", from);
	(void)buf_printf(&certificate, "%s/%s.pem", folder, name);
	(void)buf_printf(&key, "%s/%s.key", folder, name);
	(void)buf_printf(&subject, "/CN=%.64s", host);
	(void)buf_printf(&names, "subjectAltName=%s:%s",
	    is_address(host) ? "IP" : "DNS", host);
	code = tool_run(&(struct tool){ .name = "openssl",
	    .words = { NEW_KEY, "-CA", buf_string(&ca), "-CAkey",
		buf_string(&ca_key), "-out", buf_string(&certificate),
		"-keyout", buf_string(&key), "-subj", buf_string(&subject),
		"-addext", buf_string(&names), "-addext",
		"basicConstraints=critical,CA:FALSE", "-addext",
		"keyUsage=critical,digitalSignature", "-addext",
		"extendedKeyUsage=serverAuth,clientAuth" } });
	if (code == EX_OK)
		(void)chmod(buf_string(&certificate), 0644);
	buf_free(&ca);
	buf_free(&ca_key);
	buf_free(&certificate);
	buf_free(&key);
	buf_free(&subject);
	buf_free(&names);
	return code;
}
