"""Mail by SMTP from a hub, and by Postfix as such: to real servers."""

import contextlib
import re
import select
import smtplib
import ssl
import uuid

import pytest

import postfix
from clients import TIMEOUT, address, context
from layout import EXCHANGER_PORT, HUB_PORT, PROXIES
from process import wait_until
from test_lmtp import (ENDS, mailbox_of, message, one_for_each_server,
                       repaired, server_of)
from test_submission import open_smtp

needs_postfix = pytest.mark.skipif(
    not postfix.is_used(), reason="Postfix runs where root starts the cell")

# A whole message of its own, for who takes what is before it for an end.
SMUGGLED = (b"MAIL FROM:<evil@cell.test>\r\nRCPT TO:<clara@cell.test>\r\n"
            b"DATA\r\n")


def connect(server, port):
    return smtplib.SMTP(server, port, local_hostname="hub.cell.test",
                        timeout=TIMEOUT)


@pytest.fixture(params=PROXIES)
def hub(cell, request):
    """A hub's session with a proxy."""
    session = connect(address(cell, request.param), HUB_PORT)
    session.ehlo()
    yield session
    session.close()


@pytest.fixture
def name():
    return f"{uuid.uuid4()}"


def arrived(cell, uid, name):
    """How often, once it is there."""
    return wait_until(lambda: mailbox_of(cell, uid, name), TIMEOUT, 0.2)


# -- a proxy as SMTP server ----------------------------------------------------


def test_what_is_offered(hub):
    assert {"pipelining", "8bitmime", "chunking", "size", "starttls",
            "enhancedstatuscodes"} <= set(hub.esmtp_features)
    assert "auth" not in hub.esmtp_features


def test_a_message_by_tls(cell, hub, name):
    tls = context(cell)
    tls.check_hostname = False
    hub.starttls(context=tls)
    hub.sendmail("a@cell.test", ["anna@cell.test"], message(name))
    assert mailbox_of(cell, "anna", name) == 1
    again = f"{name}-again"
    hub.sendmail("a@cell.test", ["bernd@cell.test"], message(again))
    assert mailbox_of(cell, "bernd", again) == 1


@pytest.mark.parametrize("recipient", [
    "nobody@cell.test", "anna@elsewhere.example", "anna%elsewhere@cell.test",
    "@cell.test:anna@elsewhere.example"])
def test_nothing_is_relayed(hub, recipient):
    hub.mail("a@cell.test")
    code, text = hub.docmd("RCPT", f"TO:<{recipient}>")
    assert (code, text[:5]) == (550, b"5.1.1")


def test_who_lives_elsewhere_comes_later(cell, hub, name):
    people = list(one_for_each_server(cell).values())
    hub.mail("a@cell.test")
    codes = [hub.rcpt(f"{uid}@cell.test")[0] for uid in people]
    assert codes == [250] + [452] * (len(people) - 1)
    assert hub.data(message(name))[0] == 250
    for uid in people[1:]:
        hub.mail("a@cell.test")
        assert hub.rcpt(f"{uid}@cell.test")[0] == 250
        assert hub.data(message(name))[0] == 250
    assert [mailbox_of(cell, uid, name) for uid in people] == [1] * len(people)


def test_by_chunks(cell, hub, name):
    octets = message(name) + b".\r\n.."
    hub.mail("a@cell.test", ["SIZE=100"])
    assert hub.rcpt("anna@cell.test")[0] == 250
    hub.send(b"BDAT 20\r\n" + octets[:20])
    assert hub.getreply()[0] == 250
    hub.send(b"BDAT %d LAST\r\n" % (len(octets) - 20) + octets[20:])
    assert hub.getreply()[0] == 250
    assert mailbox_of(cell, "anna", name) == 1


def test_chunks_that_a_server_lacks_memory_for(cell, hub, name):
    """20 MiB in one: it goes through as fast as it is taken."""
    size = 20 << 20
    head = message(name)
    hub.mail("a@cell.test")
    hub.rcpt("anna@cell.test")
    hub.send(b"BDAT %d LAST\r\n" % (len(head) + size) + head)
    for _ in range(size >> 16):
        hub.sock.sendall(b"0123456789abcd\r\n" * (1 << 12))
    assert hub.getreply()[0] == 250
    assert mailbox_of(cell, "anna", name) == 1


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_what_is_no_end_is_none(cell, hub, name, end):
    hub.mail("a@cell.test")
    hub.rcpt("anna@cell.test")
    assert hub.docmd("DATA")[0] == 354
    hub.sock.sendall(message(name)[:-2] + end[:2])
    assert not select.select([hub.sock], [], [], 0.05)[0]
    hub.sock.sendall(end[2:] + SMUGGLED + message(f"{name}-smuggled")
                     + b".\r\n")
    assert hub.getreply()[0] == 550
    assert hub.noop()[0] == 250
    assert mailbox_of(cell, "anna", name) == 0
    assert mailbox_of(cell, "clara", f"{name}-smuggled") == 0


