"""A realm, a Dovecot without any master, and proxies that go there as their
users: by tickets that they get for them.

The account's pool says by what (SOURCES); the KDC answers from the directory.
"""

import os
import pathlib
import shutil
import signal
import subprocess

import realm as realms
from clients import TIMEOUT
from conftest import NET
from directory import SUFFIX, wait_until
from realm import PEOPLE, REALM, Realm
from small import Client, House, dovecot_conf, greets, make_certificate
from ticket import Ticket

DOVECOT, STRANGE, ECHO = f"{NET}.11", f"{NET}.12", f"{NET}.13"
PROXY, STRICT = f"{NET}.1", f"{NET}.2"
PORTS = {"imap": 17143, "pop3": 17110, "submission": 17587, "sieve": 17419}
NAMES = {"imap": "imap", "pop3": "pop", "submission": "smtp",
         "sieve": "sieve"}
PLAIN_PORT = 17144  # where the server decides about passwords
WORD = "a word of theirs"

SOURCES = {"pwd": ["password"], "s4u": ["password", "s4u2proxy"],
           "fwd": ["password", "forwarded"],
           "both": ["forwarded", "s4u2proxy"], "own": ["forwarded", "proxy"],
           "rule": ["password", "s4u2proxy"]}
USERS = {"pam": "pwd", "pia": "pwd", "sue": "s4u", "sam": "s4u", "fay": "fwd",
         "ben": "both", "oli": "own", "rob": "rule", "ed": "echo"}

# Their principals are theirs by their uids alone.
NAMELESS = ("sue", "pam")

PASSDBS = """
auth_krb5_keytab = {folder}/dovecot.keytab
auth_gssapi_hostname = "$ALL"
auth_realms = {realm}
auth_default_realm = {realm}
auth_username_format = %Ln
passdb {{
  driver = static
  args = password={word}
  mechanisms = plain
}}
passdb {{
  driver = static
  args = nopassword=y k5principals=proxyadm@{realm}
  mechanisms = gssapi
  username_filter = oli
}}
passdb {{
  driver = static
  args = nopassword=y
  mechanisms = gssapi
}}
"""


def person(uid):
    return f"uid={uid},{PEOPLE}"


def quoted(names):
    return "{ " + ", ".join(f'"{name}"' for name in names) + " }"


