"""Limits of the whole host: counted over relays and generations."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import time

import pytest

from house import (BUILD, HUB_LISTENERS, LISTENERS, NET, TIMEOUT, check_log,
                   wait_until)
from player import GOOD_LOGIN, Peer, Player, log_in

ONE, OTHER = f"127.0.{NET}.210", f"127.0.{NET}.211"
LOGIN = "\n".join(GOOD_LOGIN.split("\n")[1:7])


@pytest.fixture
def started(make_proxy):
    made = []

    def start(limits, **options):
        made.append(make_proxy(limits=limits, relays=3, **options).start())
        return made[-1]

    yield start
    for each in made:
        each.stop()
        check_log("\n".join(line for line in each.log().splitlines()
                            if "child_died" not in line))


def connect(proxy, source=ONE, listener="plain"):
    return Peer(socket.create_connection(
        (proxy.address, {**LISTENERS, **HUB_LISTENERS}[listener]), TIMEOUT,
        (source, 0)), time.monotonic() + 2 * TIMEOUT)


def enter(proxy, **options):
    peer = connect(proxy, **options)
    assert peer.line().startswith(b"* OK "), "greeting"
    return peer


def enter_hub(proxy, listener="lmtp", **options):
    peer = connect(proxy, listener=listener, **options)
    assert peer.line().startswith(b"220 "), "greeting"
    return peer


def hub_is_refused(proxy, words, listener="lmtp", **options):
    peer = connect(proxy, listener=listener, **options)
    line = peer.line()
    if line.startswith(b"220 "):
        peer.close()
        return False
    assert line == b"421 4.3.2 " + words
    assert peer.line() == b"<closed>"
    return True


TOO_MANY = b"Too many connections from your address."
SILENT = b"Too many connections from your address have sent no mail."
REFUSED = b"* BYE Too many connections from your address."
WAITING = b"* BYE Too many connections from your address wait for a login."


def is_refused(proxy, words=REFUSED, **options):
    peer = connect(proxy, **options)
    line = peer.line()
    if line.startswith(b"* OK "):
        peer.close()
        return False
    assert line == words
    assert peer.line() == b"<closed>"
    return True


def test_sessions_of_an_address(started):
    proxy = started("address_sessions = 5")
    inside = [enter(proxy) for _ in range(5)]
    assert all(is_refused(proxy) for _ in range(10))
    assert len(proxy.sessions()) == 5
    assert proxy.counters()["limited_address"] == 10
    assert f'client={ONE} why="Too many' in \
        proxy.events("connection_refused")[0]
    others = [enter(proxy, source=OTHER) for _ in range(5)]
    assert is_refused(proxy, source=OTHER)
    inside.pop().close()
    wait_until(lambda: not is_refused(proxy), "room")
    for peer in [*inside, *others]:
        peer.close()


def test_killed_relays_give_back(started):
    proxy = started("address_sessions = 6")
    inside = [enter(proxy) for _ in range(6)]
    assert is_refused(proxy)
    for pid in proxy.relays():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: proxy.counters()["sessions"] == 0, "end of all")
    again = [enter(proxy) for _ in range(6)]
    assert is_refused(proxy)
    for peer in inside + again:
        peer.close()


def test_generations_count_together(started, servers):
    proxy = started("address_sessions = 2")
    old = enter(proxy)
    proxy.reload()

    def is_reloaded():
        with contextlib.suppress(OSError, ValueError):
            return len(proxy.relays(2)) == 3

    wait_until(is_reloaded, "reload")
    new = enter(proxy)
    assert is_refused(proxy)
    old.close()
    wait_until(lambda: not is_refused(proxy), "room")
    new.close()


def test_waiting_of_an_address(started, servers):
    """Who has logged in does not count any more."""
    proxy = started("address_waiting = 1")
    sessions = []
    for _ in range(3):
        player = Player(proxy, servers)
        player.client = connect(proxy)
        for line in LOGIN.split("\n"):
            player.play_line(line)
        sessions.append(player)
    waiting = enter(proxy)
    assert is_refused(proxy, WAITING)
    assert proxy.counters()["limited_waiting"] == 1
    assert proxy.counters()["limited_address"] == 0
    waiting.close()
    wait_until(lambda: not is_refused(proxy, WAITING), "room")
    for player in sessions:
        player.client.close()
        player.server.close()


def test_address_of_a_network(started):
    """A prefix is one address, and some have no limit."""
    proxy = started("address_sessions = 1\naddress_bits_ipv4 = 24\n"
                    f'unlimited = {{ "127.0.{NET}.212/30" }}')
    inside = enter(proxy)
    assert is_refused(proxy, source=OTHER)
    for number in range(212, 216):
        enter(proxy, source=f"127.0.{NET}.{number}").close()
    inside.close()
    wait_until(lambda: not is_refused(proxy, source=OTHER), "room")


def test_address_of_header(started):
    """Behind a balancer its clients are counted, IPv6 by prefix."""
    address = f"127.0.{NET}.252"
    started("address_sessions = 1", options=f"""
