"""Other ways into the cell: where the proxies find out themselves who it is, by
password, ticket or certificate; through a load balancer; and what a proxy says
of its health."""

import base64
import http.client
import re
import smtplib
import socket

import pytest

import balancer
import imap
from clients import TIMEOUT, Lines, address, context, curl, faults_of
from layout import (BALANCED_PORTS, BALANCERS, HOST, METRICS_PORT, OBSERVERS,
                    PORTS, PROXIES, SSO_PORTS)
from process import wait_until

both_proxies = pytest.mark.parametrize("proxy", PROXIES)
sso_kinds = pytest.mark.parametrize("kind", ["imap", "pop3", "submission",
                                             "sieve"])
needs_balancer = pytest.mark.skipif(not balancer.is_used(),
                                    reason="HAProxy is not installed")
LB = next(iter(BALANCERS))
SERVICES = {"imap": "imap", "pop3": "pop3", "submission": "smtp"}


@pytest.fixture(scope="module")
def people(cell):
    lines = cell.layout.users.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines]


class Session(Lines):
    """One that said STARTTLS and knows what it is offered."""

    BEGIN = {"imap": b"a STARTTLS", "pop3": b"STLS", "submission": b"STARTTLS",
             "sieve": b"STARTTLS"}
    ASK = {"imap": b"b CAPABILITY", "pop3": b"CAPA", "submission": b"EHLO x",
           "sieve": b"CAPABILITY"}
    LAST = {"imap": b"b ", "pop3": b".", "submission": b"250 ", "sieve": b"OK"}

    def __init__(self, cell, where, kind, ports=SSO_PORTS, source=None):
        self.kind = kind
        super().__init__(cell, where, kind, ports=ports, source=source)
        self.hear_until(b"OK" if kind == "sieve" else b"")
        if kind == "submission":
            self.say(b"EHLO x")
            self.hear_until(b"250 ")
        assert self.ask(self.BEGIN[kind])
        self.start_tls()
        if kind == "sieve":
            self.hear_until(b"OK")

    def hear_until(self, start):
        lines = [self.hear()]
        while lines[-1] and not lines[-1].startswith(start):
            lines.append(self.hear())
        assert lines[-1], lines
        return b"\n".join(lines).decode()

    def offered(self):
        self.say(self.ASK[self.kind])
        return self.hear_until(self.LAST[self.kind])

    def log_in(self, login, password):
        """By PLAIN; whether it was taken."""
        if self.kind == "submission":
            self.offered()
        text = base64.b64encode(f"\0{login}\0{password}".encode())
        self.say({"imap": b"c AUTHENTICATE PLAIN " + text,
                  "sieve": b'AUTHENTICATE "PLAIN" {%d+}\r\n%s'
                           % (len(text), text),
                  }.get(self.kind, b"AUTH PLAIN " + text))
        answer = self.hear()
        while answer.startswith(b"* "):
            answer = self.hear()
        good = {"imap": b"c OK", "pop3": b"+OK", "submission": b"235",
                "sieve": b"OK"}
        return answer.startswith(good[self.kind])


# ---- the proxy verifies ----

@both_proxies
@sso_kinds
def test_everybody_logs_in_where_the_proxy_verifies(cell, people, proxy, kind):
    """Servers hear of them by the proxy's own ticket."""
    def attempt(login, password):
        session = Session(cell, proxy, kind)
        assert session.log_in(login, password)
        session.close()
    assert not faults_of(people, attempt)


@both_proxies
def test_each_has_the_own_mailbox(cell, people, proxy):
    """On the own server, whichever way one came: servers remember users, and
    all of these come by one ticket."""
    def visit(login, password, ports):
        session = cell.login(address(cell, proxy), login, password,
                             ports=ports)
        server = session.served_by()
        session.select()
        status = session.status("INBOX", "(UIDVALIDITY)")[1]
        mark = f"own-{people.index((login, password))}-{proxy}-end"
        if ports is PORTS:
            session.append("INBOX", None, None,
                           f"Subject: {mark}\r\n\r\nx\r\n".encode())
        found = session.search(None, "SUBJECT", f'"{mark}"')[1][0].split()
        session.logout()
        return server, status, len(found)

    def attempt(login, password):
        usual = visit(login, password, PORTS)
        assert usual[2] == 1
        assert [visit(login, password, SSO_PORTS) for _ in range(2)] == \
            [usual] * 2
    assert not faults_of(people, attempt)


@sso_kinds
def test_a_wrong_password_is_refused(cell, kind):
    session = Session(cell, "proxy1", kind)
    assert not session.log_in("bernd", "wrong")
    assert session.log_in("bernd", "bernd-secret")
    session.close()


@both_proxies
@sso_kinds
def test_tickets_are_offered_where_people_have_them(cell, proxy, kind):
    """From other addresses, and at the usual ports, to nobody."""
    other = f"{cell.layout.net}.77"
    here = Session(cell, proxy, kind).offered()
    assert "GSSAPI" in here and "PLAIN" in here
    assert "EXTERNAL" not in here, "no certificate was shown"
    there = Session(cell, proxy, kind, source=other).offered()
    assert "GSSAPI" not in there and "PLAIN" in there
    usual = Session(cell, proxy, kind, ports=PORTS).offered()
    assert "GSSAPI" not in usual and "PLAIN" in usual


