"""The PROXY protocol: from load balancers, and to servers that want it."""

import ipaddress
import re
import socket
import ssl
import struct
import time

import pytest

from house import NET, TIMEOUT, check_log, wait_until
from player import Peer, Player

ADDRESS = f"127.0.{NET}.251"
BALANCER = f"127.0.{NET}.240"  # in proxy_networks
STRANGER = f"127.0.{NET}.230"
PORTS = {"plain": 14243, "starttls": 14244, "tls": 14993}
HUB_PORT = 14224
LISTENERS = "".join(
    f'listen {name} {{ service = imap\naddresses = {{ "{ADDRESS}" }}\n'
    f"port = {port}\ntls = {tls}\nplaintext = {plaintext}\n"
    f'proxy_networks = {{ "::1", "127.0.{NET}.240/28" }} }}\n'
    for name, port, tls, plaintext in [
        ("b-plain", PORTS["plain"], "none", "yes"),
        ("b-starttls", PORTS["starttls"], "starttls", "no"),
        ("b-tls", PORTS["tls"], "implicit", "no")]) + f"""
listen b-lmtp {{ service = lmtp
addresses = {{ "{ADDRESS}" }}
port = {HUB_PORT}
tls = none
proxy_networks = {{ "127.0.{NET}.240/28" }} }}
"""
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.fixture
def balanced(make_proxy):
    proxy = make_proxy(options=LISTENERS, limits="login_time = 5").start()
    yield proxy
    proxy.stop()
    check_log(proxy.log())


def version_2(client, local, client_port=4711, local_port=143, tlvs=b"",
              command=1):
    addresses = [ipaddress.ip_address(each) for each in (client, local)]
    body = b"".join(each.packed for each in addresses) + \
        struct.pack(">HH", client_port, local_port) + tlvs
    family = 0x11 if addresses[0].version == 4 else 0x21
    return SIGNATURE + struct.pack(">BBH", 0x20 | command, family,
                                   len(body)) + body


def connect(listener, source=BALANCER):
    return Peer(socket.create_connection(
        (ADDRESS, {**PORTS, "lmtp": HUB_PORT}[listener]), TIMEOUT,
        (source, 0)), time.monotonic() + 2 * TIMEOUT)


def tls(peer):
    peer.tls(ssl._create_unverified_context())


def begin(listener, header, drips=False):
    """A client behind a balancer, at the proxy's greeting."""
    peer = connect(listener)
    peer.drips = drips
    peer.send(header)
    if listener == "tls":
        tls(peer)
    assert peer.line().startswith(b"* OK "), "greeting"
    if listener == "starttls":
        peer.send(b"1 STARTTLS\r\n")
        assert peer.line().startswith(b"1 OK")
        tls(peer)
    return peer


HEADERS = [
    (b"PROXY TCP4 192.0.2.33 198.51.100.9 4711 143\r\n", "192.0.2.33",
     "198.51.100.9"),
    (b"PROXY TCP6 2001:db8::33 2001:db8::9 4711 143\r\n", "2001:db8::33",
     "2001:db8::9"),
    (b"PROXY UNKNOWN\r\n", BALANCER, ADDRESS),
    (version_2("192.0.2.33", "198.51.100.9"), "192.0.2.33", "198.51.100.9"),
    (version_2("2001:db8::33", "2001:db8::9"), "2001:db8::33", "2001:db8::9"),
    (version_2("192.0.2.33", "198.51.100.9",
               tlvs=b"\x02\0\x03a.b\x20\0\x05\1\0\0\0\0" + b"\x04\x04\0" +
                    b"\0" * 1024), "192.0.2.33", "198.51.100.9"),
    (version_2("192.0.2.33", "198.51.100.9", command=0), BALANCER, ADDRESS),
    (SIGNATURE + b"\x21\x31\0\xd8" + b"/" * 216, BALANCER, ADDRESS),
]


@pytest.mark.parametrize("header, client, local, listener, drips", [
    (*row, listener, False) for row in HEADERS for listener in PORTS
] + [(*row, listener, True) for row in HEADERS[:5:2] for listener in PORTS])
def test_client_of_header(balanced, servers, header, client, local, listener,
                          drips):
    """Log, `who` and the server are told of the client, whatever its way."""
    player = Player(balanced, servers)
    player.client = begin(listener, header, drips)
    assert [each["client"] for each in balanced.sessions()] == [client]
    player.play(f"""
C: 1 LOGIN bob secret
B: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN ID] ready
b~ I ID .*"x-originating-ip" "{re.escape(client)}".*"x-connected-ip" "{re.escape(local)}".*
B: I OK
b~ L .*
B: L OK in
S: 1 OK in
! server closes
S. -
""")
    wait_until(lambda: balanced.events("session_end"), "end")
    assert f"client={client} " in balanced.events("session_end")[0]


def test_commands_behind_header(balanced, servers):
    """What comes in one segment with the header is not lost."""
    player = Player(balanced, servers)
    player.client = connect("plain")
    player.play("""
C: PROXY TCP4 192.0.2.33 198.51.100.9 4711 143\\r\\n1 NOOP
S~ \\* OK .*
S~ 1 OK .*
C: 2 LOGOUT
S~ \\* BYE .*
S~ 2 OK .*
S. -
""")


