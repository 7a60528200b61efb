"""The KDC stands still, logins hang on it: what do other sessions feel?

A session through the proxy has every millisecond echoed, and so has one beside
it, which tells what the machine itself makes it wait.
"""

import base64
import os
import signal
import threading
import time

import pytest

import echo
from clients import TIMEOUT
from directory import wait_until
from small import greets
from ticket import Ticket
from ticketed import ECHO, PORTS, PROXY, REALM, WORD, Place

HANGING = 40     # logins at once, more than processes may ask
DEADLINE = 10    # s that the proxy gives them
PACE = 0.02      # s between two of them: it is not for a storm to be felt
# ms that only a busy machine can make somebody wait: who had to wait for the
# KDC would wait for the whole deadline.
LIMIT = 500 * DEADLINE


@pytest.fixture(scope="module")
def place(build):
    made = Place(build)
    before = os.environ.get("KRB5_CONFIG")
    server = echo.server(ECHO, PORTS["imap"])
    try:
        made.begin()
        assert greets(ECHO, PORTS["imap"])
        os.environ["KRB5_CONFIG"] = str(made.conf)
        made.start_proxy("proxy", PROXY, kinds=["imap"], passwords="kdc",
                         deadline=DEADLINE)
        yield made
        made.check_output("proxy")
    finally:
        if before is None:
            os.environ.pop("KRB5_CONFIG", None)
        else:
            os.environ["KRB5_CONFIG"] = before
        made.stop()
        server.terminate()
        server.join()


def listen(place):
    """One through the proxy, one past it."""
    first = base64.b64encode(f"\0ed\0{WORD}".encode())
    return (echo.Listener(PROXY, PORTS["imap"], place.folder / "proxy.pem",
                          first),
            echo.Listener(ECHO, PORTS["imap"], first=first))


def log_in(place):
    """By a password that the directory verifies; what it took, in ms."""
    start = time.monotonic()
    client = place.client("imap")
    good, reply = client.authenticate("PLAIN", f"\0ed\0{WORD}".encode(), None)
    client.close()
    assert good, reply
    return 1000 * (time.monotonic() - start)


def hang(place, tickets):
    """That many logins, by tickets and by passwords nobody has; replies."""
    replies = []

    def hang_one(number):
        if number % 2:
            replies.append(place.by_password("imap", "pam", f"{number}"))
        else:
            ticket = tickets[number]
            replies.append(place.finish(place.client("imap"), "imap", "GSSAPI",
                                        ticket.first, ticket.answer))

    threads = [threading.Thread(target=hang_one, args=(number,))
               for number in range(HANGING)]
    for thread in threads:
        thread.start()
        time.sleep(PACE)
    return threads, replies


def test_what_others_feel(place, capsys):
    cache = place.kinit("sam", "--forwardable")
    caches = {True: place.kinit("fay", "--forwardable"), False: cache}
    tickets = [Ticket(caches[number % 4 == 2], f"imap/{PROXY}@{REALM}",
                      forward=number % 4 == 2) for number in range(HANGING)]
    ours, beside = listen(place)
    time.sleep(1)  # no proof, a measure
    calm = ours.end(), beside.end()
    ours, beside = listen(place)
    logins = []
    place.signal_kdc(signal.SIGSTOP)
    try:
        begin = time.monotonic()
        threads, replies = hang(place, tickets)
        while any(thread.is_alive() for thread in threads):
            logins.append(log_in(place))
            time.sleep(PACE)
        took = time.monotonic() - begin
    finally:
        place.signal_kdc(signal.SIGCONT)
    waits = ours.end(), beside.end()
    assert len(replies) == HANGING
    assert all(not good and "[UNAVAILABLE]" in reply
               for good, reply in replies), replies
    with capsys.disabled():
        print(f"\nKDC stopped, {HANGING} logins hang for {took:.1f} s\n"
              f"  echoes through the proxy  {echo.describe(waits[0])}\n"
              f"  echoes past it            {echo.describe(waits[1])}\n"
              f"  before that, through it   {echo.describe(calm[0])}\n"
              f"  before that, past it      {echo.describe(calm[1])}\n"
              f"  other logins              {echo.describe(sorted(logins))}")
    assert waits[0][-1] < LIMIT and max(logins) < LIMIT
    assert place.by_password("imap", "pam")[0]
    assert wait_until(lambda: place.by_ticket("imap", "sam", cache=cache)[0],
                      TIMEOUT)
