"""The cell's own certificate authorities, new with each cell: one for its hosts,
one for its people."""

from server import run

DAYS = "30"


def new_key(path):
    run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-out", path])


def make_authority(folder, ca_file, name="ca"):
    """Its key is folder/NAME.key."""
    key = folder / f"{name}.key"
    new_key(key)
    run(["openssl", "req", "-x509", "-new", "-key", key, "-out", ca_file,
         "-days", DAYS, "-subj", f"/O=Postcell demo cell/CN=cell.test {name}",
         "-addext", "basicConstraints=critical,CA:TRUE",
         "-addext", "keyUsage=critical,keyCertSign,cRLSign"])


def make_certificate(folder, ca_file, name, host, names, addresses):
    """folder/NAME.pem and NAME.key for a host, its other names and addresses."""
    alternatives = ([f"DNS:{other}" for other in [host, *names]]
                    + [f"IP:{address}" for address in addresses])
    issue(folder, ca_file, folder / "ca.key", name, host,
          f"subjectAltName={','.join(alternatives)}\n"
          "extendedKeyUsage=serverAuth,clientAuth\n")


def make_personal_certificate(folder, ca_file, uid, path):
    """Of somebody, with the key, in one file."""
    issue(folder, ca_file, folder / "people.key", uid, uid,
          "extendedKeyUsage=clientAuth\n")
    certificate, key = folder / f"{uid}.pem", folder / f"{uid}.key"
    path.touch(mode=0o600)
    path.write_text(certificate.read_text() + key.read_text())
    certificate.unlink()
    key.unlink()


def issue(folder, ca_file, ca_key, name, subject, extensions):
    key, request = folder / f"{name}.key", folder / f"{name}.csr"
    new_key(key)
    run(["openssl", "req", "-new", "-key", key, "-out", request,
         "-subj", f"/CN={subject}"])
    more = folder / f"{name}.ext"
    more.write_text(f"keyUsage=critical,digitalSignature\n{extensions}")
    run(["openssl", "x509", "-req", "-in", request, "-CA", ca_file,
         "-CAkey", ca_key, "-CAcreateserial", "-days", DAYS,
         "-extfile", more, "-out", folder / f"{name}.pem"])
    request.unlink()
    more.unlink()