@pytest.mark.parametrize("octets, why", [
    (b"1 LOGIN bob secret\r\n", "it is no header of the PROXY protocol"),
    (b"\x16\x03\x01\x02\x00", "it is no header of the PROXY protocol"),
    (b"PROXY TCP4 192.0.2.33 198.51.100.9 4711\r\n",
     "its line cannot be understood"),
    (b"PROXY TCP4 192.0.2.33 198.51.100.9 4711 143\n",
     "its line does not end in CRLF"),
    (b"PROXY UNKNOWN " + b"x" * 200, "its line is too long"),
    (SIGNATURE + b"\x21\x11\0\4abcd", "it is too short for its addresses"),
    (SIGNATURE + b"\x21\x11\xff\xff" + b"x" * 65535, "it is too long"),
    (SIGNATURE + b"\x31\x11\0\x0c" + b"x" * 12,
     "its version or command is unknown"),
    (version_2("192.0.2.33", "198.51.100.9", tlvs=b"\2\0\7a"),
     "its TLVs have wrong lengths"),
])
def test_bad_headers(balanced, octets, why):
    peer = connect("plain")
    peer.send(octets, may_fail=True)
    assert peer.line() == b"<closed>"
    wait_until(lambda: balanced.events("proxy_header_refused"), "refusal")
    line, = balanced.events("proxy_header_refused")
    assert f'peer={BALANCER} why="{why}"' in line
    assert balanced.counters()["header_refused"] == 1
    begin("plain", b"PROXY UNKNOWN\r\n").close()


@pytest.mark.parametrize("part", [
    b"PROXY TCP4 192", SIGNATURE[:5], version_2("1.2.3.4", "5.6.7.8")[:-1]])
def test_truncated_headers(balanced, part):
    """Of one who ends in it, and of one who says no more."""
    peer, silent = connect("plain"), connect("tls")
    peer.send(part)
    silent.send(part)
    peer.connection.shutdown(socket.SHUT_WR)
    assert peer.line() == silent.line() == b"<closed>"
    whys = [re.search('why="(.*)"', line)[1]
            for line in balanced.events("proxy_header_refused")]
    assert whys == ["the connection ended in it", "it did not come in time"]


def test_strangers(balanced):
    """Whoever is no balancer is refused, header or not."""
    for octets in (b"", b"PROXY UNKNOWN\r\n", version_2("1.2.3.4", "5.6.7.8")):
        peer = connect("plain", STRANGER)
        peer.send(octets, may_fail=True)
        assert peer.line() == b"<closed>"
    assert len(balanced.events("proxy_header_refused")) == 3


def test_probes_of_balancers(balanced):
    """They connect, and go, or say that they speak for themselves."""
    connect("plain").close()
    connect("tls").close()
    peer = begin("plain", SIGNATURE + b"\x20\0\0\0")
    peer.close()
    wait_until(lambda: balanced.events("session_end"), "end")
    assert not balanced.events("proxy_header_refused")


def test_header_without_balancers(balanced):
    """Where no balancer is configured a header is no more than a command."""
    peer = Peer(socket.create_connection((balanced.address, 14143), TIMEOUT),
                time.monotonic() + TIMEOUT)
    peer.send(b"PROXY TCP4 192.0.2.33 198.51.100.9 4711 143\r\n")
    assert peer.line().startswith(b"* OK ")
    assert peer.line().startswith(b"PROXY BAD ")
    client = peer.connection.getsockname()[0]
    assert [each["client"] for each in balanced.sessions()] == [client]
    peer.close()


def test_stop_while_waiting(balanced):
    peer = connect("plain")
    wait_until(lambda: balanced.counters()["accepted"] == 1, "arrival")
    assert balanced.stop() == 0
    assert peer.line() == b"<closed>"


@pytest.mark.parametrize("user, before_tls", [("hed", True), ("hid", False)])
@pytest.mark.parametrize("header, client, local", [
    HEADERS[0], HEADERS[4], HEADERS[6]])
def test_header_to_servers(balanced, servers, header, client, local, user,
                           before_tls):
    player = Player(balanced, servers)
    player.client = begin("plain", header)
    player.play_line(f"C: 1 LOGIN {user} secret")
    server = player.need_server()
    port = player.client.connection.getsockname()[1]
    known = client != BALANCER
    expected = version_2(client, local, 4711 if known else port,
                         143 if known else PORTS["plain"])
    server.patience()
    assert server.connection.recv(
        len(expected), socket.MSG_WAITALL) == expected
    if before_tls:
        player.play_line("B: * OK [CAPABILITY IMAP4rev1 STARTTLS] ready")
        player.play_line("b: S STARTTLS")
        player.play_line("B: S OK")
    player.do_server("tls")
    if before_tls:
        player.play_line("b: C CAPABILITY")
        player.play_line("B: * CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR")
        player.play_line("B: C OK")
    else:
        player.play_line("B: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] r")
    player.play("b~ L .*\nB: L OK in\nS: 1 OK in\n")


@pytest.mark.parametrize("header, client, local", [
    HEADERS[0], HEADERS[2], HEADERS[4], HEADERS[6]])
def test_header_of_hubs_to_servers(balanced, servers, header, client, local):
    """Servers are told which hub a message comes from, by each connection."""
    player = Player(balanced, servers)
    player.client = connect("lmtp")
    player.client.send(header)
    player.play_line("S: 220 proxy.example.org LMTP ready")
    player.play_line("C: LHLO hub")
    player.play_line("! client hears 250 .*")
    player.do_mail()
    player.play_line("C: RCPT TO:<tom@example.org>")
    player.do_at("told")
    known = client != BALANCER
    expected = version_2(
        client, local,
        4711 if known else player.client.connection.getsockname()[1],
        143 if known else HUB_PORT)
    player.server.patience()
    assert player.server.connection.recv(
        len(expected), socket.MSG_WAITALL) == expected
    player.play("""
B: 220 back end
b: LHLO proxy.example.org
B: 250 back end
b: MAIL FROM:<a@example.org>
b: RCPT TO:<tom>
B: 250 2.1.0 ok
B: 250 2.1.5 tom
S: 250 2.1.5 tom
""")