@both_proxies
@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize("tls", ["", "s"], ids=["starttls", "tls"])
def test_a_certificate(cell, proxy, kind, tls):
    """Of the first user, who needs nothing else."""
    done = with_certificate(cell, proxy, kind, tls, "anna")
    assert done.returncode == 0, done.stderr.decode()


def with_certificate(cell, proxy, kind, tls, login):
    service = SERVICES[kind]
    # Without a mail to send curl asks for help, which not all servers give.
    options = ["-X", "NOOP"] if kind == "submission" else []
    return curl(cell, proxy, login, "",
                f"{service}{tls}://{HOST}:{SSO_PORTS[kind + tls]}/",
                "--ssl-reqd", "--cert", cell.layout.certificate,
                "--login-options", "AUTH=EXTERNAL", *options)


def test_a_certificate_is_nobody_elses(cell):
    assert with_certificate(cell, "proxy1", "imap", "s",
                            "bernd").returncode != 0


# ---- through a load balancer ----

@needs_balancer
def test_everybody_logs_in_through_the_balancer(cell, people):
    def attempt(login, password):
        cell.login(address(cell, LB), login, password).logout()
    assert not faults_of(people, attempt)


@needs_balancer
@pytest.mark.parametrize("kind", ["pop3", "submission", "sieve"])
def test_each_protocol_goes_through_the_balancer(cell, kind):
    session = Session(cell, LB, kind, ports=PORTS)
    assert session.log_in("clara", "clara-secret")
    session.close()


@needs_balancer
def test_the_client_address_comes_through_the_balancer(cell):
    source = f"{cell.layout.net}.81"
    session = imap.Imap(address(cell, LB), PORTS["imap"], HOST,
                        cell.layout.ca, source=source)
    session.login_plain("anna", "anna-secret")
    log = cell.layout.log / f"{session.served_by()}.log"
    assert wait_until(lambda: f"rip={source}," in log.read_text(), 5)
    session.logout()


@needs_balancer
def test_the_balancer_passes_over_a_proxy_that_is_gone(cell):
    def many():
        for _ in range(6):
            cell.login(address(cell, LB), "david", "david-secret").logout()
        return True

    cell.stop_server("proxy1")
    try:
        assert wait_until(lambda: not faults_of([("", "")],
                                                lambda *_: many()), TIMEOUT)
    finally:
        cell.start_server("proxy1")
    assert many()


@both_proxies
def test_only_balancers_connect_where_they_do(cell, proxy):
    """Whoever else comes cannot say who it is."""
    with socket.create_connection(
            (address(cell, proxy), BALANCED_PORTS["imap"]), TIMEOUT) as other:
        other.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\na NOOP\r\n")
        try:
            assert other.recv(100) == b""
        except ConnectionResetError:
            pass


# ---- mail from hubs ----

@both_proxies
def test_mail_by_the_port_of_the_facts(cell, proxy):
    """CELL_SMTP, as a hub uses it."""
    port = int(cell.facts()["CELL_SMTP"])
    with smtplib.SMTP(address(cell, proxy), port, "hub.cell.test",
                      TIMEOUT) as session:
        session.starttls(context=loose(cell))
        session.sendmail("a@cell.test", ["eva@cell.test"],
                         f"Subject: by-smtp-{proxy}\r\n\r\nx\r\n")
    mailbox = cell.login(address(cell, proxy), "eva", "eva-secret")
    mailbox.select()
    found = mailbox.search(None, "SUBJECT", f'"by-smtp-{proxy}"')[1][0]
    mailbox.logout()
    assert found


def loose(cell):
    """The certificate of the cell, under whatever name."""
    made = context(cell)
    made.check_hostname = False
    return made


# ---- health and metrics ----

def get(cell, name, path):
    connection = http.client.HTTPConnection(address(cell, name), METRICS_PORT,
                                            timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("name", [*PROXIES, *OBSERVERS])
def test_metrics(cell, name):
    def told(line):
        status, text = get(cell, name, "/metrics")
        assert status == 200
        return re.search(f"^{line}$", text, re.M)

    for line in ("postcell_replica_connected 1",
                 r"postcell_proxy_observed_up\{.*\} 1"):
        assert wait_until(lambda: told(line), TIMEOUT, 0.2), line


@both_proxies
def test_health_and_what_is_counted(cell, proxy):
    def logins():
        text = get(cell, proxy, "/metrics")[1]
        found = re.findall(
            r'^postcell_proxy_logins_total\{service="imap"\} (\S+)$', text,
            re.M)
        return sum(map(float, found))

    assert wait_until(lambda: get(cell, proxy, "/healthz")[0] == 200, TIMEOUT)
    before = logins()
    cell.login(address(cell, proxy), "felix", "felix-secret").logout()
    assert wait_until(lambda: logins() > before, TIMEOUT)
