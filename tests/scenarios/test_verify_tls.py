"""Logins that the proxy decides about, asking real slapds by TLS.

Each slapd has another certificate: a good one, one that has expired, one for
another host, one by an authority that nobody knows. They take a password over
TLS alone. Proxies come and go, each with directory servers of its own.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading

import ldap
import pytest

from clients import TIMEOUT
from directory import ADMIN, PASSWORD, SLAPADD, SUFFIX, Directory
from process import wait_until
from small import Client, House, dovecot_conf, greets, make_certificate

NET = os.environ.get("VERIFY_TLS_NET", "127.0.57")
DOVECOT, PROXY, SCRIPTED = f"{NET}.11", f"{NET}.1", f"{NET}.31"
GOOD, SECOND = f"{NET}.21", f"{NET}.22"
EXPIRED, STRANGER, UNKNOWN = f"{NET}.23", f"{NET}.24", f"{NET}.25"
IMAP, LDAP_PORT, LDAPS_PORT = 17143, 17389, 17636
PORTS = {"imap": IMAP, "pop3": 17110, "submission": 17587, "sieve": 17419}



def answer(number, kind, code=0, more=b""):
    """An LDAPMessage (RFC 4511 section 4.2.2, 4.14.2), shorter than 128."""
    inner = bytes([10, 1, code, 4, 0, 4, 0]) + more
    inner = bytes([2, 1, number, kind, len(inner)]) + inner
    return bytes([0x30, len(inner)]) + inner


BIND, EXTENDED = 0x61, 0x78
STARTTLS_TAKEN = answer(1, EXTENDED)


BOB = f"""
dn: uid=bob,ou=people,{SUFFIX}
objectClass: inetOrgPerson
cn: bob
sn: bob
uid: bob
mail: bob@verify.test
userPassword: pass-bob
"""

OBSERVER = f"cn=proxy1,ou=proxies,{SUFFIX}"
PROXY_ENTRY = f"""
dn: {OBSERVER}
objectClass: postcellProxy
cn: proxy1
"""

TREE = f"""
dn: {SUFFIX}
objectClass: organization
objectClass: dcObject
dc: replica
o: replica

dn: ou=people,{SUFFIX}
objectClass: organizationalUnit
ou: people

dn: ou=proxies,{SUFFIX}
objectClass: organizationalUnit
ou: proxies
""" + BOB + PROXY_ENTRY


CELL = f"""
dn: cn=main,ou=pools,o=x
objectClass: postcellPool
cn: main
postcellDefault: TRUE

dn: cn=mbox,ou=servers,o=x
objectClass: postcellServer
cn: mbox
postcellPoolName: main
postcellService: imap://{DOVECOT}:{IMAP}?tls=starttls

