"""Logins by ticket: clients that have one, and a proxy that has one for its
servers.

A KDC of Heimdal, one Dovecot that takes GSSAPI, the proxy's principal allowed
to name the user there, and one proxy. Clients are MIT's library and curl.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import threading

import pytest

from clients import TIMEOUT
from process import wait_until
from small import (KINDS, Client, House, dovecot_conf, greets,
                   make_certificate)
from ticket import Ticket

NET = "127.0.54"
DOVECOT, PROXY, KDC = f"{NET}.11", f"{NET}.1", f"{NET}.31"
PORTS = {"imap": 17143, "pop3": 17110, "submission": 17587, "sieve": 17419}
NAMES = {"imap": "imap", "pop3": "pop", "submission": "smtp",
         "sieve": "sieve"}
REALM = "POSTCELL.TEST"
KDC_PORT = 17088
# Services of the proxy whose key its keytab has not, or not yet.
LATE = f"imap/{NET}.2"

kinds = pytest.mark.parametrize("kind", KINDS)

SERVERS = "/usr/lib/heimdal-servers"


def program(name):
    return shutil.which(f"{name}.heimdal") or shutil.which(
        name, path=f"{os.environ['PATH']}:{SERVERS}")


KRB5_CONF = f"""
[libdefaults]
	default_realm = {REALM}
	dns_lookup_kdc = no
	dns_lookup_realm = no
	dns_canonicalize_hostname = false
	rdns = false
	kdc_timeout = 2
	max_retries = 1
[realms]
	{REALM} = {{
		kdc = {KDC}:{KDC_PORT}
	}}
[domain_realm]
	{PROXY} = {REALM}
[kdc]
	database = {{
		dbname = sqlite:FOLDER/heimdal.db
		realm = {REALM}
		mkey_file = FOLDER/m-key
		acl_file = FOLDER/acl
		log_file = FOLDER/kadm.log
	}}
[kadmin]
	default_keys = aes256-cts-hmac-sha1-96:pw-salt
[logging]
	kdc = 0-/FILE:FOLDER/kdc.log
	default = 0-/FILE:FOLDER/krb5.log
"""

ACCOUNTS = {"bob": "main", "ann": "main", "off": "main", "far": "far",
            "slo": "slow"}


def cell_map():
    services = "".join(
        f"postcellService: {kind}://{DOVECOT}:{port}?tls=starttls\n"
        for kind, port in PORTS.items())
    pools = "\n".join(
        f"dn: cn={pool},ou=pools,o=x\nobjectClass: postcellPool\n"
        f"cn: {pool}\n\n"
        f"dn: cn=mbox-{pool},ou=servers,o=x\nobjectClass: postcellServer\n"
        f"cn: mbox-{pool}\npostcellPoolName: {pool}\n{services}"
        for pool in ("main", "far", "slow"))
    people = "\n".join(
        f"dn: uid={uid},o=x\nobjectClass: postcellAccount\nuid: {uid}\n"
        f"krb5PrincipalName: {uid}@{REALM}\npostcellPoolName: {pool}\n"
        + ("postcellStatus: disabled\n" if uid == "off" else "")
        for uid, pool in ACCOUNTS.items())
    return pools + "\n" + people


PASSDBS = """
auth_krb5_keytab = {folder}/dovecot.keytab
auth_gssapi_hostname = "$ALL"
auth_realms = {realm}
auth_default_realm = {realm}
auth_username_format = %Ln
passdb {{
  driver = static
  args = nopassword=y k5principals=proxyadm@{realm},proxyslow@{realm}
  mechanisms = gssapi
}}
"""


def make_proxy(folder, build):
    (folder / "empty").mkdir()
    conf = folder / "proxyd.conf"
    conf.write_text(f"""
