"""Mechanisms that the proxy passes on message by message, at a real Dovecot.

One Dovecot that knows passwords in the clear (for SCRAM) and a key for tokens
(for OAUTHBEARER and XOAUTH2), and one proxy that offers all of them.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

import pytest

import dovecot
from clients import TIMEOUT
from process import wait_until
from server import find_program

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


DOVECOT_CONF = """
base_dir = {run}
state_dir = {run}
log_path = {folder}/dovecot.log
protocols = imap pop3 submission sieve
listen = {address}
hostname = mbox
default_internal_user = {internal_user}
default_internal_group = {internal_group}
default_login_user = {login_user}
ssl = yes
ssl_cert = <{folder}/server.pem
ssl_key = <{folder}/server.key
auth_mechanisms = plain login scram-sha-1 scram-sha-256 oauthbearer xoauth2
auth_failure_delay = 0
auth_username_chars =
login_trusted_networks = 127.0.0.0/8
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {folder}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  args = {folder}/passwd
}}
userdb {{
  driver = static
  args = uid={mail_uid} gid={mail_gid} home={folder}/mail/%u
}}
mail_location = maildir:~/Maildir
first_valid_uid = 1
submission_relay_host = 127.0.0.1
service imap-login {{
  chroot = {login_chroot}
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot = {login_chroot}
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service submission-login {{
  chroot = {login_chroot}
  inet_listener submission {{
    port = {submission}
  }}
  inet_listener submissions {{
    port = 0
  }}
}}
service managesieve-login {{
  chroot = {login_chroot}
  inet_listener sieve {{
    port = {sieve}
  }}
}}
service anvil {{
  chroot = {empty_chroot}
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service ipc {{
  chroot = {empty_chroot}
}}
service old-stats {{
  chroot = {empty_chroot}
}}
service stats {{
  chroot =
}}
"""


def make_certificate(folder, name, address):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
         f"/CN={name}", "-addext", f"subjectAltName=IP:{address}", "-keyout",
         folder / f"{name}.key", "-out", folder / f"{name}.pem"],
        check=True, capture_output=True)


def greets(address, port):
    try:
        with socket.create_connection((address, port), 1) as connection:
            return bool(connection.recv(1))
    except OSError:
        return False


def make_dovecot(folder):
    run = folder / "run"
    run.mkdir(mode=0o755)
    (folder / "mail").mkdir(mode=0o777)
    (folder / "mail").chmod(0o777)
    (folder / "passwd").write_text("bob:{PLAIN}secret\n"
                                   "a=b,c:{PLAIN}Grüße\n")
    keys = folder / "keys" / "default" / "HS256"
    keys.mkdir(parents=True)
    (keys / "default").write_bytes(base64.b64encode(KEY))
    (folder / "oauth2.conf").write_text(
        "introspection_mode = local\n"
        f"local_validation_key_dict = fs:posix:prefix={folder}/keys/\n"
        "username_attribute = sub\n")
    conf = folder / "dovecot.conf"
    conf.write_text(DOVECOT_CONF.format(
        folder=folder, run=run, address=DOVECOT, **PORTS,
        **dovecot.identities()))
    return [find_program("dovecot"), "-F", "-c", conf]


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
    """The folder of what runs; open to the users that servers become."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="postcell-", dir="/tmp"))
    folder.chmod(0o755)
    make_certificate(folder, "server", DOVECOT)
    make_certificate(folder, "proxy", PROXY)
    running = []

    def start(name, command, condition):
        with open(folder / f"{name}.out", "wb") as out:
            running.append(subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
        assert wait_until(condition, TIMEOUT), (
            folder / f"{name}.out").read_text()

    try:
        start("replicad", make_replicad(folder, build),
              lambda: (folder / "replica" / "data.mdb").exists())
        start("dovecot", make_dovecot(folder),
              lambda: all(greets(DOVECOT, port) for port in PORTS.values()))
        start("proxyd", make_proxy(folder, build),
              lambda: all(greets(PROXY, port) for port in PORTS.values()))
        yield folder
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(TIMEOUT)
        shutil.rmtree(folder)


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


class Client:
    """AUTH in any of the protocols, one message after the other."""

    def __init__(self, place, kind):
        self.kind = kind
        self.socket = socket.create_connection((PROXY, PORTS[kind]), TIMEOUT)
        self.file = self.socket.makefile("rb")
        self.greet()
        begin = {"imap": b"s STARTTLS", "pop3": b"STLS"}.get(kind, b"STARTTLS")
        self.say(begin)
        self.line()
        context = ssl.create_default_context(cafile=place / "proxy.pem")
        self.socket = context.wrap_socket(self.socket, server_hostname=PROXY)
        self.file = self.socket.makefile("rb")
        if kind == "sieve":
            self.greet()
        elif kind == "submission":
            self.say(b"EHLO client.example")
            while self.line()[3:4] == b"-":
                pass

    def greet(self):
        while self.line().startswith(b'"'):
            pass

    def say(self, line):
        self.socket.sendall(line + b"\r\n")

    def line(self):
        line = self.file.readline()
        assert line.endswith(b"\r\n"), line
        return line[:-2]

    def begin(self, mechanism, first):
        text = base64.b64encode(first)
        name = mechanism.encode()
        self.say({"imap": b"a AUTHENTICATE %s %s" % (name, text),
                  "sieve": b'AUTHENTICATE "%s" "%s"' % (name, text),
                  }.get(self.kind, b"AUTH %s %s" % (name, text)))

    def hear(self):
        """A challenge's octets, or (True or False, the reply)."""
        line = self.line()
        while line.startswith(b"* "):
            line = self.line()
        sign = {"submission": b"334 ", "sieve": b'"'}.get(self.kind, b"+ ")
        if line.startswith(sign):
            return base64.b64decode(line[len(sign):].strip(b'"')), None
        good = {"imap": b"a OK", "pop3": b"+OK", "submission": b"235 ",
                "sieve": b"OK"}[self.kind]
        return None, (line.startswith(good), line)

    def respond(self, octets):
        text = base64.b64encode(octets)
        self.say(b'"%s"' % text if self.kind == "sieve" else text)

    def authenticate(self, mechanism, first, answer):
        self.begin(mechanism, first)
        challenge, reply = self.hear()
        while challenge is not None:
            self.respond(answer(challenge))
            challenge, reply = self.hear()
        return reply

    def works(self):
        """Is it the server who answers now?"""
        self.say({"imap": b"b SELECT INBOX", "pop3": b"STAT",
                  "submission": b"NOOP",
                  "sieve": b"LISTSCRIPTS"}[self.kind])
        line = self.line()
        while line.startswith(b"* "):
            line = self.line()
        return line.startswith({"imap": b"b OK", "pop3": b"+OK",
                                "submission": b"250", "sieve": b"OK"}
                               [self.kind])

    def close(self):
        self.socket.close()


@kinds
@scrams
@pytest.mark.parametrize("user, password",
                         [("bob", "secret"), ("a=b,c", "Grüße")])
def test_scram(place, kind, scram, user, password):
    client = Client(place, kind)
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
    client = Client(place, kind)
    wrong, right = Scram(scram, "bob", "wrong"), Scram(scram, "bob", "secret")
    assert not client.authenticate(scram, wrong.first, wrong.answer)[0]
    assert client.authenticate(scram, right.first, right.answer)[0]
    client.close()


@kinds
def test_an_exchange_that_is_given_up(place, kind):
    """Both in its middle and at its start; the next one is another one."""
    client = Client(place, kind)
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
    client = Client(place, kind)
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
    client = Client(place, kind)
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