listen imap {{ addresses = {{ "{address}" }}
port = 14143
tls = none
plaintext = yes
proxy_networks = {{ "127.0.0.0/8" }} }}""")

    def greeting(client):
        peer = Peer(socket.create_connection((address, 14143), TIMEOUT),
                    time.monotonic() + TIMEOUT)
        peer.send(f"PROXY TCP6 {client} ::1 1 2\r\n".encode())
        return peer, peer.line()

    first, line = greeting("2001:db8::1")
    assert line.startswith(b"* OK ")
    assert greeting("2001:db8::2")[1] == REFUSED
    other, line = greeting("2001:db8:0:1::1")
    assert line.startswith(b"* OK ")
    first.close()
    other.close()


def play_login(proxy, servers, last):
    player = Player(proxy, servers)
    for line in [*LOGIN.split("\n")[:4], "B: L OK in", last]:
        player.play_line(line)
    return player


def test_sessions_of_a_user(started, servers):
    """Counted when the server has said yes, not before."""
    proxy = started("user_sessions = 2")
    inside = [play_login(proxy, servers, "S: 1 OK in") for _ in range(2)]
    player = play_login(
        proxy, servers, "S: 1 NO [LIMIT] Too many sessions of this user.")
    player.play_line("b. -")
    assert proxy.counters()["limited_user"] == 1
    # The client may try again, and a wrong password says nothing of limits.
    player.server = None
    player.play("""
C: 2 LOGIN bob wrong
B: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready
b~ L .*
B: L NO [AUTHENTICATIONFAILED] no
S: 2 NO [AUTHENTICATIONFAILED] no
""")
    inside[0].client.close()
    inside[0].server.close()
    wait_until(lambda: proxy.counters()["logged_in"] == 1, "end")
    log_in(proxy, servers)
    for each in inside:
        each.client.close()
        each.server.close()


@pytest.mark.parametrize("service, words", [
    ("pop3", b"-ERR [SYS/TEMP] Too many connections from your address."),
    ("submission", b"421 4.3.2 Too many connections from your address."),
    ("sieve", b'BYE (TRYLATER) "Too many connections from your address."'),
])
def test_words_of_protocols(started, service, words):
    address = f"127.0.{NET}.252"
    proxy = started("address_sessions = 1", options=f"""
