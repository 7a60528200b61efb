"""A pool of Cyrus servers beside the one of Dovecots: back ends are free."""

import imaplib
import os
import re
import socket

import ldap
import pytest

import slapd
import tls
from cell import Cell
from clients import TIMEOUT, Lines, address, curl
from conftest import check_logs
from cyrus import Cyrus, Missing
from layout import ADMIN_DN, DOMAIN, HOST, PEOPLE, PORTS, PROXIES, SUFFIX
from process import wait_until

NET = os.environ.get("CELL_CYRUS_NET", "127.0.39")
LOGIN, PASSWORD = "cyril", "cyril-secret"
SERVER = "cy1"
IMAP_PORT, LMTP_PORT = 31144, 31025

both_proxies = pytest.mark.parametrize("proxy", PROXIES)


def greets(place, greeting):
    try:
        with socket.create_connection(place, TIMEOUT) as client:
            client.settimeout(TIMEOUT)
            return client.recv(100).startswith(greeting)
    except OSError:
        return False


@pytest.fixture(scope="module")
def cell(build):
    """One of its own: a server cannot be deleted before it was down for long."""
    running = Cell(build / "cyrus-cell", net=NET, build=build)
    running.stop()
    try:
        running.start()
        yield running
    finally:
        running.stop()
    check_logs(running.layout.log)


@pytest.fixture(scope="module")
def directory(cell):
    return slapd.connect(cell.layout.ldap_uris[0], cell.layout.ca, ADMIN_DN,
                         cell.settings["admin_password"])


@pytest.fixture(scope="module")
def cyrus(cell, directory, build):
    """A pool with one server and one account, all three new."""
    where = f"{cell.layout.net}.91"
    tls.make_certificate(cell.layout.tls, cell.layout.ca, SERVER,
                         f"{SERVER}.{DOMAIN}", [], [where])
    try:
        running = Cyrus(cell.layout.run / "cyrus", build, where, IMAP_PORT,
                        LMTP_PORT, cell.layout.tls / f"{SERVER}.pem",
                        cell.layout.tls / f"{SERVER}.key")
    except Missing as why:
        pytest.skip(f"Cyrus cannot be had, nothing is shown of it: {why}")
    running.add(LOGIN, PASSWORD)
    running.add(f"probe-{SERVER}", cell.settings["probe_password"])
    running.start()
    entries = {
        f"cn=cyrus,ou=pools,{SUFFIX}": [
            ("objectClass", [b"postcellPool"]), ("cn", [b"cyrus"])],
        f"cn={SERVER},ou=servers,{SUFFIX}": [
            ("objectClass", [b"postcellServer"]), ("cn", [SERVER.encode()]),
            ("postcellPoolName", [b"cyrus"]), ("postcellSite", [b"here"]),
            ("postcellState", [b"up"]), ("postcellService", [
                f"imap://{where}:{IMAP_PORT}?tls=starttls".encode(),
                f"lmtp://{where}:{LMTP_PORT}?tls=none".encode()])],
        f"uid={LOGIN},{PEOPLE}": [
            ("objectClass", [b"inetOrgPerson", b"postcellAccount"]),
            ("uid", [LOGIN.encode()]), ("cn", [b"Cyril"]), ("sn", [b"C"]),
            ("mail", [f"{LOGIN}@{DOMAIN}".encode()]),
            ("postcellPoolName", [b"cyrus"])],
    }
    try:
        assert wait_until(lambda: greets((where, IMAP_PORT), b"* OK"),
                          TIMEOUT), running.log.read_text()
        assert wait_until(lambda: greets((where, LMTP_PORT), b"220 "),
                          TIMEOUT), running.log.read_text()
        for dn, entry in entries.items():
            directory.add_s(dn, entry)
        for proxy in PROXIES:
            assert wait_until(lambda: can_log_in(cell, proxy), TIMEOUT), \
                running.log.read_text()
        yield running
    finally:
        running.stop()


def log_in(cell, proxy):
    return cell.login(address(cell, proxy), LOGIN, PASSWORD)


def can_log_in(cell, proxy):
    try:
        log_in(cell, proxy).logout()
    except (imaplib.IMAP4.error, OSError):
        return False
    return True


def texts(session, subject):
    session.select()
    numbers = session.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
    return [session.fetch(number.decode(), "(BODY.PEEK[])")[1][0][1]
            for number in numbers]


@both_proxies
def test_login_and_append(cell, cyrus, proxy):
    text = (f"From: a@{DOMAIN}\r\nSubject: append-{proxy}\r\n\r\n"
            "body\r\n").encode()
    session = log_in(cell, proxy)
    assert "Cyrus" in str(session.xatom("ID", "NIL")) + \
        str(session.untagged_responses)
    assert session.append("INBOX", None, None, text)[0] == "OK"
    assert texts(session, f"append-{proxy}") == [text]
    session.logout()
    done = curl(cell, proxy, LOGIN, PASSWORD,
                f"imaps://{HOST}:{PORTS['imaps']}/INBOX?SUBJECT%20append")
    assert done.returncode == 0, done.stderr
    assert re.match(rb"\* SEARCH( \d+)+", done.stdout), done.stdout


@both_proxies
def test_delivery(cell, cyrus, proxy):
    """A message to somebody of each pool; each answer is its server's."""
    lines = Lines(cell, proxy, "lmtp")

    def hear():
        while (line := lines.hear())[3:4] == b"-":
            pass
        return line

    def ask(line):
        lines.say(line)
        return hear()

    assert hear().startswith(b"220 ")
    assert ask(b"LHLO hub.cell.test").startswith(b"250 ")
    assert ask(b"MAIL FROM:<a@cell.test>").startswith(b"250 ")
    for name in (LOGIN, "anna"):
        assert ask(f"RCPT TO:<{name}@{DOMAIN}>".encode())[:3] == b"250"
    assert ask(b"DATA").startswith(b"354 ")
    lines.say(b"From: a@cell.test", f"Subject: mail-{proxy}".encode(), b"",
              b"..dot", b".")
    assert hear().startswith(b"250 ")
    assert hear().startswith(b"250 ")
    lines.close()
    session = log_in(cell, proxy)
    found = texts(session, f"mail-{proxy}")
    session.logout()
    assert len(found) == 1 and found[0].endswith(b"\r\n\r\n.dot\r\n"), found


def test_a_wrong_password(cell, cyrus):
    with pytest.raises(imaplib.IMAP4.error):
        cell.login(address(cell, "proxy1"), LOGIN, "wrong")


def test_observers_find_it_well(cell, cyrus, directory):
    """The probe logs in there, too."""
    found = directory.search_s(
        f"ou=proxies,{SUFFIX}", ldap.SCOPE_ONELEVEL,
        f"(|(postcellVote={SERVER} down)(postcellVote={SERVER} silent))")
    assert not found
    state = directory.search_s(f"cn={SERVER},ou=servers,{SUFFIX}",
                               ldap.SCOPE_BASE)[0][1]
    assert not [value for value in state.get("postcellTransition", [])
                if b"failed" in value]