class Place(House):
    def __init__(self, build):
        super().__init__()
        self.build = build
        self.tickets = 0
        self.realm = None
        make_certificate(self.folder, "server", DOVECOT)
        make_certificate(self.folder, "proxy", PROXY)
        make_certificate(self.folder, "strict", STRICT)

    # -- what runs

    def begin(self):
        (self.folder / "realm").mkdir()
        self.realm = Realm(self.folder / "realm", people=0,
                           options={"lockout_limit": 2000})
        self.realm.kdc.libdefaults = ("rdns = no\n"
                                      "\tdns_canonicalize_hostname = no")
        self.fill()
        self.conf = self.realm.client().conf
        self.environment = dict(os.environ, KRB5_CONFIG=str(self.conf))
        self.replicad = self.realm.replica("plain", keys="no")
        self.realm.settle()
        self.settle_users()
        self.start("dovecot", dovecot_conf(
            self.folder, DOVECOT, PORTS, "plain gssapi", PASSDBS.format(
                folder=self.folder, realm=REALM, word="plain")),
            lambda: all(greets(DOVECOT, port) for port in PORTS.values()),
            env=self.environment)
        return self

    def fill(self):
        directory, kdc = self.realm.directory, self.realm.kdc
        for pool in {*USERS.values()}:
            host = {"rule": STRANGE, "echo": ECHO}.get(pool, DOVECOT)
            directory.add(f"cn={pool},ou=pools,{SUFFIX}",
                          objectClass="postcellPool", cn=pool)
            directory.add(
                f"cn=mbox-{pool},ou=servers,{SUFFIX}", cn=f"mbox-{pool}",
                objectClass="postcellServer", postcellPoolName=pool,
                postcellService=[
                    f"{kind}://{host}:{port}?tls="
                    + ("none" if pool == "echo" else "starttls")
                    for kind, port in PORTS.items()])
        for uid, pool in USERS.items():
            self.add_user(uid, pool)
        for name in NAMES.values():
            kdc.add_service(f"{name}/{DOVECOT}", self.folder / "dovecot.keytab")
            kdc.add_service(f"{name}/{STRANGE}")
            kdc.add_service(f"{name}/{PROXY}", self.folder / "proxy.keytab")
            kdc.kadmin("modify",
                       f"--constrained-delegation={name}/{DOVECOT}@{REALM}",
                       f"{name}/{PROXY}")
        kdc.add_service("proxyadm", self.folder / "proxyadm.keytab")
        for path in self.folder.glob("*.keytab"):
            path.chmod(0o644)
        self.realm.settle()

    def add_user(self, uid, pool):
        self.realm.directory.add(
            person(uid), uid=uid, cn=uid, sn=uid, postcellPoolName=pool,
            objectClass=["inetOrgPerson", "postcellAccount", "postcellLogin"],
            userPassword=WORD, **({} if uid in NAMELESS else {
                "krb5PrincipalName": f"{uid}@{REALM}"}))
        self.realm.kdc.set_password(uid, WORD)

    def settle_users(self):
        """The first login of a day changes an account."""
        for uid in USERS:
            self.kinit(uid)
        wait_until(lambda: all(self.realm.values(
            person(uid), "postcellLastLogin") for uid in USERS), 20)
        self.settle()

    def settle(self):
        csns = self.realm.directory.csns()
        wait_until(lambda: realms.in_step(self.replicad, csns), 10,
                   "the proxy's replica in step")

    def start_proxy(self, name, address, kinds=PORTS, **auth):
        folder = self.folder / f"{name}.d"
        (folder / "empty").mkdir(parents=True, exist_ok=True)
        conf = self.folder / f"{name}.conf"
        auth = {"processes": 1, "deadline": 4, **auth}
        conf.write_text(f"""
host_name = "proxy.example.org"
replica = "{self.replicad.path}"
start_wait = 0
run_dir = "{folder}/run"
user = "nobody"
chroot = "{folder}/empty"
relays = 1
tls {{
	certificate = "{self.folder}/{name}.pem"
	key = "{self.folder}/{name}.key"
}}
backend {{
	ca_file = "{self.folder}/server.pem"
	retry_time = 0
}}
directory {{
	uris = {{ "{self.realm.directory.url}" }}
	user = "nobody"
	tls = none
}}
auth {{
	keytab = "{self.folder}/proxy.keytab"
	realm = "{REALM}"
	masters = {{ "pam" }}
""" + "".join(f"\t{option} = {value}\n" for option, value in auth.items())
            + """
}
failures {
	delay = 0
	session_attempts = 100
}
""" + "".join(f"""
login {pool} {{
	pools = {{ "{pool}" }}
	as = ticket
	sources = {quoted(sources)}
	user = "proxyadm@{REALM}"
	keytab = "{self.folder}/proxyadm.keytab"
}}
""" for pool, sources in SOURCES.items()) + "".join(f"""
listen {kind} {{
	addresses = {{ "{address}" }}
	port = {PORTS[kind]}
	mechanisms = {{ "PLAIN", "GSSAPI" }}
	authentication = verify
}}
""" for kind in kinds) + f"""
listen plain {{
	service = imap
	addresses = {{ "{address}" }}
	port = {PLAIN_PORT}
}}
""")
        self.start(name, [self.build / "postcell-proxyd", "-c", conf],
                   lambda: all(greets(address, PORTS[kind]) for kind in kinds),
                   env=self.environment)

    def stop(self):
        super().stop()
        if self.realm:
            self.signal_kdc(signal.SIGCONT)
            self.realm.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def signal_kdc(self, number):
        os.killpg(self.realm.kdc.kdc.pid, number)

    # -- what is said of it

    def events(self, name, proxy="proxy"):
        return [line for line in self.output(proxy).splitlines()
                if f"event={name} " in line]

    def asked(self, *words):
        """How often the KDC was asked, by lines with these words."""
        return sum(all(word in line for word in words)
                   for line in self.realm.kdc.log().splitlines())

    def modify(self, uid, **attributes):
        """Done when the proxy's replica has it."""
        self.realm.modify(person(uid), **attributes)
        self.settle()

    # -- clients

    def kinit(self, user, *words, password=WORD):
        """A cache with a ticket of that user's."""
        self.tickets += 1
        cache = f"FILE:{self.folder}/cc{self.tickets}"
        done = subprocess.run(
            ["kinit.heimdal" if shutil.which("kinit.heimdal") else "kinit",
             f"--cache={cache}", "--password-file=STDIN", *words, user],
            capture_output=True, input=f"{password}\n".encode(),
            env=self.environment, timeout=TIMEOUT)
        assert done.returncode == 0, done.stderr
        return cache

    def client(self, kind, proxy="proxy", port=None):
        address = {"proxy": PROXY, "strict": STRICT}[proxy]
        return Client(address, port or PORTS[kind], kind,
                      self.folder / f"{proxy}.pem")

    def by_ticket(self, kind, user, *words, cache=None, **options):
        """(whether it was taken, the reply)."""
        cache = cache or self.kinit(user, *(words or ["--forwardable"]))
        ticket = Ticket(cache, f"{NAMES[kind]}/{PROXY}@{REALM}", **options)
        return self.finish(self.client(kind), kind, "GSSAPI", ticket.first,
                           ticket.answer)

    def by_password(self, kind, user, password=WORD, authorise="",
                    proxy="proxy", port=None):
        client = self.client(kind, proxy, port)
        return self.finish(
            client, kind, "PLAIN",
            f"{authorise}\0{user}\0{password}".encode(), lambda _: b"")

    @staticmethod
    def finish(client, kind, mechanism, first, answer):
        good, reply = client.authenticate(mechanism, first, answer)
        assert not good or kind == "submission" or client.works()
        client.close()
        return good, reply.decode()


def leftovers():
    """Caches in files, where libraries would put them, with a user of ours."""
    return [path for path in pathlib.Path("/tmp").glob("krb5cc*")
            if any(user.encode() in path.read_bytes()
                   for user in (f"fay@{REALM}", "\0\0\0\3fay"))]