"""

PASSDB = """
passdb {{
  driver = passwd-file
  args = {folder}/masters
  master = yes
}}
passdb {{
  driver = static
  args = nopassword=y
}}
"""


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True,
                   capture_output=True)


KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def make_authority(folder, name):
    openssl("req", "-x509", *KEY, "-days", 30, "-subj", f"/CN={name}",
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")


def certify(folder, name, authority, address=None, days=30):
    """folder/NAME.pem and NAME.key, for an address of the net."""
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    openssl("req", *KEY, "-subj", f"/CN={name}", "-keyout",
            folder / f"{name}.key", "-out", request)
    extensions.write_text(f"subjectAltName=IP:{address}\n" if address else "")
    openssl("x509", "-req", "-in", request, "-CA", folder / f"{authority}.pem",
            "-CAkey", folder / f"{authority}.key", "-days", days, "-extfile",
            extensions, "-out", folder / f"{name}.pem")


class TlsDirectory(Directory):
    """Takes passwords over TLS alone."""

    def __init__(self, house, name, address, verify_client="never"):
        super().__init__(house.folder / f"slapd-{name}", address, LDAP_PORT)
        self.house = house.folder
        self.acl = f'access to * by dn.exact="{OBSERVER}" write by * read'
        self.tls_port = LDAPS_PORT
        self.extra = "\n".join([
            f"TLSCertificateFile {house.folder}/{name}.pem",
            f"TLSCertificateKeyFile {house.folder}/{name}.key",
            f"TLSCACertificateFile {house.folder}/authority.pem",
            f"TLSVerifyClient {verify_client}",
            "security simple_bind=128",
            f'authz-regexp "cn=identity" "{OBSERVER}"'])

    def begin(self):
        self.write_conf()
        (self.folder / "load.ldif").write_text(TREE)
        subprocess.run([SLAPADD, "-q", "-f", self.conf, "-b", SUFFIX, "-l",
                        self.folder / "load.ldif"], check=True,
                       capture_output=True)
        return self.start()

    def connect(self):
        connection = ldap.initialize(f"ldaps://{self.address}:{LDAPS_PORT}")
        connection.set_option(ldap.OPT_NETWORK_TIMEOUT, 5)
        connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT,
                              ldap.OPT_X_TLS_NEVER)
        connection.set_option(ldap.OPT_X_TLS_CERTFILE,
                              str(self.house / "identity.pem"))
        connection.set_option(ldap.OPT_X_TLS_KEYFILE,
                              str(self.house / "identity.key"))
        connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        connection.simple_bind_s(ADMIN, PASSWORD)
        return connection


class Place(House):
    def __init__(self, build):
        super().__init__()
        self.build, self.slapds, self.proxies = build, {}, 0
        (self.folder / "empty").mkdir()
        make_certificate(self.folder, "server", DOVECOT)
        make_certificate(self.folder, "proxy", PROXY)
        for name in ("authority", "nobody"):
            make_authority(self.folder, name)
        certify(self.folder, "good", "authority", GOOD)
        certify(self.folder, "second", "authority", SECOND)
        certify(self.folder, "expired", "authority", EXPIRED, days=-1)
        certify(self.folder, "stranger", "authority", GOOD)
        certify(self.folder, "unknown", "nobody", UNKNOWN)
        certify(self.folder, "identity", "authority")
        # Whatever user the proxy's processes become.
        for each in ("identity.key", "identity.pem", "authority.pem"):
            (self.folder / each).chmod(0o644)

    def begin(self):
        for name, address, verify_client in [
                ("good", GOOD, "never"), ("second", SECOND, "demand"),
                ("expired", EXPIRED, "never"), ("stranger", STRANGER, "never"),
                ("unknown", UNKNOWN, "never")]:
            self.slapds[address] = TlsDirectory(
                self, name, address, verify_client).begin()
        self.start_replicad()
        (self.folder / "masters").write_text("proxy:{PLAIN}master-secret\n")
        (self.folder / "master.password").write_text("master-secret\n")
        self.start("dovecot", dovecot_conf(
            self.folder, DOVECOT, PORTS, "plain",
            PASSDB.format(folder=self.folder)),
            lambda: greets(DOVECOT, IMAP))
        return self

    def start_replicad(self):
        (self.folder / "cell.ldif").write_text(CELL + BOB + PROXY_ENTRY)
        conf = self.folder / "replicad.conf"
        conf.write_text(
            f'replica = "{self.folder}/replica"\nmap_size_max = 64\n'
            f'user = ""\nsource = ldif\nldif_file = "{self.folder}/cell.ldif"\n')
        self.start("replicad", [self.build / "postcell-replicad", "-c", conf],
                   lambda: (self.folder / "replica" / "data.mdb").exists())

    @contextlib.contextmanager
    def proxy(self, *uris, tls="starttls", timeout=2, ca="authority", more=""):
        """The name of one that asks these servers, as long as it runs."""
        self.proxies += 1
        name = f"proxyd{self.proxies}"
        conf = self.folder / f"{name}.conf"
        listed = ", ".join(f'"{each}"' for each in uris)
        conf.write_text(f"""
