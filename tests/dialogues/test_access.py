"""What clients are offered: by listener, by network, by what servers take."""

import contextlib
import re
import select
import socket
import threading
import time

import pytest

from house import LISTENERS, NET, TIMEOUT, check_log, wait_until
from player import Peer, Player, log_in

INSIDE, DEEP, OUTSIDE = (f"127.0.{NET}.{last}" for last in (193, 201, 177))


@pytest.fixture
def started(make_proxy):
    made = []

    def start(options, **more):
        made.append(make_proxy(options=options, **more).start())
        return made[-1]

    yield start
    for each in made:
        each.stop()
        check_log(each.log())


def connect(proxy, source=OUTSIDE, listener="plain"):
    return Peer(socket.create_connection(
        (proxy.address, LISTENERS[listener]), TIMEOUT, (source, 0)),
        time.monotonic() + 2 * TIMEOUT)


def capabilities(proxy, **options):
    peer = connect(proxy, **options)
    line = peer.line().decode()
    peer.close()
    return set(re.search(r"\[CAPABILITY (.*?)\]", line)[1].split())


def mechanisms(proxy, **options):
    return {word[5:] for word in capabilities(proxy, **options)
            if word.startswith("AUTH=")}


NETWORKS = f"""
network "127.0.{NET}.192/28" {{
	mechanisms = {{ LOGIN }}
	plaintext = yes
}}
network "127.0.{NET}.200/29" {{
	mechanisms = {{ "PLAIN" }}
	listeners = {{ "plain", "starttls" }}
	plaintext = no
}}
"""


def test_networks(started, servers):
    """The smallest network that a client is in decides."""
    proxy = started(NETWORKS)
    assert mechanisms(proxy) == {"PLAIN", "LOGIN"}
    assert mechanisms(proxy, source=INSIDE) == {"LOGIN"}
    assert mechanisms(proxy, source=INSIDE, listener="starttls") == {"LOGIN"}
    assert "LOGINDISABLED" in capabilities(proxy, listener="starttls")
    assert "LOGINDISABLED" in capabilities(proxy, source=DEEP)
    assert mechanisms(proxy, source=DEEP, listener="either") == {"LOGIN"}
    log_in(proxy, servers)


def test_what_is_not_offered_is_refused(started, servers):
    proxy = started(NETWORKS)
    for source, line, answer in [
            (INSIDE, "1 AUTHENTICATE PLAIN", "1 NO \\[CANNOT\\] .*"),
            (INSIDE, "1 LOGIN bob secret", "1 NO \\[CANNOT\\] .*"),
            (DEEP, "1 LOGIN bob secret", "1 NO \\[PRIVACYREQUIRED\\] .*"),
            (INSIDE, "1 AUTHENTICATE LOGIN", "\\+ .*")]:
        player = Player(proxy, servers)
        player.client = connect(proxy, source)
        player.play(f"S~ \\* OK .*\nC: {line}\nS~ {answer}\n")


class Capable:
    """Back ends that only tell what they can."""

    def __init__(self, servers, words):
        self.servers, self.words = servers, words
        self.over = threading.Event()
        self.told = 0
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while not self.over.is_set():
            for each in select.select(list(self.servers.sockets), [], [],
                                      0.1)[0]:
                with contextlib.suppress(OSError):
                    connection, _ = each.accept()
                    with connection:
                        connection.settimeout(1)
                        connection.sendall(b"* OK [CAPABILITY IMAP4rev1 "
                                           + self.words + b"] ready\r\n")
                        connection.recv(4096)
                    self.told += 1

    def stop(self):
        self.over.set()
        self.thread.join()


@pytest.mark.parametrize("words, offered", [
    (b"AUTH=PLAIN AUTH=SCRAM-SHA-256 AUTH=GSSAPI", {"SCRAM-SHA-256"}),
    (b"AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256",
     {"SCRAM-SHA-1", "SCRAM-SHA-256"}),
    (b"AUTH=PLAIN", set()),
])
def test_what_servers_take(started, servers, words, offered):
    """Of mechanisms that they decide about; PLAIN and LOGIN are ours."""
    back_ends = Capable(servers, words)
    try:
        proxy = started(
            f'network "{INSIDE}" {{ mechanisms = {{ "PLAIN", "LOGIN", '
            '"SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2" } }\n')
        wait_until(lambda: mechanisms(proxy, source=INSIDE)
                   == {"PLAIN", "LOGIN"} | offered, "offer")
        # Two relays have asked seven servers each by then.
        wait_until(lambda: back_ends.told >= 14, "questions")
        assert all(mechanisms(proxy, source=INSIDE)
                   == {"PLAIN", "LOGIN"} | offered for _ in range(10))
        assert mechanisms(proxy) == {"PLAIN", "LOGIN"}
    finally:
        back_ends.stop()
        servers.drop()


@pytest.mark.parametrize("text, complaint", [
    ('network "192.0.2.1/24" { }', "has bits behind its prefix"),
    ('network "office" { }', "is not an IP address"),
    ('network "192.0.2.0/24" { mechanisms = { "ROT13" } }',
     'mechanism "ROT13" is not spoken here'),
    ('network "192.0.2.0/24" { listeners = { "imaps" } }',
     'there is no listen section "imaps"'),
])
def test_faults(make_proxy, text, complaint):
    proxy = make_proxy(options="\n" + text)
    proxy.start(wait=False)
    assert proxy.process.wait(TIMEOUT) == 78
    line, = [line for line in proxy.log().splitlines() if complaint in line]
    assert re.match(re.escape(str(proxy.conf)) + r":\d+: network \"", line)
    proxy.process = None
