"""Logins by ticket beside logins by password, one at a time.

    tests/bench/tickets.py [--logins N] [--rounds R] [--first]

From the client's command to the server's answer, a TLS session being there; a
real Dovecot behind it all, tickets of the proxy's and of users kept. All ways
take turns within a round; the range is that of the rounds' medians. With --first,
as root, on a busy machine: all of it goes first.
"""

import argparse
import os
import pathlib
import signal
import statistics
import sys
import time

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/scenarios"))

from conftest import BUILD  # noqa: E402
from small import Client  # noqa: E402
from ticket import Ticket  # noqa: E402
from ticketed import (DOVECOT, PLAIN_PORT, PORTS, PROXY, REALM,  # noqa: E402
                      STRICT, WORD, Place)


class Way:
    def __init__(self, title, place, address, user, password=None, port=None,
                 forward=False):
        self.title, self.place, self.address = title, place, address
        self.user, self.password, self.forward = user, password, forward
        self.port = port or PORTS["imap"]
        self.ca = place.folder / {PROXY: "proxy.pem", STRICT: "strict.pem",
                                  DOVECOT: "server.pem"}[address]
        self.cache = None if password else place.kinit(user, "--forwardable")
        self.medians = []

    def log_in(self):
        """ms; the client's own ticket is there before."""
        client = Client(self.address, self.port, "imap", self.ca)
        if self.password:
            name, answer = "PLAIN", None
            first = f"\0{self.user}\0{self.password}".encode()
        else:
            host = DOVECOT if self.address == DOVECOT else PROXY
            ticket = Ticket(self.cache, f"imap/{host}@{REALM}", self.forward)
            name, first, answer = "GSSAPI", ticket.first, ticket.answer
        begin = time.monotonic()
        good, reply = client.authenticate(name, first, answer)
        took = time.monotonic() - begin
        client.close()
        assert good, f"{self.title}: {reply} {self.place.output('proxy')}"
        return 1000 * took


def make_ways(place):
    return [
        Way("PLAIN passed on", place, PROXY, "sue", "plain", PLAIN_PORT),
        Way("PLAIN, bind, user's ticket", place, PROXY, "pam", WORD),
        Way("PLAIN, KDC, user's ticket", place, STRICT, "pam", WORD),
        Way("GSSAPI, proxy's ticket", place, PROXY, "oli"),
        Way("GSSAPI, S4U2Proxy", place, PROXY, "sue"),
        Way("GSSAPI, forwarded", place, PROXY, "fay", forward=True),
        Way("PLAIN without a proxy", place, DOVECOT, "sue", "plain"),
        Way("GSSAPI without a proxy", place, DOVECOT, "sue"),
    ]


def run(place, wanted):
    place.begin()
    os.environ["KRB5_CONFIG"] = str(place.conf)
    place.start_proxy("proxy", PROXY, kinds=["imap"])
    place.start_proxy("strict", STRICT, kinds=["imap"], passwords="kdc")
    ways = make_ways(place)
    for way in ways:
        for _ in range(3):
            way.log_in()
    for _ in range(wanted.rounds):
        waits = [[] for _ in ways]
        for _ in range(wanted.logins):
            for number, way in enumerate(ways):
                waits[number].append(way.log_in())
        for number, way in enumerate(ways):
            way.medians.append(statistics.median(waits[number]))
    for way in ways:
        more = [mine - theirs for mine, theirs
                in zip(way.medians, ways[0].medians)]
        print(f"{way.title:27} {statistics.median(way.medians):6.2f} ms "
              f"({min(way.medians):.2f} to {max(way.medians):.2f}), "
              f"{statistics.median(more):+6.2f} ms "
              f"({min(more):+.2f} to {max(more):+.2f}) to the first")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--logins", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first", action="store_true")
    wanted = parser.parse_args()
    if wanted.first:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    # What was started ends with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    place = Place(BUILD)
    try:
        run(place, wanted)
    finally:
        place.stop()


if __name__ == "__main__":
    main()