host_name = "proxy.example.org"
replica = "{self.folder}/replica"
run_dir = "{self.folder}/run-{name}"
user = "nobody"
chroot = "{self.folder}/empty"
relays = 1
tls {{
	certificate = "{self.folder}/proxy.pem"
	key = "{self.folder}/proxy.key"
}}
backend {{
	ca_file = "{self.folder}/server.pem"
}}
directory {{
	uris = {{ {listed} }}
	tls = {tls}
	ca_file = "{self.folder}/{ca}.pem"
	user = "nobody"
	timeout = {timeout}
	{more}
}}
auth {{
	processes = 1
	connections = 2
	deadline = 20
}}
login masters {{
	as = master
	user = "proxy"
	password_file = "{self.folder}/master.password"
}}
failures {{
	delay = 0
}}
listen imap {{
	addresses = {{ "{PROXY}" }}
	port = {IMAP}
	authentication = verify
}}
""")
        self.start(name, [self.build / "postcell-proxyd", "-c", conf],
                   lambda: greets(PROXY, IMAP))
        try:
            yield name
        finally:
            process = self.running.pop(name)
            process.terminate()
            process.wait(TIMEOUT)
            self.check_output(name)

    def log_in(self, secret="pass-bob"):
        """The reply to bob's login."""
        client = Client(PROXY, IMAP, "imap", self.folder / "proxy.pem")
        try:
            good, reply = client.authenticate(
                "PLAIN", f"\0bob\0{secret}".encode(), None)
            assert not good or client.works()
            return reply.decode()
        finally:
            client.close()

    def lost(self, name):
        """Why directory servers were given up: server -> reason."""
        return dict(re.findall(
            r'event=directory_lost server="(.*?)" why="(.*?)" ',
            self.output(name)))


@pytest.fixture(scope="module")
def place(build):
    made = Place(build)
    try:
        yield made.begin()
    finally:
        for slapd in made.slapds.values():
            slapd.stop()
        made.stop()


def ldaps(address):
    return f"ldaps://{address}:{LDAPS_PORT}"


def starttls(address):
    return f"ldap://{address}:{LDAP_PORT}"


WRONG = "a NO [AUTHENTICATIONFAILED] Authentication failed."
LATER = "a NO [UNAVAILABLE] "
ways = pytest.mark.parametrize("way", [ldaps, starttls])


@ways
def test_a_password(place, way):
    with place.proxy(way(GOOD)) as proxy:
        assert place.log_in().startswith("a OK ")
        assert place.log_in(secret="wrong") == WRONG
        assert not place.lost(proxy)


def test_without_tls_the_server_refuses(place):
    """It is the server that wants TLS here: what the others show is true."""
    with place.proxy(starttls(GOOD), tls="none"):
        assert place.log_in().startswith(LATER)


@ways
@pytest.mark.parametrize("address, ca, why", [
    (EXPIRED, "authority", "certificate has expired"),
    (STRANGER, "authority", "IP address mismatch"),
    (UNKNOWN, "authority", "unable to get local issuer certificate"),
    (GOOD, "nobody", "self-signed certificate in certificate chain"),
])
def test_a_certificate_that_is_refused(place, way, address, ca, why):
    with place.proxy(way(address), ca=ca) as proxy:
        assert place.log_in().startswith(LATER)
        assert place.lost(proxy) == {
            way(address): f"TLS: the server's certificate: {why}"}


def test_a_file_that_is_missing(place):
    with place.proxy(ldaps(GOOD), ca="missing") as proxy:
        assert place.log_in().startswith(LATER)
        assert re.fullmatch(r"TLS: \S+/missing.pem: No such file or directory",
                            place.lost(proxy)[ldaps(GOOD)])


def test_a_key_with_a_password(place):
    """Nobody is asked for it."""
    openssl("pkey", "-in", place.folder / "identity.key", "-aes128",
            "-passout", "pass:secret", "-out", place.folder / "sealed.key")
    (place.folder / "sealed.key").chmod(0o644)
    with place.proxy(ldaps(GOOD), more=identity(place).replace(
            "identity.key", "sealed.key")) as proxy:
        assert place.log_in().startswith(LATER)
        assert "/sealed.key: " in place.lost(proxy)[ldaps(GOOD)]


@ways
def test_the_next_server(place, way):
    with place.proxy(way(EXPIRED), way(GOOD)) as proxy:
        assert place.log_in().startswith("a OK ")
        assert list(place.lost(proxy)) == [way(EXPIRED)]


def identity(place):
    return (f'certificate = "{place.folder}/identity.pem"\n'
            f'key = "{place.folder}/identity.key"\n')


