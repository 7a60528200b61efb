"""The cell's own certificate authority, new with each cell."""

from server import run

DAYS = "30"


def new_key(path):
    run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-out", path])


def make_authority(folder, ca_file):
    folder.mkdir(mode=0o700)
    key = folder / "ca.key"
    new_key(key)
    run(["openssl", "req", "-x509", "-new", "-key", key, "-out", ca_file,
         "-days", DAYS, "-subj", "/O=Postcell demo cell/CN=cell.test CA",
         "-addext", "basicConstraints=critical,CA:TRUE",
         "-addext", "keyUsage=critical,keyCertSign,cRLSign"])


def make_certificate(folder, ca_file, name, host, names, addresses):
    """folder/NAME.pem and NAME.key for a host, its other names and addresses."""
    key, request = folder / f"{name}.key", folder / f"{name}.csr"
    new_key(key)
    run(["openssl", "req", "-new", "-key", key, "-out", request,
         "-subj", f"/CN={host}"])
    alternatives = ([f"DNS:{other}" for other in [host, *names]]
                    + [f"IP:{address}" for address in addresses])
    extensions = folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName={','.join(alternatives)}\n"
                          "keyUsage=critical,digitalSignature\n"
                          "extendedKeyUsage=serverAuth,clientAuth\n")
    run(["openssl", "x509", "-req", "-in", request, "-CA", ca_file,
         "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", DAYS,
         "-extfile", extensions, "-out", folder / f"{name}.pem"])
    request.unlink()
    extensions.unlink()
