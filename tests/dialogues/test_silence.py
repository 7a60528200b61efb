"""Back ends that fall silent, wherever they are: their client hears of it in time,
and nobody else.
"""

import base64

import pytest

from house import Proxy, Replica, addresses, check_log
from player import Player, log_in, teach

LOGINS = {
    "imap": ("S~ \\* OK .*\nC: 1 LOGIN {user} secret\n",
             "S~ 1 NO \\[UNAVAILABLE\\] .*\n"),
    "pop3": ("S: +OK proxy.example.org ready.\nC: USER {user}\nS: +OK\n"
             "C: PASS secret\n", "S~ -ERR \\[SYS/TEMP\\] .*\n"),
    "submission": ("S~ 220 .*\nC: EHLO x\n! client hears 250 .*\n"
                   "C: AUTH PLAIN {plain}\n", "S~ 454 4\\.7\\.0 .*\n"),
    "sieve": ('! client hears OK .*\nC: AUTHENTICATE "PLAIN" "{plain}"\n',
              "S~ NO \\(TRYLATER\\) .*\n"),
}
# The greeting, and what leads to TLS.
WORDS = {
    "imap": ("B: * OK [CAPABILITY IMAP4rev1 STARTTLS SASL-IR] ready\n",
             "b: S STARTTLS\nB: S OK\n"),
    "pop3": ("B: +OK ready\n", "b: STLS\nB: +OK\n"),
    "submission": ("B: 220 mbox ESMTP\n",
                   "b: EHLO proxy.example.org\nB: 250-mbox\nB: 250 STARTTLS\n"
                   "b: STARTTLS\nB: 220 go\n"),
    "sieve": ('B: "SASL" "PLAIN"\nB: "STARTTLS"\nB: OK "ready"\n',
              'b: STARTTLS\nB: OK "go"\n'),
}


@pytest.fixture(scope="module", params=list(LOGINS))
def impatient(request, folder, servers):
    """A proxy that waits a second for anything a server owes."""
    own = folder / f"silence-{request.param}"
    replica = Replica(own, request.param)
    proxy = Proxy(own / "p", next(addresses), replica, relays=1,
                  backend="reply_timeout = 1\nretry_time = 0",
                  certificate=folder / "server.pem").start()
    teach(servers, request.param)
    yield proxy
    replica.stop()
    assert proxy.stop() == 0
    check_log(proxy.log())


@pytest.mark.parametrize("user, until", [
    ("bob", "! server accepts\n"), ("bob", "B- *\n"), ("bob", "greeting"),
    ("tim", "! server accepts\n"), ("sue", "TLS")],
    ids=["at-once", "in-a-line", "after-the-greeting", "before-tls",
         "in-the-handshake"])
def test_a_silent_server(impatient, servers, user, until):
    service = impatient.service
    begin, end = LOGINS[service]
    greeting, starttls = WORDS[service]
    plain = base64.b64encode(f"\0{user}\0secret".encode()).decode()
    player = Player(impatient, servers)
    said = {"greeting": greeting, "TLS": greeting + starttls}.get(until, until)
    for line in begin.format(user=user, plain=plain).splitlines():
        player.play_line(line)
    for line in said.splitlines():
        player.play_line(line)
    # Others are served meanwhile.
    log_in(impatient, servers)
    player.play(end)
    log_in(impatient, servers)


@pytest.mark.parametrize("until", [
    "! at one\n", "! at one\nB: 220 back end\nb: LHLO proxy.example.org\n",
    "! meets one\nb: MAIL FROM:<a@example.org>\nb: RCPT TO:<ann>\n"
    "B: 250 ok\n"], ids=["at-once", "at-lhlo", "at-the-recipient"])
def test_a_server_of_mail_that_is_silent(proxy_of_mail, servers, until):
    """A temporary error for its recipient; the next one's server is asked."""
    Player(proxy_of_mail, servers).play(f"""
! hub lmtp
! mail
C: RCPT TO:<ann@example.org>
{until}
S: 451 4.3.0 The server of the mailbox failed, try again later.
! recipient ben two
C: DATA
b: DATA
B: 354 go
S: 354 End data with <CR><LF>.<CR><LF>
C: .
b: .
B: 250 2.0.0 stored
S: 250 2.0.0 stored
""")


def test_one_of_three_is_silent_at_data(proxy_of_mail, servers):
    """The message goes to the other two."""
    Player(proxy_of_mail, servers).play("""
! hub lmtp
! mail
! recipient ann one
! recipient ben two
! recipient cat three
C: DATA
! at one
b: DATA
! at two
b: DATA
B: 354 go
! at three
b: DATA
B: 354 go
S: 354 End data with <CR><LF>.<CR><LF>
C: text
C: .
b: text
b: .
B: 250 2.0.0 cat
! at two
b: text
b: .
B: 250 2.0.0 ben
S: 451 4.3.0 The server of the mailbox failed, try again later.
S: 250 2.0.0 ben
S: 250 2.0.0 cat
""")


@pytest.fixture(scope="module")
def proxy_of_mail(folder, replica):
    proxy = Proxy(folder / "silence-mail", next(addresses), replica, relays=1,
                  backend="reply_timeout = 1").start()
    yield proxy
    assert proxy.stop() == 0
    check_log(proxy.log())
