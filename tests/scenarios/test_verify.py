"""Logins that the proxy decides about, asking two real slapds.

Two slapds that hold the same entries, one Dovecot, and one proxy whose
listeners all say `authentication = verify`. Accounts of the pool `master` are
logged in at the Dovecot by a master user, whose password they do not know;
those of the pool `own` by their own password.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from clients import TIMEOUT
from directory import Directory, SLAPADD, SUFFIX
from process import wait_until
from small import (KINDS, Client, House, dovecot_conf, greets,
                   make_certificate)

NET = "127.0.53"
DOVECOT, PROXY = f"{NET}.11", f"{NET}.1"
SLAPDS = (f"{NET}.21", f"{NET}.22")
PORTS = {"imap": 17143, "pop3": 17110, "submission": 17587, "sieve": 17419}
LDAP_PORT = 17389
DELAY = 150  # ms of the first failure
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

kinds = pytest.mark.parametrize("kind", KINDS)

USERS = {"bob": ("master", ""), "ann": ("own", ""), "eve": ("own", ""),
         "root": ("own", ""),
         "away": ("master", "postcellStatus: nologin until Monday\n"),
         "gone": ("master", "postcellStatus: disabled\n"),
         **{f"user{i}": ("master", "") for i in range(20)}}


def password(uid):
    return f"pass-{uid}"


def people():
    """Their entries, the same for slapd and replicad."""
    return "\n".join(
        f"dn: uid={uid},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\n"
        f"objectClass: postcellAccount\ncn: {uid}\nsn: {uid}\nuid: {uid}\n"
        f"mail: {uid}@verify.test\nuserPassword: {password(uid)}\n"
        f"postcellPoolName: {pool}\n{extra}"
        for uid, (pool, extra) in USERS.items())


def tree():
    return "\n".join([
        f"dn: {SUFFIX}\nobjectClass: organization\nobjectClass: dcObject\n"
        "dc: replica\no: replica\n",
        f"dn: ou=people,{SUFFIX}\nobjectClass: organizationalUnit\n"
        "ou: people\n", people()])


def cell_map():
    services = "".join(
        f"postcellService: {kind}://{DOVECOT}:{port}?tls=starttls\n"
        for kind, port in PORTS.items())
    return "\n".join(
        f"dn: cn={pool},ou=pools,o=x\nobjectClass: postcellPool\n"
        f"cn: {pool}\n\n"
        f"dn: cn=mbox-{pool},ou=servers,o=x\nobjectClass: postcellServer\n"
        f"cn: mbox-{pool}\npostcellPoolName: {pool}\n{services}"
        for pool in ("master", "own"))


PASSDBS = """
auth_master_user_separator = *
passdb {{
  driver = passwd-file
  args = {folder}/masters
  master = yes
}}
passdb {{
  driver = passwd-file
  args = {folder}/passwd
}}
"""


def make_dovecot(folder):
    # The servers know nobody's password but those of the pool `own`.
    (folder / "masters").write_text("proxy:{PLAIN}master-secret\n"
                                    "root:{PLAIN}pass-root\n")
    (folder / "passwd").write_text("".join(
        f"{uid}:{{PLAIN}}{password(uid) if pool == 'own' else os.urandom(9).hex()}\n"
        for uid, (pool, _) in USERS.items()))
    return dovecot_conf(folder, DOVECOT, PORTS, "plain",
                        PASSDBS.format(folder=folder))


def make_replicad(folder, build):
    (folder / "cell.ldif").write_text(cell_map() + "\n" + people())
    conf = folder / "replicad.conf"
    conf.write_text(f'replica = "{folder}/replica"\nmap_size_max = 64\n'
                    f'user = ""\nsource = ldif\n'
                    f'ldif_file = "{folder}/cell.ldif"\n')
    return [build / "postcell-replicad", "-c", conf]


def make_proxy(folder, build):
    (folder / "empty").mkdir()
    (folder / "master.password").write_text("master-secret\n")
    uris = ", ".join(f'"ldap://{each}:{LDAP_PORT}"' for each in SLAPDS)
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
	client_ca = "{folder}/clients.pem"
	client_certificate = ask
}}
backend {{
	ca_file = "{folder}/server.pem"
}}
directory {{
	uris = {{ {uris} }}
	tls = none
	user = "nobody"
	timeout = 1
}}
auth {{
	masters = {{ "root" }}
	master_separator = "*"
	deadline = 5
}}
login masters {{
	pools = {{ "master" }}
	as = master
	user = "proxy"
	password_file = "{folder}/master.password"
}}
failures {{
	delay = {DELAY}
	delay_max = {2 * DELAY}
	address_attempts = 0
	account_attempts = 20
	session_attempts = 3
}}
""" + "".join(f"""
listen {kind} {{
	addresses = {{ "{PROXY}" }}
	port = {port}
	mechanisms = {{ "PLAIN", "LOGIN", "EXTERNAL" }}
	authentication = verify
}}
""" for kind, port in PORTS.items()))
    return [build / "postcell-proxyd", "-c", conf]


