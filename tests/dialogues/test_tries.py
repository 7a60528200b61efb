"""A hundred thousand bad tries to log in, and a proxy that stays as it was."""

import re
import socket
import time

import pytest

from house import BUILD, LISTENERS, TIMEOUT, memory
from player import Peer, log_in

TRIES = 100_000
AT_ONCE = 500
GROWTH = 2048 * (8 if "address" in BUILD.name else 1)  # KiB

# Three NULs, NULs alone, a name and no password, and what is as long as may be:
# 12 KiB. Then what counts as a bad command, of which few are taken: cancelled,
# and what is no base64.
RESPONSES = ["AGJvYgBzZWNyZXQA", "AAA=", "AGJvYgA=", "A" * 12276]
BAD_COMMANDS = ["*", "?"]
REFUSED = re.compile(rb"-ERR |5\d\d |NO |BYE |1 (NO|BAD) |\* BYE ")
# What begins the exchange, how a response is written, what must come before,
# and what is answered with what at the end.
SERVICES = {
    "imap": ("1 AUTHENTICATE PLAIN", "{}", None, "9 NOOP", b"9 OK "),
    "pop3": ("AUTH PLAIN", "{}", None, "LANG en", b"+OK en"),
    "submission": ("AUTH PLAIN", "{}", "EHLO client.example", "NOOP",
                   b"250 2.0.0 "),
    "sieve": ('AUTHENTICATE "PLAIN"', '"{}"', None, 'NOOP "end"',
              b'OK (TAG "end")'),
}


class Trier:
    def __init__(self, proxy, before, end, ended):
        self.proxy, self.before = proxy, before
        self.end, self.ended = end, ended
        self.peer = None

    def connect(self):
        connection = socket.create_connection(
            (self.proxy.address, LISTENERS["plain"]), TIMEOUT)
        self.peer = Peer(connection, time.monotonic() + 2 * TIMEOUT)
        if self.before:
            self.peer.send(self.before.encode() + b"\r\n")

    def send(self, text):
        """Everything is answered, or the proxy has had enough and closes. How
        many tries were refused."""
        if not self.peer:
            self.connect()
        self.peer.deadline = time.monotonic() + 2 * TIMEOUT
        self.peer.send(text + self.end.encode() + b"\r\n", may_fail=True)
        refused = 0
        while True:
            line = self.peer.line()
            if line.endswith(b"<closed>"):
                self.peer.close()
                self.peer = None
                return refused
            if line.startswith(self.ended):
                return refused
            refused += bool(REFUSED.match(line))


@pytest.mark.parametrize("service", SERVICES)
def test_tries(stage, servers, service):
    proxy = stage.set(service)
    begin, form, *rest = SERVICES[service]
    pid, = proxy.relays()
    trier = Trier(proxy, *rest)
    tries, memory_before = 0, None
    while tries < TRIES:
        for response in RESPONSES + BAD_COMMANDS:
            count = AT_ONCE if len(response) < 100 else 5
            one = f"{begin}\r\n{form.format(response)}\r\n"
            refused = trier.send(one.encode() * count)
            assert refused > 0, response[:20]
            tries += refused
        # By then everything was seen once.
        if memory_before is None and tries > TRIES // 10:
            memory_before = memory(pid)
    assert memory(pid) - memory_before < GROWTH, "KiB more than before"
    if trier.peer:
        trier.peer.close()
    assert proxy.relays() == [pid]
    log_in(proxy, servers)