@ways
def test_a_certificate_of_our_own(place, way):
    """The second server talks to nobody without."""
    with place.proxy(way(SECOND), more=identity(place)):
        assert place.log_in().startswith("a OK ")
    with place.proxy(way(SECOND), more=identity(place)
                     + "bind = external"):
        assert place.log_in().startswith("a OK ")
        assert place.log_in(secret="wrong") == WRONG
    with place.proxy(way(SECOND)) as proxy:
        assert place.log_in().startswith(LATER)
        assert list(place.lost(proxy)) == [way(SECOND)]


@ways
def test_an_observer_writes_as_its_certificate(place, way):
    """Nobody else may write there."""
    def alive():
        connection = place.slapds[SECOND].connect()
        ((_, entry),) = connection.search_s(OBSERVER, ldap.SCOPE_BASE)
        connection.unbind_s()
        return entry.get("postcellAlive")

    before = alive()
    with place.proxy(way(SECOND), more=identity(place) + "bind = external\n"
                     'name = "proxy1"') as proxy:
        assert wait_until(lambda: alive() != before, TIMEOUT), \
            place.output(proxy)


def test_a_server_that_does_not_ask_for_our_certificate(place):
    """It cannot know us by it either."""
    with place.proxy(ldaps(GOOD), more=identity(place)
                     + "bind = external") as proxy:
        assert place.log_in().startswith(LATER)
        assert place.lost(proxy)[ldaps(GOOD)].startswith("bind: ")


class Scripted:
    """Takes connections, one after the other, and answers each request of one
    by the next words, then by nothing any more."""

    def __init__(self, words):
        self.words, self.taken = words, []
        self.listening = socket.create_server((SCRIPTED, LDAP_PORT))
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                self.taken.append(connection)
                for words in self.words:
                    connection.recv(4096)
                    connection.sendall(words)

    def stop(self):
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join()
        for connection in self.taken:
            connection.close()


@contextlib.contextmanager
def scripted(*words):
    made = Scripted(words)
    try:
        yield made
    finally:
        made.stop()


def others_log_in(place, proxy):
    """While the first server still has its time, which is long."""
    for _ in range(3):
        assert place.log_in().startswith("a OK ")
        assert place.log_in(secret="wrong") == WRONG
    assert not place.lost(proxy)


@pytest.mark.parametrize("words", [[], [STARTTLS_TAKEN]],
                         ids=["StartTLS", "handshake"])
def test_a_server_that_hangs(place, words):
    """Nobody waits for it as long as another one answers."""
    with scripted(*words) as hanging, place.proxy(
            starttls(SCRIPTED), starttls(GOOD), timeout=60) as proxy:
        others_log_in(place, proxy)
        assert hanging.taken


def test_a_server_that_stands_still(place):
    place.slapds[EXPIRED].process.send_signal(signal.SIGSTOP)
    try:
        with place.proxy(ldaps(EXPIRED), ldaps(GOOD), timeout=60) as proxy:
            others_log_in(place, proxy)
    finally:
        place.slapds[EXPIRED].process.send_signal(signal.SIGCONT)


def test_a_server_that_hangs_is_given_up(place):
    with scripted(STARTTLS_TAKEN), place.proxy(
            starttls(SCRIPTED), timeout=1) as proxy:
        assert place.log_in().startswith(LATER)
        assert place.lost(proxy) == {
            starttls(SCRIPTED): "TLS: no answer in time"}


def test_an_answer_in_front_of_tls(place):
    """What came with the answer to StartTLS is nobody's word."""
    with scripted(STARTTLS_TAKEN + answer(2, BIND)
                  + answer(3, BIND)), place.proxy(
            starttls(SCRIPTED)) as proxy:
        assert place.log_in().startswith(LATER)
        assert place.lost(proxy)[starttls(SCRIPTED)].startswith("TLS: ")


def test_referrals_are_not_followed(place):
    """Another server's word on a password is none of ours."""
    uri = f"ldap://{GOOD}:{LDAP_PORT}/".encode()
    referral = bytes([0xa3, len(uri) + 2, 4, len(uri)]) + uri
    with scripted(answer(1, BIND), answer(2, BIND, 10, referral)) as asked, \
            place.proxy(f"ldap://{SCRIPTED}:{LDAP_PORT}", tls="none"):
        assert place.log_in().startswith(LATER)
        assert asked.taken
