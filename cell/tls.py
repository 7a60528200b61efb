"""The cell's own certificate authorities, new with each cell: one for its hosts,
one for its people."""

from server import run

DAYS = "30"
# Nothing of the machine's settings for OpenSSL.
SETTINGS = "[req]\ndistinguished_name = name\n[name]\n"


def begin(folder):
    folder.mkdir(mode=0o700)
    (folder / "openssl.conf").write_text(SETTINGS)


def make(folder, name, certificate, subject, extensions, issuer=()):
    """A new key, folder/NAME.key, and its certificate."""
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", DAYS, "-config",
         folder / "openssl.conf", "-subj", subject, *issuer,
         "-keyout", folder / f"{name}.key", "-out", certificate,
         *(word for extension in extensions
           for word in ("-addext", extension))])


def make_authority(folder, certificate, name="ca"):
    make(folder, name, certificate, f"/O=Postcell demo cell/CN=cell.test {name}",
         ["basicConstraints=critical,CA:TRUE", "subjectKeyIdentifier=hash",
          "keyUsage=critical,keyCertSign,cRLSign"])


def issue(folder, authority, issuer, name, subject, extensions):
    make(folder, name, folder / f"{name}.pem", f"/CN={subject}",
         ["basicConstraints=critical,CA:FALSE",
          "keyUsage=critical,digitalSignature", *extensions],
         ["-CA", authority, "-CAkey", folder / f"{issuer}.key"])


def make_certificate(folder, authority, name, host, names, addresses):
    """folder/NAME.pem and NAME.key for a host, its other names and addresses."""
    alternatives = ([f"DNS:{other}" for other in [host, *names]]
                    + [f"IP:{address}" for address in addresses])
    issue(folder, authority, "ca", name, host,
          [f"subjectAltName={','.join(alternatives)}",
           "extendedKeyUsage=serverAuth,clientAuth"])


def make_personal_certificate(folder, authority, uid, path):
    """Of somebody, with the key, in one file."""
    issue(folder, authority, "people", uid, uid,
          ["extendedKeyUsage=clientAuth"])
    certificate, key = folder / f"{uid}.pem", folder / f"{uid}.key"
    path.touch(mode=0o600)
    path.write_text(certificate.read_text() + key.read_text())
    certificate.unlink()
    key.unlink()