def test_a_server_that_fails_within_data(cell, name):
    """The hub hears 451, keeps the message, and gets it through later."""
    victim = server_of(cell, "anna")
    hub = connect(address(cell, "proxy1"), HUB_PORT)
    with repaired(cell, victim):
        hub.ehlo()
        hub.mail("a@cell.test")
        assert hub.rcpt("anna@cell.test")[0] == 250
        assert hub.docmd("DATA")[0] == 354
        hub.sock.sendall(message(name)[:20])
        cell.stop_server(victim)
        hub.sock.sendall(message(name)[20:] + b".\r\n")
        assert hub.getreply()[0] == 451

        def again():
            with contextlib.suppress(smtplib.SMTPException):
                hub.sendmail("a@cell.test", ["anna@cell.test"], message(name))
                return True
            return False
        assert wait_until(again, TIMEOUT, 0.2)
        hub.close()
    assert mailbox_of(cell, "anna", name) == 1


# -- Postfix -------------------------------------------------------------------


@needs_postfix
@pytest.mark.parametrize("port", [EXCHANGER_PORT, HUB_PORT],
                         ids=["lmtp", "smtp"])
def test_postfix_delivers_to_everybody(cell, name, port):
    """By SMTP it sends again what was put off with 452."""
    people = list(one_for_each_server(cell).values())
    session = connect(address(cell, "mx1"), port)
    refused = session.sendmail(
        "a@cell.test", [f"{uid}@cell.test" for uid in [*people, "nobody"]],
        message(name))
    session.quit()
    assert {key: value[0] for key, value in refused.items()} == {
        "nobody@cell.test": 550}
    for uid in people:
        assert arrived(cell, uid, name) == 1
    log = (cell.layout.log / "mx1.log").read_text()
    assert bool(re.search(r"postfix/smtp\[.* 452 4\.5\.3 ", log)) or \
        port == EXCHANGER_PORT


def logged_in(cell, proxy):
    """None while the server is not reached, as after it was killed."""
    session = open_smtp(cell, proxy)
    try:
        session.login("anna", "anna-secret")
    except smtplib.SMTPAuthenticationError as error:
        session.close()
        assert error.smtp_code == 454, error
        return None
    return session


@needs_postfix
@pytest.mark.parametrize("proxy", PROXIES)
def test_from_submission_to_the_mailbox(cell, name, proxy):
    """Proxy, Postfix, LMTP by a proxy, the recipient's own server."""
    people = list(one_for_each_server(cell).values())
    session = wait_until(lambda: logged_in(cell, proxy), TIMEOUT, 0.2)
    assert session
    session.sendmail("anna@cell.test", [f"{uid}@cell.test" for uid in people],
                     message(name))
    session.quit()
    for uid in people:
        assert arrived(cell, uid, name) == 1


def say_slowly(sock, *pieces):
    for piece in pieces:
        sock.sendall(piece)
        # Nothing is answered before the end of data.
        assert not select.select([sock], [], [], 0.05)[0]


@needs_postfix
@pytest.mark.parametrize("end", ENDS, ids=repr)
@pytest.mark.parametrize("way", ["submission", "exchanger"])
def test_postfix_is_not_smuggled_past(cell, name, way, end):
    """Behind a proxy it takes nobody's LF for the end of a message."""
    if way == "submission":
        session = open_smtp(cell, "proxy1")
        session.login("anna", "anna-secret")
    else:
        session = connect(address(cell, "mx1"), EXCHANGER_PORT)
        session.ehlo()
    session.mail("anna@cell.test")
    assert session.rcpt("bernd@cell.test")[0] == 250
    assert session.docmd("DATA")[0] == 354
    say_slowly(session.sock, message(name)[:-2] + end[:1], end[1:] + SMUGGLED,
               message(f"{name}-smuggled"))
    with contextlib.suppress(ssl.SSLError, OSError):
        session.sock.sendall(b".\r\n")
        # One answer, and then nothing that a second message could have had.
        assert session.getreply()[0] in (250, 521, 550)
        assert session.noop()[0] == 250
    session.close()
    last = f"{name}-last"
    with contextlib.closing(connect(address(cell, "mx1"),
                                    EXCHANGER_PORT)) as after:
        after.sendmail("a@cell.test", ["clara@cell.test"], message(last))
    assert arrived(cell, "clara", last) == 1
    assert mailbox_of(cell, "clara", f"{name}-smuggled") == 0