listen {service} {{ addresses = {{ "{address}" }}
port = 14143 }}""")
    inside = enter(proxy, source=address)
    peer = Peer(socket.create_connection((address, 14143), TIMEOUT,
                                         (address, 0)),
                time.monotonic() + TIMEOUT)
    assert peer.line() == words
    assert peer.line() == b"<closed>"
    inside.close()


def test_implicit_tls_is_closed(started):
    proxy = started("address_sessions = 1")
    inside = enter(proxy)
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        connect(proxy, listener="tls").tls(ssl._create_unverified_context())
    inside.close()


def test_memory_before_login(started, servers):
    """Strangers who fill their buffers are all that it holds."""
    proxy = started("login_memory = 2")
    filled = b"a LOGIN {4000+}\r\n" + b"x" * 3999
    inside = []
    words = b"* BYE Too many connections wait for a login."
    while len(inside) < 2000:
        peer = connect(proxy)
        line = peer.line()
        if line == words:
            break
        peer.send(filled)
        inside.append(peer)
    assert 50 < len(inside) < 2000
    assert proxy.counters()["limited_memory"] == 1
    assert proxy.counters()["login_memory"] > 2 << 20
    for peer in inside:
        peer.close()
    wait_until(lambda: proxy.counters()["login_memory"] == 0, "memory")
    log_in(proxy, servers)
    wait_until(lambda: proxy.counters()["login_memory"] == 0, "memory")


@pytest.mark.parametrize("listener", ["lmtp", "smtp"])
def test_deliveries_of_an_address(started, listener):
    """They are counted with the sessions of their address."""
    proxy = started("address_sessions = 3")
    session = enter(proxy)
    hubs = [enter_hub(proxy, listener) for _ in range(2)]
    assert hub_is_refused(proxy, TOO_MANY, listener)
    assert is_refused(proxy)
    assert proxy.counters()["limited_address"] == 2
    enter_hub(proxy, listener, source=OTHER).close()
    hubs.pop().close()
    wait_until(lambda: not is_refused(proxy), "room")
    for peer in [session, *hubs]:
        peer.close()


def test_deliveries_that_wait(started):
    """Who has named a sender is no stranger any more."""
    proxy = started("address_waiting = 1")
    hubs = []
    for _ in range(3):
        hubs.append(enter_hub(proxy))
        assert hub_is_refused(proxy, SILENT)
        assert is_refused(proxy, WAITING)
        hubs[-1].send(b"LHLO hub\r\nMAIL FROM:<a@example.org>\r\n")
        while not hubs[-1].line().startswith(b"250 2.1.0"):
            pass
    assert proxy.counters()["limited_waiting"] == 6
    enter(proxy).close()
    for peer in hubs:
        peer.close()


def test_logins_do_not_keep_mail_out(started):
    """When they fill all the memory that there is for them."""
    proxy = started("login_memory = 1")
    filled = b"a LOGIN {4000+}\r\n" + b"x" * 3999
    inside = []
    while (peer := connect(proxy)).line().startswith(b"* OK "):
        peer.send(filled)
        inside.append(peer)
        assert len(inside) < 2000
    enter_hub(proxy).close()
    for peer in inside:
        peer.close()


def test_shown(started, servers):
    proxy = started("address_sessions = 2\nuser_sessions = 7")
    player = Player(proxy, servers)
    player.client = connect(proxy)
    for line in LOGIN.split("\n"):
        player.play_line(line)
    waiting = enter(proxy)
    assert is_refused(proxy)
    hubs = [enter_hub(proxy, source=OTHER) for _ in range(2)]
    hubs[0].send(b"LHLO hub\r\nMAIL FROM:<a@example.org>\r\n")
    while not hubs[0].line().startswith(b"250 2.1.0"):
        pass
    conf = proxy.folder / "ctl.conf"
    conf.write_text(f'run_dir = "{proxy.folder}/run"\n')
    text = subprocess.run(
        [BUILD / "postcellctl", "-c", conf, "limits"], check=True,
        capture_output=True, text=True).stdout
    words = [line.split() for line in text.splitlines()]
    assert ["address_sessions", "2", "1"] in words
    assert ["user_sessions", "7", "0"] in words
    assert ["address_waiting", "-", "0"] in words
    assert [ONE, "2", "1"] in words
    assert [OTHER, "2", "1"] in words
    assert ["bob", "imap", "1"] in words
    for peer in [waiting, *hubs]:
        peer.close()
    player.client.close()
    player.server.close()
