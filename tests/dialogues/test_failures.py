"""Wrong passwords where servers decide about them: counted, logged, delayed."""

import time

import pytest

from house import TIMEOUT, check_log, wait_until
from player import Player, log_in

NO = r"""
S~ \* OK .*
C: 1 LOGIN {user} wrong
B: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready
b~ L AUTHENTICATE PLAIN .*
B: L NO {words}
S: 1 NO {words}
"""
UNTRIED = r"""
S~ \* OK .*
C: 1 LOGIN {user} secret
S: 1 NO [AUTHENTICATIONFAILED] Authentication failed.
"""
WRONG = "[AUTHENTICATIONFAILED] Wrong."
DELAY = 200  # ms


@pytest.fixture
def started(make_proxy):
    made = []

    def start(failures, **options):
        made.append(make_proxy(failures=failures, **options).start())
        return made[-1]

    yield start
    for each in made:
        each.stop()
        check_log(each.log())


def guess(proxy, servers, user="bob", words=WRONG):
    Player(proxy, servers).play(NO.format(user=user, words=words), "guess")


def test_every_failure_is_logged_at_once(started, servers):
    """Long before its answer; with the address in front."""
    proxy = started("delay = 60000")
    player = Player(proxy, servers)
    said = NO.format(user="bob", words=WRONG).strip().split("\n")[:-1]
    for line in said:
        player.play_line(line)
    lines = wait_until(lambda: proxy.events("login_failed"), "log")
    assert lines[0].startswith("event=login_failed address=127.0.0.1 session=")
    assert 'user="bob"' in lines[0] and "count=1" in lines[0]
    assert proxy.counters()["failed"] == 1
    assert [each["state"] for each in proxy.sessions()] == ["penalty"]
    player.client.close()
    player.server.close()


def test_the_answer_comes_later_and_later(started, servers):
    proxy = started(f"delay = {DELAY}\ndelay_max = {4 * DELAY}")
    for times in (1, 2, 4, 4):
        began = time.monotonic()
        guess(proxy, servers)
        # The relay counts whole milliseconds, from the turn of its loop.
        assert time.monotonic() - began >= times * DELAY / 1000 - 0.02
    log_in(proxy, servers)


def test_unknown_users_are_as_slow(started, servers):
    proxy = started(f"delay = {DELAY}")
    began = time.monotonic()
    Player(proxy, servers).play(UNTRIED.format(user="nobody"), "unknown")
    assert time.monotonic() - began >= DELAY / 1000 - 0.02
    assert 'user="nobody"' in proxy.events("login_failed")[0]


@pytest.mark.parametrize("words", [
    "[UNAVAILABLE] Later.", "[CONTACTADMIN] Not now.", "[INUSE] Twice."])
def test_what_is_not_the_users_fault(started, servers, words):
    proxy = started("account_attempts = 1")
    for _ in range(3):
        guess(proxy, servers, words=words)
    assert proxy.events("login_failed") == []
    log_in(proxy, servers)


def test_an_account_has_so_many_guesses(started, servers):
    """Of all relays together; another account has its own."""
    proxy = started("delay = 0\naccount_attempts = 3", relays=3)
    for _ in range(3):
        guess(proxy, servers)
    for _ in range(2):
        Player(proxy, servers).play(UNTRIED.format(user="bob"), "blocked")
    guess(proxy, servers, user="one")
    assert proxy.counters()["blocked"] == 2


def test_right_passwords_are_no_guesses(started, servers):
    proxy = started("delay = 0\naccount_attempts = 2")
    for _ in range(5):
        log_in(proxy, servers)
    guess(proxy, servers)
    log_in(proxy, servers)
    assert proxy.counters()["blocked"] == 0


def test_an_address_has_so_many_guesses(started, servers):
    proxy = started("delay = 0\naddress_attempts = 2\naccount_attempts = 0")
    for user in ("nobody", "noone"):
        Player(proxy, servers).play(UNTRIED.format(user=user), "unknown")
    Player(proxy, servers).play(UNTRIED.format(user="bob"), "blocked")
    assert "of this address" in proxy.events("login_failed")[-1]


def test_an_address_that_has_no_limit(started, servers):
    proxy = started("delay = 0\naddress_attempts = 2\naccount_attempts = 0",
                    limits='unlimited = { "127.0.0.0/8" }')
    for _ in range(4):
        guess(proxy, servers)
    log_in(proxy, servers)


def test_the_window_ends(started, servers):
    proxy = started("delay = 0\naccount_attempts = 1\nwindow = 1")
    guess(proxy, servers)

    def is_open():
        try:
            log_in(proxy, servers)
            return True
        except AssertionError:
            return False

    wait_until(is_open, "end of the window", 4 * TIMEOUT)


def test_counts_outlive_a_reload(started, servers):
    proxy = started("delay = 0\naccount_attempts = 1")
    guess(proxy, servers)
    old = set(proxy.relays())
    proxy.reload()
    wait_until(lambda: proxy.relays() and not set(proxy.relays()) & old,
               "new relays")
    Player(proxy, servers).play(UNTRIED.format(user="bob"), "blocked")


def test_a_session_has_so_many_guesses(started, servers):
    proxy = started("delay = 0\nsession_attempts = 2")
    Player(proxy, servers).play(r"""
S~ \* OK .*
C: 1 LOGIN nobody x
S~ 1 NO .*
C: 2 LOGIN noone x
S~ 2 NO .*
S: * BYE Too many failed logins.
S. -
""", "session")


MASTER = r"""
S~ \* OK .*
C: 1 LOGIN "bob*root" secret
B: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready
# bob NUL root NUL secret
b: L AUTHENTICATE PLAIN Ym9iAHJvb3QAc2VjcmV0
B: L OK in
S: 1 OK in
"""


def test_a_master_is_placed_by_the_user(started, servers):
    proxy = started("delay = 0", options='auth { master_separator = "*" }')
    Player(proxy, servers).play(MASTER, "master")
    wait_until(lambda: any('user="bob"' in line
                           for line in proxy.events("session_end")), "end")


def test_without_a_separator_it_is_a_name(started, servers):
    proxy = started("delay = 0")
    Player(proxy, servers).play(UNTRIED.format(user='"bob*root"'), "name")