host_name = "proxy.example.org"
replica = "{folder}/replica"
run_dir = "{folder}/proxy"
user = "nobody"
chroot = "{folder}/empty"
relays = 2
tls {{
	certificate = "{folder}/proxy.pem"
	key = "{folder}/proxy.key"
}}
backend {{
	ca_file = "{folder}/server.pem"
	retry_time = 0
}}
directory {{
	uris = {{ "ldap://{NET}.99:17389" }}
	user = "nobody"
}}
auth {{
	keytab = "{folder}/proxy.keytab"
	deadline = 3
}}
login main {{
	pools = {{ "main" }}
	as = gssapi
	user = "proxyadm@{REALM}"
	keytab = "{folder}/proxyadm.keytab"
}}
login far {{
	pools = {{ "far" }}
	as = gssapi
	user = "nosuch@{REALM}"
	keytab = "{folder}/proxyadm.keytab"
}}
login slow {{
	pools = {{ "slow" }}
	as = gssapi
	user = "proxyslow@{REALM}"
	keytab = "{folder}/proxyadm.keytab"
}}
failures {{
	delay = 0
	session_attempts = 100
}}
""" + "".join(f"""
listen {kind} {{
	addresses = {{ "{PROXY}" }}
	port = {port}
	mechanisms = {{ "PLAIN", "GSSAPI" }}
	authentication = verify
}}
""" for kind, port in PORTS.items()))
    return [build / "postcell-proxyd", "-c", conf]


class Place(House):
    def __init__(self, build):
        super().__init__()
        self.build = build
        make_certificate(self.folder, "server", DOVECOT)
        make_certificate(self.folder, "proxy", PROXY)
        self.conf = self.folder / "krb5.conf"
        self.conf.write_text(KRB5_CONF.replace(
            "FOLDER", str(self.folder)))
        self.environment = dict(os.environ, KRB5_CONFIG=str(self.conf))
        self.tickets = 0

    def kadmin(self, *words):
        subprocess.run([program("kadmin"), "-c", self.conf, "-l", *words],
                       check=True, capture_output=True, env=self.environment,
                       timeout=TIMEOUT)

    def make_realm(self):
        self.kadmin("init", "--realm-max-ticket-life=1d",
                    "--realm-max-renewable-life=1d", REALM)
        for user in (*ACCOUNTS, "stranger"):
            self.kadmin("add", "--use-defaults", f"--password=pass-{user}",
                        user)
        services = {
            "proxy": [f"{name}/{PROXY}" for name in NAMES.values()],
            "dovecot": [f"{name}/{DOVECOT}" for name in NAMES.values()],
            "proxyadm": ["proxyadm", "proxyslow"], "late": [LATE]}
        for keytab, names in services.items():
            self.kadmin("add", "--use-defaults", "--random-key", *names)
            self.extract(keytab, *names)

    def extract(self, keytab, *names):
        path = self.folder / f"{keytab}.keytab"
        self.kadmin("ext_keytab", f"--keytab={path}", *names)
        path.chmod(0o644)

    def begin(self):
        self.make_realm()
        self.start("kdc", [program("kdc"), "-c", self.conf,
                           f"--addresses={KDC}", f"--ports={KDC_PORT}"],
                   lambda: self.kdc_answers(), env=self.environment)
        (self.folder / "cell.ldif").write_text(cell_map())
        conf = self.folder / "replicad.conf"
        conf.write_text(f'replica = "{self.folder}/replica"\n'
                        f'map_size_max = 64\nuser = ""\nsource = ldif\n'
                        f'ldif_file = "{self.folder}/cell.ldif"\n')
        self.start("replicad", [self.build / "postcell-replicad", "-c", conf],
                   lambda: (self.folder / "replica" / "data.mdb").exists())
        self.start("dovecot", dovecot_conf(
            self.folder, DOVECOT, PORTS, "plain gssapi",
            PASSDBS.format(folder=self.folder, realm=REALM)),
            lambda: all(greets(DOVECOT, port) for port in PORTS.values()),
            env=self.environment)
        self.start("proxyd", make_proxy(self.folder, self.build),
                   lambda: all(greets(PROXY, port)
                               for port in PORTS.values()),
                   env=self.environment)
        return self

    def kdc_answers(self):
        try:
            return bool(self.kinit("bob"))
        except subprocess.CalledProcessError:
            return False

    def signal_kdc(self, number):
        """It has children, which do the work."""
        pid = self.running["kdc"].pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
        for each in (pid, *map(int, children.read_text().split())):
            os.kill(each, number)

    def kinit(self, user):
        """A cache with a ticket of that user's."""
        self.tickets += 1
        cache = f"FILE:{self.folder}/cc{self.tickets}"
        subprocess.run([program("kinit"), f"--cache={cache}",
                        "--password-file=STDIN", user], check=True,
                       capture_output=True, input=f"pass-{user}\n".encode(),
                       env=self.environment, timeout=TIMEOUT)
        return cache

    def client(self, kind):
        return Client(PROXY, PORTS[kind], kind, self.folder / "proxy.pem")

    def events(self, name):
        return [line for line in self.output("proxyd").splitlines()
                if f"event={name} " in line]


@pytest.fixture(scope="module")
def place(build):
    made = Place(build)
    before = os.environ.get("KRB5_CONFIG")
    os.environ["KRB5_CONFIG"] = str(made.conf)
    try:
        yield made.begin()
        made.check_output("proxyd")
    finally:
        if before is None:
            del os.environ["KRB5_CONFIG"]
        else:
            os.environ["KRB5_CONFIG"] = before
        made.stop()


def log_in(place, kind, user, authorise="", name=None, layer=1, cache=None):
    """(whether it was taken, the reply)."""
    name = name or f"{NAMES[kind]}/{PROXY}@{REALM}"
    ticket = Ticket(cache or place.kinit(user), name, authorise=authorise,
                    layer=layer)
    client = place.client(kind)
    good, reply = client.authenticate("GSSAPI", ticket.first, ticket.answer)
    assert not good or kind == "submission" or client.works()
    client.close()
    return good, reply.decode()


