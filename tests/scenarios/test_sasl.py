"""Mechanisms that the proxy passes on message by message, at a real Dovecot.

One Dovecot that knows passwords in the clear (for SCRAM) and a key for tokens
(for OAUTHBEARER and XOAUTH2), and one proxy that offers all of them.
"""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import time

import pytest

from clients import TIMEOUT
from small import Client, House, dovecot_conf, greets, make_certificate

DOVECOT, PROXY = "127.0.73.11", "127.0.73.1"
PORTS = {"imap": 17143, "pop3": 17110, "submission": 17587, "sieve": 17419}
KEY = b"a key for tokens, of this test alone"
MECHANISMS = ("PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "OAUTHBEARER",
              "XOAUTH2")

kinds = pytest.mark.parametrize("kind", PORTS)
scrams = pytest.mark.parametrize("scram", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
tokens = pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])

LDIF = "\n".join([
    "dn: cn=mail,ou=pools,o=x\nobjectClass: postcellPool\ncn: mail\n",
    "dn: cn=mbox,ou=servers,o=x\nobjectClass: postcellServer\ncn: mbox\n"
    "postcellPoolName: mail",
    *(f"postcellService: {kind}://{DOVECOT}:{port}?tls=starttls"
      for kind, port in PORTS.items()), ""])


def account(uid):
    return (f"dn: cn={uid.encode().hex()},o=x\nobjectClass: postcellAccount\n"
            f"uid: {uid}\npostcellPoolName: mail\n")


PASSDBS = """
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {folder}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  args = {folder}/passwd
}}
"""


def make_dovecot(folder):
    (folder / "passwd").write_text("bob:{PLAIN}secret\n"
                                   "a=b,c:{PLAIN}Grüße\n")
    keys = folder / "keys" / "default" / "HS256"
    keys.mkdir(parents=True)
    (keys / "default").write_bytes(base64.b64encode(KEY))
    (folder / "oauth2.conf").write_text(
        "introspection_mode = local\n"
        f"local_validation_key_dict = fs:posix:prefix={folder}/keys/\n"
        "username_attribute = sub\n")
    return dovecot_conf(
        folder, DOVECOT, PORTS,
        "plain login scram-sha-1 scram-sha-256 oauthbearer xoauth2",
        PASSDBS.format(folder=folder))


def make_replicad(folder, build):
    ldif = folder / "cell.ldif"
    ldif.write_text("\n".join([LDIF, account("bob"), account("a=b,c")]))
    conf = folder / "replicad.conf"
    conf.write_text(f'replica = "{folder}/replica"\nmap_size_max = 64\n'
                    f'user = ""\nsource = ldif\nldif_file = "{ldif}"\n')
    return [build / "postcell-replicad", "-c", conf]


def make_proxy(folder, build):
    names = ", ".join(f'"{name}"' for name in MECHANISMS)
    (folder / "empty").mkdir()
    conf = folder / "proxyd.conf"
    conf.write_text(f"""
host_name = "proxy.example.org"
replica = "{folder}/replica"
start_wait = 0
run_dir = "{folder}/proxy"
user = "nobody"
chroot = "{folder}/empty"
relays = 1
failures {{
	delay = 0
}}
tls {{
	certificate = "{folder}/proxy.pem"
	key = "{folder}/proxy.key"
}}
backend {{
	ca_file = "{folder}/server.pem"
}}
""" + "".join(f"""
listen {kind} {{
	addresses = {{ "{PROXY}" }}
	port = {port}
	mechanisms = {{ {names} }}
}}
""" for kind, port in PORTS.items()))
    return [build / "postcell-proxyd", "-c", conf]


@pytest.fixture(scope="module")
def place(build):
    """The folder of what runs."""
    house = House()
    folder = house.folder
    make_certificate(folder, "server", DOVECOT)
    make_certificate(folder, "proxy", PROXY)
    try:
        house.start("replicad", make_replicad(folder, build),
                    lambda: (folder / "replica" / "data.mdb").exists())
        house.start("dovecot", make_dovecot(folder),
                    lambda: all(greets(DOVECOT, port)
                                for port in PORTS.values()))
        house.start("proxyd", make_proxy(folder, build),
                    lambda: all(greets(PROXY, port)
                                for port in PORTS.values()))
        yield folder
        house.check_output("proxyd")
    finally:
        house.stop()


def new_client(place, kind):
    return Client(PROXY, PORTS[kind], kind, place / "proxy.pem")


# -- the clients' side of the mechanisms ------------------------------------


