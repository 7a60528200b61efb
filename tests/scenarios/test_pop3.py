"""POP3 through the proxies, with stock clients."""

import base64
import os
import poplib
import re
import subprocess

import pytest

from clients import (TIMEOUT, Lines, address, context, curl, faults_of)
from layout import HOST, PORTS, PROXIES, SERVERS
from process import wait_until

MESSAGE = b"From: a@cell.test\r\nSubject: %s\r\n\r\n.dot\r\nbody of %s\r\n"

both_proxies = pytest.mark.parametrize("proxy", PROXIES)


@pytest.fixture(scope="module")
def people(cell):
    lines = cell.layout.users.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines]


class Pop3(poplib.POP3):
    """Connects to an address and expects a host's certificate there."""

    def __init__(self, cell, where, implicit=False):
        self.cell, self.implicit = cell, implicit
        self.encoding = "utf-8"
        super().__init__(address(cell, where),
                         PORTS["pop3s" if implicit else "pop3"], TIMEOUT)
        self.host = HOST if where in PROXIES else f"{where}.cell.test"
        if not implicit:
            self.stls(context(cell))

    def _create_socket(self, timeout):
        connected = super()._create_socket(timeout)
        if self.implicit:
            return context(self.cell).wrap_socket(connected,
                                                  server_hostname=HOST)
        return connected

    def auth_plain(self, login, password):
        secret = f"\0{login}\0{password}".encode()
        return self._shortcmd("AUTH PLAIN "
                              + base64.b64encode(secret).decode())


def put(cell, login, password, text):
    session = cell.login(address(cell, "proxy1"), login, password)
    session.append("INBOX", None, None, MESSAGE % (text, text))
    session.logout()


@both_proxies
@pytest.mark.parametrize("implicit", [False, True], ids=["stls", "tls"])
@pytest.mark.parametrize("how", ["user", "auth"])
def test_everybody_logs_in(cell, people, proxy, implicit, how):
    def attempt(login, password):
        session = Pop3(cell, proxy, implicit)
        if how == "user":
            session.user(login)
            session.pass_(password)
        else:
            session.auth_plain(login, password)
        assert session.stat()[0] >= 0
        session.quit()
    assert not faults_of(people, attempt)


@both_proxies
@pytest.mark.parametrize("url, options", [
    (f"pop3s://{HOST}:{PORTS['pop3s']}/", ()),
    (f"pop3://{HOST}:{PORTS['pop3']}/", ("--ssl-reqd",)),
    (f"pop3://{HOST}:{PORTS['pop3']}/",
     ("--ssl-reqd", "--login-options", "AUTH=LOGIN")),
    (f"pop3://{HOST}:{PORTS['pop3']}/",
     ("--ssl-reqd", "--sasl-ir", "--login-options", "AUTH=PLAIN")),
], ids=["tls", "stls", "login", "initial"])
def test_curl_lists_and_reads(cell, proxy, url, options):
    put(cell, "david", "david-secret", b"curl")
    done = curl(cell, proxy, "david", "david-secret", url, *options)
    assert done.returncode == 0, done.stderr.decode()
    number = done.stdout.split()[-2].decode()
    done = curl(cell, proxy, "david", "david-secret", url + number, *options)
    assert b".dot\r\nbody of curl" in done.stdout


def test_what_is_offered_is_what_the_servers_have(cell):
    """Learned from them: a proxy by itself knows nothing of TOP and UIDL."""
    def offered():
        session = Pop3(cell, "proxy1")
        try:
            return session.capa()
        finally:
            session.close()

    assert wait_until(lambda: {"TOP", "UIDL"} <= set(offered()), 15)
    assert offered()["SASL"] == ["PLAIN", "LOGIN"]
    assert "UTF8" not in offered(), "Dovecot 2.3 has no UTF8"


@both_proxies
def test_unique_ids_are_the_servers_own(cell, proxy):
    put(cell, "eva", "eva-secret", b"uidl")

    def unique_ids(where):
        session = Pop3(cell, where)
        session.user("eva")
        session.pass_("eva-secret")
        found = session.uidl()[1]
        session.quit()
        return found

    server = next(name for name in SERVERS
                  if name == served_by(cell, "eva", "eva-secret"))
    ours = unique_ids(proxy)
    assert ours and ours == unique_ids(server)


def served_by(cell, login, password):
    session = cell.login(address(cell, "proxy1"), login, password)
    try:
        return session.served_by()
    finally:
        session.logout()


@both_proxies
@pytest.mark.parametrize("protocol, port, how", [
    ("pop3", "pop3", 'sslproto "tls1.2+"'), ("pop3", "pop3s", "ssl"),
    ("imap", "imap", 'sslproto "tls1.2+"'), ("imap", "imaps", "ssl")],
    ids=["pop3", "pop3s", "imap", "imaps"])
def test_fetchmail_fetches(cell, proxy, protocol, port, how, tmp_path):
    put(cell, "felix", "felix-secret", b"fetchmail")
    conf = tmp_path / "fetchmailrc"
    conf.write_text(f"""
poll {address(cell, proxy)} protocol {protocol} service {PORTS[port]}
  user felix password felix-secret keep fetchall
  {how} sslcertck sslcertfile {cell.layout.ca}
  sslcommonname {HOST} mda "cat >>{tmp_path}/mail"
""")
    conf.chmod(0o600)
    done = subprocess.run(
        ["fetchmail", "-f", conf, "--nosyslog", "-v"], timeout=TIMEOUT,
        capture_output=True, env=dict(os.environ, FETCHMAILHOME=str(tmp_path)))
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    assert b"body of fetchmail" in (tmp_path / "mail").read_bytes()


@both_proxies
def test_commands_sent_ahead_go_to_the_server(cell, proxy):
    session = Lines(cell, proxy, "pop3s", implicit=True)
    assert session.hear().startswith(b"+OK")
    session.say(b"USER anna", b"PASS anna-secret", b"NOOP", b"QUIT")
    assert [session.hear()[:3] for _ in range(4)] == [b"+OK"] * 4
    session.close()


@both_proxies
@pytest.mark.parametrize("login", ["anna", "nobody-of-that-name"])
def test_who_is_refused_learns_nothing_else(cell, proxy, login):
    session = Pop3(cell, proxy)
    session.user(login)
    with pytest.raises(poplib.error_proto,
                       match=r"-ERR \[AUTH\] Authentication failed\."):
        session.pass_("wrong")
    session.close()


def test_nothing_survives_stls(cell):
    session = Lines(cell, "proxy1", "pop3")
    session.hear()
    session.say(b"STLS", b"USER anna", b"PASS anna-secret")
    assert session.hear().startswith(b"+OK Begin TLS")
    session.start_tls()
    assert session.ask(b"PASS anna-secret") == b"-ERR USER comes before PASS."
    session.close()


def test_the_client_address_reaches_the_server(cell):
    source = f"{cell.layout.net}.78"
    session = Lines(cell, "proxy2", "pop3s", implicit=True, source=source)
    session.hear()
    session.ask(b"USER anna")
    assert session.ask(b"PASS anna-secret").startswith(b"+OK")
    log = cell.layout.log / f"{served_by(cell, 'anna', 'anna-secret')}.log"
    assert wait_until(
        lambda: re.search(rf"pop3-login: .*rip={re.escape(source)},",
                          log.read_text()), 5)
    session.close()