WRONG = {"imap": "a NO [AUTHENTICATIONFAILED] Authentication failed.",
         "pop3": "-ERR [AUTH] Authentication failed.",
         "submission": "535 5.7.8 Authentication failed.",
         "sieve": 'NO "Authentication failed."'}


@kinds
@pytest.mark.parametrize("authorise", ["", "bob", f"bob@{REALM}"])
def test_a_ticket(place, kind, authorise):
    assert log_in(place, kind, "bob", authorise)[0], place.output("proxyd")


@kinds
def test_whom_a_ticket_is_no_good_for(place, kind):
    """Somebody else's mailbox; no account; a disabled one."""
    assert log_in(place, kind, "bob", "ann") == (False, WRONG[kind])
    assert log_in(place, kind, "stranger") == (False, WRONG[kind])
    assert log_in(place, kind, "stranger", "bob") == (False, WRONG[kind])
    assert log_in(place, kind, "off") == (False, WRONG[kind])


@kinds
def test_a_ticket_for_another_service(place, kind):
    """Its key is in the keytab, and yet it is not meant for this."""
    other = "smtp" if kind == "imap" else "imap"
    assert log_in(place, kind, "bob", name=f"{other}/{PROXY}@{REALM}") == (
        False, WRONG[kind])
    assert "another service" in place.events("login_failed")[-1]


def test_a_security_layer_is_refused(place):
    assert log_in(place, "imap", "bob", layer=4) == (False, WRONG["imap"])


@kinds
@pytest.mark.parametrize("token", [b"", b"\0", b"garbage" * 100])
def test_what_is_no_token(place, kind, token):
    client = place.client(kind)
    client.begin("GSSAPI", token or b"=")
    challenge, reply = client.hear()
    if challenge is not None:
        client.respond(b"\0")
        challenge, reply = client.hear()
    assert not reply[0]
    ticket = Ticket(place.kinit("bob"), f"{NAMES[kind]}/{PROXY}@{REALM}")
    assert client.authenticate("GSSAPI", ticket.first, ticket.answer)[0]
    client.close()


@kinds
def test_an_exchange_that_is_given_up(place, kind):
    name = f"{NAMES[kind]}/{PROXY}@{REALM}"
    client = place.client(kind)
    ticket = Ticket(place.kinit("bob"), name)
    client.begin("GSSAPI", ticket.first)
    assert client.hear()[0]
    client.say(b'"*"' if kind == "sieve" else b"*")
    challenge, (good, _) = client.hear()
    assert challenge is None and not good
    ticket = Ticket(place.kinit("bob"), name)
    assert client.authenticate("GSSAPI", ticket.first, ticket.answer)[0]
    client.close()


def test_a_key_that_comes_later(place):
    """The keytab is read anew, and has names of several hosts."""
    name = f"{LATE}@{REALM}"
    assert not log_in(place, "imap", "bob", name=name)[0]
    place.extract("proxy", LATE)
    assert log_in(place, "imap", "bob", name=name)[0]


@pytest.mark.parametrize("kind", ["imap", "pop3"])
def test_curl_has_a_ticket(place, kind):
    environment = dict(place.environment, KRB5CCNAME=place.kinit("bob"))
    done = subprocess.run(
        ["curl", "-sS", "--max-time", str(TIMEOUT), "--ssl-reqd", "--cacert",
         place.folder / "proxy.pem", "-u", f"bob@{REALM}:", "--login-options",
         "AUTH=GSSAPI", f"{kind}://{PROXY}:{PORTS[kind]}/"],
        capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr.decode()


def test_without_a_ticket_of_the_proxys(place):
    """The KDC does not know the principal: an error that passes."""
    good, reply = log_in(place, "imap", "far")
    assert not good and "[UNAVAILABLE]" in reply
    assert place.events("ticket_failed")


def test_a_silent_kdc(place):
    """The proxy's tickets that are there still serve; who needs one that is
    not is told to come back, and nobody else waits for that.
    """
    bob, slo = place.kinit("bob"), place.kinit("slo")
    assert log_in(place, "imap", "bob", cache=bob)[0]
    Ticket(slo, f"imap/{PROXY}@{REALM}")  # the client's own ticket is there
    place.signal_kdc(signal.SIGSTOP)
    replies = []
    waiting = threading.Thread(target=lambda: replies.append(
        log_in(place, "imap", "slo", cache=slo)))
    try:
        waiting.start()
        for _ in range(5):
            assert log_in(place, "imap", "bob", cache=bob)[0]
        waiting.join()
        assert not replies[0][0] and "[UNAVAILABLE]" in replies[0][1]
    finally:
        place.signal_kdc(signal.SIGCONT)
    assert wait_until(lambda: log_in(place, "imap", "slo", cache=slo)[0],
                      TIMEOUT)