class Scram:
    """RFC 5802 without channel binding: what a client says, and checks."""

    def __init__(self, name, user, password):
        self.hash = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}[name]
        self.password = password.encode()
        escaped = user.replace("=", "=3D").replace(",", "=2C")
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.bare = f"n={escaped},r={self.nonce}"
        self.first = f"n,,{self.bare}".encode()
        self.verified = False

    def mac(self, key, text):
        return hmac.digest(key, text, self.hash)

    def answer(self, challenge):
        if challenge.startswith(b"v="):
            assert base64.b64decode(challenge[2:]) == self.signature
            self.verified = True
            return b""
        fields = dict(field.split("=", 1)
                      for field in challenge.decode().split(","))
        assert fields["r"].startswith(self.nonce)
        salted = hashlib.pbkdf2_hmac(
            self.hash, self.password, base64.b64decode(fields["s"]),
            int(fields["i"]))
        bare = f"c=biws,r={fields['r']}"
        message = ",".join([self.bare, challenge.decode(), bare]).encode()
        key = self.mac(salted, b"Client Key")
        stored = hashlib.new(self.hash, key).digest()
        proof = bytes(a ^ b for a, b in zip(key, self.mac(stored, message)))
        self.signature = self.mac(self.mac(salted, b"Server Key"), message)
        return f"{bare},p={base64.b64encode(proof).decode()}".encode()


def token(user):
    """A JWT that the Dovecot believes."""
    def part(value):
        return base64.urlsafe_b64encode(
            json.dumps(value).encode()).rstrip(b"=")
    now = int(time.time())
    text = b".".join([part({"alg": "HS256", "typ": "JWT"}),
                      part({"sub": user, "iat": now, "exp": now + 600})])
    signature = hmac.digest(KEY, text, "sha256")
    return (text + b"." +
            base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


@kinds
@scrams
@pytest.mark.parametrize("user, password",
                         [("bob", "secret"), ("a=b,c", "Grüße")])
def test_scram(place, kind, scram, user, password):
    client = new_client(place, kind)
    exchange = Scram(scram, user, password)
    good, reply = client.authenticate(scram, exchange.first, exchange.answer)
    assert good, reply
    if kind != "sieve":  # there the last word may come with OK
        assert exchange.verified
    assert kind == "submission" or client.works()
    client.close()


@kinds
@scrams
def test_scram_with_a_wrong_password(place, kind, scram):
    client = new_client(place, kind)
    wrong, right = Scram(scram, "bob", "wrong"), Scram(scram, "bob", "secret")
    assert not client.authenticate(scram, wrong.first, wrong.answer)[0]
    assert client.authenticate(scram, right.first, right.answer)[0]
    client.close()


@kinds
def test_an_exchange_that_is_given_up(place, kind):
    """Both in its middle and at its start; the next one is another one."""
    client = new_client(place, kind)
    client.begin("SCRAM-SHA-256", Scram("SCRAM-SHA-256", "bob", "x").first)
    assert client.hear()[0].startswith(b"r=")
    client.say(b'"*"' if kind == "sieve" else b"*")
    challenge, (good, _) = client.hear()
    assert challenge is None and not good
    right = Scram("SCRAM-SHA-1", "bob", "secret")
    assert client.authenticate("SCRAM-SHA-1", right.first, right.answer)[0]
    client.close()


def first_of(mechanism, user, text):
    if mechanism == "XOAUTH2":
        return f"user={user}\1auth=Bearer {text}\1\1".encode()
    return f"n,a={user},\1auth=Bearer {text}\1\1".encode()


@kinds
@tokens
def test_a_token(place, kind, mechanism):
    client = new_client(place, kind)
    good, reply = client.authenticate(
        mechanism, first_of(mechanism, "bob", token("bob")),
        lambda challenge: pytest.fail(f"asked {challenge}"))
    assert good, reply
    assert kind == "submission" or client.works()
    client.close()


@kinds
@tokens
def test_a_token_of_somebody_else(place, kind, mechanism):
    """The server tells why in a challenge, which takes an empty answer."""
    client = new_client(place, kind)
    heard = []

    def answer(challenge):
        heard.append(json.loads(challenge))
        return b"\1"

    good, _ = client.authenticate(
        mechanism, first_of(mechanism, "bob", "none"), answer)
    assert not good
    assert heard and "status" in heard[0]
    client.close()


@pytest.mark.parametrize("kind", ["imap", "pop3"])
@tokens
def test_curl_has_a_token(place, kind, mechanism):
    done = subprocess.run(
        ["curl", "-sS", "--max-time", str(TIMEOUT), "--ssl-reqd", "--cacert",
         place / "proxy.pem", "-u", "bob", "--oauth2-bearer", token("bob"),
         "--login-options", f"AUTH={mechanism}", "--sasl-ir",
         f"{kind}://{PROXY}:{PORTS[kind]}/"], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@scrams
def test_msmtp_speaks_scram(place, scram):
    """It logs in; that there is nobody to relay to comes after that."""
    done = subprocess.run(
        ["msmtp", f"--host={PROXY}", f"--port={PORTS['submission']}",
         "--tls=on", "--tls-starttls=on",
         f"--tls-trust-file={place}/proxy.pem", f"--auth={scram.lower()}",
         "--user=bob", "--passwordeval=echo secret", "--from=bob@x", "-d",
         "bob@x"], input=b"\r\n", capture_output=True, timeout=TIMEOUT)
    assert b"<-- 235 " in done.stdout, (done.stdout + done.stderr).decode()