def make_client_certificates(folder):
    """An authority, bob's certificate by it, and one by nobody."""
    def run(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
           "-days", "30")
    run("req", "-x509", *key, "-subj", "/CN=clients", "-keyout",
        folder / "clients.key", "-out", folder / "clients.pem")
    for name in ("bob", "ann"):
        run("req", "-x509", *key, "-subj", f"/CN={name}", "-CA",
            folder / "clients.pem", "-CAkey", folder / "clients.key",
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")


class Place(House):
    """All that runs."""

    def __init__(self, build):
        super().__init__()
        self.build = build
        make_certificate(self.folder, "server", DOVECOT)
        make_certificate(self.folder, "proxy", PROXY)
        make_client_certificates(self.folder)
        self.slapds = []

    def begin(self):
        for number, address in enumerate(SLAPDS):
            slapd = Directory(self.folder / f"slapd{number}", address,
                              LDAP_PORT)
            slapd.acl = "access to * by * read"
            slapd.write_conf()
            (slapd.folder / "load.ldif").write_text(tree())
            subprocess.run([SLAPADD, "-q", "-f", slapd.conf, "-b", SUFFIX,
                            "-l", slapd.folder / "load.ldif"], check=True,
                           capture_output=True)
            self.slapds.append(slapd.start())
        self.start("replicad", make_replicad(self.folder, self.build),
                   lambda: (self.folder / "replica" / "data.mdb").exists())
        self.start("dovecot", make_dovecot(self.folder),
                   lambda: all(greets(DOVECOT, port)
                               for port in PORTS.values()))
        self.start("proxyd", make_proxy(self.folder, self.build),
                   lambda: all(greets(PROXY, port)
                               for port in PORTS.values()))
        return self

    def stop(self):
        for slapd in self.slapds:
            slapd.stop()
        super().stop()

    def client(self, kind, certificate=None):
        if certificate:
            certificate = self.folder / f"{certificate}.pem"
        return Client(PROXY, PORTS[kind], kind, self.folder / "proxy.pem",
                      certificate)

    def events(self, name):
        return [line for line in self.output("proxyd").splitlines()
                if f"event={name} " in line]

    def states(self):
        """Of all sessions."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(TIMEOUT)
            control.connect(str(self.folder / "proxy" / "proxyd.sock"))
            control.sendall(b"who\n")
            return [each["state"] for each in
                    json.load(control.makefile("rb"))["sessions"]]

    def children(self, name):
        """Processes of the proxy by that name."""
        parent = self.running["proxyd"].pid
        found = []
        for each in pathlib.Path(f"/proc/{parent}/task/{parent}/children") \
                .read_text().split():
            if pathlib.Path(f"/proc/{each}/comm").read_text().strip() == name:
                found.append(int(each))
        return found


@pytest.fixture(scope="module")
def place(build):
    made = Place(build)
    try:
        yield made.begin()
        made.check_output("proxyd")
    finally:
        made.stop()


def plain(user, secret, owner=""):
    return f"{owner}\0{user}\0{secret}".encode()


def log_in(place, kind, user, secret=None, owner=""):
    """(whether it was taken, the reply), by PLAIN."""
    client = place.client(kind)
    good, reply = client.authenticate(
        "PLAIN", plain(user, password(user) if secret is None else secret,
                       owner), None)
    works = good and (kind == "submission" or client.works())
    client.close()
    assert not good or works
    return good, reply.decode()


WRONG = {"imap": "a NO [AUTHENTICATIONFAILED] Authentication failed.",
         "pop3": "-ERR [AUTH] Authentication failed.",
         "submission": "535 5.7.8 Authentication failed.",
         "sieve": 'NO "Authentication failed."'}
LATER = {"imap": r"a NO \[UNAVAILABLE\] .*", "pop3": r"-ERR \[SYS/TEMP\] .*",
         "submission": r"454 4\.7\.0 .*", "sieve": r"NO \(TRYLATER\) .*"}
AWAY = {"imap": r"a NO \[CONTACTADMIN\] .* until Monday",
        "pop3": r"-ERR \[SYS/PERM\] .* until Monday",
        "submission": r"525 5\.7\.13 .* until Monday",
        "sieve": r'NO ".* until Monday"'}


@kinds
@pytest.mark.parametrize("user", ["bob", "ann"])
def test_a_password(place, kind, user):
    """By a master user and by the user's own password."""
    assert log_in(place, kind, user)[0]


@kinds
@pytest.mark.parametrize("user, secret", [
    ("user0", "wrong"), ("user1", "wrong"), ("nobody", "wrong"),
    ("gone", password("gone")), ("gone", "wrong"), ("away", "wrong"),
    ("user0", "master-secret"), ("proxy", "master-secret")])
def test_what_is_wrong_looks_the_same(place, kind, user, secret):
    began = time.monotonic()
    assert log_in(place, kind, user, secret) == (False, WRONG[kind])
    assert time.monotonic() - began >= DELAY / 1000


@kinds
def test_who_may_not_log_in_is_told_why(place, kind):
    """With the right password alone."""
    good, reply = log_in(place, kind, "away")
    assert not good and re.fullmatch(AWAY[kind], reply)


@kinds
def test_one_session_goes_on_after_a_failure(place, kind):
    client = place.client(kind)
    assert not client.authenticate("PLAIN", plain("ann", "no"), None)[0]
    assert client.authenticate("PLAIN", plain("ann", password("ann")),
                               None)[0]
    client.close()


@kinds
def test_a_session_ends_after_three_failures(place, kind):
    client = place.client(kind)
    for _ in range(3):
        assert not client.authenticate("PLAIN", plain("eve", "no"), None)[0]
    rest = client.file.read()
    assert rest == b"" or b"Too many failed logins" in rest
    client.close()


@kinds
def test_a_master_and_the_mailbox_of_another(place, kind):
    assert log_in(place, kind, "root", owner="bob")[0]
    assert log_in(place, kind, "root", owner="ann")[0]
    assert log_in(place, kind, "bob*root", password("root"))[0]
    assert 'user="bob"' in wait_for_end(place, "bob")


def wait_for_end(place, user):
    def last():
        ends = [line for line in place.events("session_end")
                if f'user="{user}"' in line]
        return ends[-1] if ends else None
    return wait_until(last, TIMEOUT) and last()


@kinds
def test_who_is_no_master_may_not(place, kind):
    assert log_in(place, kind, "ann", owner="user2") == (False, WRONG[kind])
    assert log_in(place, kind, "user3*ann",
                  password("ann")) == (False, WRONG[kind])
    assert log_in(place, kind, "root", "wrong",
                  owner="user4") == (False, WRONG[kind])


# -- certificates -----------------------------------------------------------


@kinds
def test_a_certificate(place, kind):
    client = place.client(kind, "bob")
    client.begin("EXTERNAL", b"bob")
    assert client.hear()[1][0]
    assert kind == "submission" or client.works()
    client.close()


@kinds
def test_a_certificate_is_its_owners_alone(place, kind):
    client = place.client(kind, "bob")
    client.begin("EXTERNAL", b"ann")
    assert client.hear()[1] == (False, WRONG[kind].encode())
    client.close()


@kinds
def test_without_a_password_there_has_to_be_a_master(place, kind):
    """ann's pool has none."""
    client = place.client(kind, "ann")
    client.begin("EXTERNAL", b"ann")
    good, reply = client.hear()[1]
    assert not good and re.fullmatch(LATER[kind], reply.decode())
    client.close()


@kinds
def test_without_a_certificate_there_is_no_external(place, kind):
    client = place.client(kind)
    client.begin("EXTERNAL", b"bob")
    good, _ = client.hear()[1]
    assert not good
    client.close()


# -- what is counted and logged ----------------------------------------------


def test_failures_are_logged_for_fail2ban(place):
    """The filter that is shipped finds the address, whatever the name."""
    text = (ROOT / "examples" / "fail2ban-postcell.conf").read_text()
    rule = re.search(r"^failregex = (.*)$", text, re.MULTILINE)[1]
    rule = rule.replace("<ADDR>", r"(?P<addr>[0-9a-fA-F:.]+)")
    name = "x\" event=login_failed address=9.9.9.9 session=1"
    before = len(place.events("login_failed"))
    assert not log_in(place, "imap", name, "wrong")[0]
    lines = place.events("login_failed")[before:]
    found = [re.search(rule, line) for line in lines]
    assert [each["addr"] for each in found] == ["127.0.0.1"]


def status(place):
    conf = place.folder / "ctl.conf"
    conf.write_text(f'run_dir = "{place.folder}/proxy"\n'
                    f'replica = "{place.folder}/replica"\n')
    done = subprocess.run([place.build / "postcellctl", "-c", conf, "status"],
                          check=True, capture_output=True, text=True)
    return {words[0]: words[1] for line in done.stdout.splitlines()
            if len(words := line.split()) == 2}


def test_failures_are_counted(place):
    before = status(place)
    assert not log_in(place, "imap", "ann", "wrong")[0]
    assert log_in(place, "imap", "ann")[0]
    after = status(place)
    assert int(after["failed"]) == int(before["failed"]) + 1
    assert int(after["verified"]) == int(before["verified"]) + 1


def test_an_account_that_was_guessed_at_too_often(place):
    """From then on the right password does not help either."""
    for _ in range(20):
        assert not log_in(place, "imap", "user19", "wrong")[0]
    assert not log_in(place, "imap", "user19")[0]
    assert not log_in(place, "pop3", "user19@verify.test",
                      password("user19"))[0]
    assert "too many failures of this account" in \
        place.events("login_failed")[-1]
    assert log_in(place, "imap", "user18")[0]


def test_guesses_at_one_moment(place):
    """However many there are at once, no more than the limit are tried."""
    def blocked():
        return int(status(place)["blocked"])

    before, guesses, threads = blocked(), 60, []
    for _ in range(guesses):
        threads.append(threading.Thread(
            target=log_in, args=(place, "imap", "user16", "wrong")))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert blocked() - before == guesses - 20


# -- what fails -------------------------------------------------------------


def log_in_together(place, count):
    """Replies of that many logins at one moment."""
    replies, threads = [], []

    def run(number):
        user = f"user{number % 16}"
        try:
            replies.append(log_in(place, KINDS[number % 2], user))
        except (AssertionError, OSError) as fault:
            replies.append((False, repr(fault)))

    for number in range(count):
        threads.append(threading.Thread(target=run, args=(number,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return replies


def test_two_hundred_at_once(place):
    replies = log_in_together(place, 200)
    assert [reply for reply in replies if not reply[0]] == []


def test_a_directory_server_that_is_silent(place):
    """Whoever waits for it goes to the other one, all others go there."""
    first = place.slapds[0]
    assert log_in(place, "imap", "bob")[0]
    first.send(signal.SIGSTOP)
    try:
        replies = log_in_together(place, 20)
        assert [reply for reply in replies if not reply[0]] == []
        assert any(first.url in line
                   for line in place.events("directory_lost"))
    finally:
        first.send(signal.SIGCONT)


@kinds
def test_no_directory_server_at_all(place, kind):
    for slapd in place.slapds:
        slapd.stop()
    try:
        for user in ("bob", "nobody"):
            good, reply = log_in(place, kind, user, "some")
            assert not good and re.fullmatch(LATER[kind], reply)
    finally:
        for slapd in place.slapds:
            slapd.start()
    assert wait_until(lambda: log_in(place, kind, "bob")[0], TIMEOUT)


def test_an_auth_process_that_dies(place):
    """Its logins are verified by the others, and another one starts."""
    good, reply = log_in(place, "imap", "bob")
    assert good, (reply, place.output("proxyd")[-3000:])
    before = place.children("auth")
    assert len(before) == 2
    for slapd in place.slapds:
        slapd.send(signal.SIGSTOP)
    replies = []
    waiting = threading.Thread(
        target=lambda: replies.append(log_in(place, "imap", "bob")))
    waiting.start()
    assert wait_until(lambda: "verify" in place.states(), TIMEOUT)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for slapd in place.slapds:
        slapd.send(signal.SIGCONT)
    waiting.join()
    assert replies[0][0], replies
    assert wait_until(lambda: len(set(place.children("auth"))
                                  - set(before)) == 2, TIMEOUT)
    assert log_in(place, "imap", "bob")[0]


def test_a_reload_keeps_logins_going(place):
    client = place.client("imap")
    before = place.children("auth")
    place.running["proxyd"].send_signal(signal.SIGHUP)
    assert wait_until(lambda: len(set(place.children("auth"))
                                  - set(before)) == 2, TIMEOUT)
    assert client.authenticate("PLAIN", plain("bob", password("bob")),
                               None)[0]
    client.close()
    assert log_in(place, "imap", "bob")[0]
