r"""Plays dialogue files against a proxy.

A line of a dialogue is one of

    # a remark
    C: text        the client says the line          B: the same of the back end
    C- text        says it without CRLF              B-
    C* N text      says the text N times, no CRLF    B*
    S: text        the client sees exactly this line b: the same of the back end
    S~ regex       a line that matches as a whole    b~
    S. -           the connection's end, or a reset  b.
    ! words        does something, see Player.do_...

S is what the client sees of the proxy, b what the back end sees of it. In
texts \r \n \0 \\ and \xHH stand for octets. The first line of B or b, and
`! server ...`, takes the connection that the proxy made to a back end; when
the dialogue ends, no other connection may have been made. `! at NAME` is for
dialogues with several back ends: from there on they mean that one. Those in imap,
lmtp and smtp are played with one proxy that has servers for all; other folders name
a service, and have a proxy and servers for that alone.
"""

import re
import select
import socket
import ssl
import struct
import time

from house import (HUB_LISTENERS, LISTENERS, PORTS, SERVER, STRANGER, TIMEOUT,
                   wait_until)

ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))")
PLAIN_ESCAPES = {b"r": b"\r", b"n": b"\n", b"0": b"\0", b"\\": b"\\"}


def octets(text):
    def octet(match):
        return (bytes([int(match[1], 16)]) if match[1]
                else PLAIN_ESCAPES[match[2]])
    return ESCAPE.sub(octet, text.encode())


class EagerTls:
    """A client's TLS whose first words leave together with the end of its
    handshake, in one segment."""

    def __init__(self, connection, context, name, words):
        self.connection = connection
        self.input, self.output = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.input, self.output,
                                    server_hostname=name)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(self.output.read())
                self.input.write(connection.recv(65536))
        self.sendall(words)

    def sendall(self, data):
        self.tls.write(data)
        self.connection.sendall(self.output.read())

    def recv(self, size):
        while True:
            try:
                return self.tls.read(size)
            except ssl.SSLWantReadError:
                data = self.connection.recv(65536)
                if not data:
                    return b""
                self.input.write(data)
            except ssl.SSLZeroReturnError:
                return b""

    def __getattr__(self, name):
        return getattr(self.connection, name)


class Peer:
    """A side of the proxy: a socket, perhaps TLS, read by lines."""

    def __init__(self, connection, deadline):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection, self.deadline = connection, deadline
        self.input = b""
        self.drips = False
        self.held = None

    def patience(self):
        self.connection.settimeout(max(0.1, self.deadline - time.monotonic()))

    def send(self, data, may_fail=False):
        if self.held is not None:
            self.held += data
            return
        self.patience()
        try:
            if self.drips:
                for octet in data:
                    self.connection.sendall(bytes([octet]))
            else:
                self.connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            if not may_fail:
                raise

    def hold(self):
        """Keeps what is sent from now on, for one write."""
        self.held = b""

    def let_go(self):
        held, self.held = self.held, None
        self.send(held)

    def receive(self):
        """More input; False at the end."""
        self.patience()
        try:
            data = self.connection.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            return False
        self.input += data
        return bool(data)

    def line(self):
        while b"\n" not in self.input:
            if not self.receive():
                return self.input + b"<closed>"
        line, self.input = self.input.split(b"\n", 1)
        return line[:-1] if line.endswith(b"\r") else line + b"<bare LF>"

    def expect(self, data):
        """Reads exactly these octets."""
        while len(self.input) < len(data) and self.receive():
            pass
        assert self.input[:len(data)] == data, "other octets came"
        self.input = self.input[len(data):]

    def tls(self, context, **options):
        assert not self.input, f"before TLS came {self.input!r}"
        self.patience()
        self.connection = context.wrap_socket(
            self.connection, suppress_ragged_eofs=True, **options)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                   struct.pack("ii", 1, 0))
        self.connection.close()

    def close(self):
        self.connection.close()


class Servers:
    """The listening sockets of the scripted back ends."""

    def __init__(self, certificate):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate,
                                     certificate.with_suffix(".key"))
        self.sockets = {}
        for name, port in PORTS.items():
            for address in (SERVER, STRANGER):
                listening = socket.create_server((address, port))
                self.sockets[listening] = name

    def accept(self, deadline, name=None):
        left = max(0.1, deadline - time.monotonic())
        ready, _, _ = select.select(
            [each for each in self.sockets
             if name in (None, self.sockets[each])], [], [], left)
        assert ready, "the proxy did not connect to a back end"
        connection, _ = ready[0].accept()
        peer = Peer(connection, deadline)
        if self.sockets[ready[0]] == "tls":
            try:
                peer.tls(self.context, server_side=True)
            except (ssl.SSLError, OSError):
                pass
        return peer

    def drop(self):
        """Closes what nobody took; how many there were."""
        count = 0
        while ready := select.select(list(self.sockets), [], [], 0)[0]:
            ready[0].accept()[0].close()
            count += 1
        return count

    def close(self):
        for listening in self.sockets:
            listening.close()


class Player:
    def __init__(self, proxy, servers):
        self.proxy, self.servers = proxy, servers
        self.client = self.server = None
        self.named, self.offers, self.begun = {}, {}, set()
        self.deadline = time.monotonic() + 2 * TIMEOUT

    # Directives

    def do_listener(self, name):
        """Connects to a listener; without it, to `plain`."""
        connection = socket.create_connection(
            (self.proxy.address, {**LISTENERS, **HUB_LISTENERS}[name]),
            TIMEOUT)
        self.client = Peer(connection, self.deadline)
        if name == "tls":
            self.tls(self.client)

    def do_raw(self, name):
        """The same, but says nothing of TLS by itself."""
        self.client = Peer(socket.create_connection(
            (self.proxy.address, LISTENERS[name]), TIMEOUT), self.deadline)

    def tls(self, client):
        context = ssl.create_default_context(cafile=self.proxy.certificate)
        client.tls(context, server_hostname=self.proxy.address)

    def do_client(self, action, *words):
        client = self.need_client()
        if action == "tls":
            self.tls(client)
        elif action == "tls_and_says":  # in one segment, with CRLF
            client.patience()
            client.connection = EagerTls(
                client.connection,
                ssl.create_default_context(cafile=self.proxy.certificate),
                self.proxy.address, octets(" ".join(words)) + b"\r\n")
        elif action == "drips":  # every octet by itself from now on
            client.drips = True
        elif action == "holds":
            client.hold()
        elif action == "lets_go":
            client.let_go()
        elif action == "ends":
            client.connection.shutdown(socket.SHUT_WR)
        elif action == "hears":  # lines, up to one that matches
            while not re.fullmatch(" ".join(words).encode(),
                                   line := client.line()):
                assert not line.endswith(b"<closed>"), f"saw {line[:500]!r}"
        elif action == "sees_close":  # after whatever, an alert of TLS perhaps
            while client.receive():
                client.input = b""
        elif action == "reads":
            client.expect(octets(words[1]) * int(words[0]))
        else:
            {"closes": client.close, "resets": client.reset}[action]()

    def do_at(self, name):
        if name not in self.named:
            self.named[name] = self.servers.accept(self.deadline, name)
        self.server = self.named[name]

    # Mail: what is the same in most dialogues

    def do_hub(self, listener):
        """A hub that has said its name; what it is offered is not looked at."""
        self.do_listener(listener)
        self.see(self.client, "~", "220 proxy.example.org E?S?[LS]MTP ready")
        self.say(self.client, ":", "EHLO hub" if "smtp" in listener
                 else "LHLO hub")
        while self.client.line()[3:4] == b"-":
            pass

    def do_offers(self, name, *keywords):
        """What a back end will say that it can."""
        self.offers[name] = keywords

    def do_mail(self):
        self.say(self.client, ":", "MAIL FROM:<a@example.org>")
        self.see(self.client, ":", "250 2.1.0 Sender accepted.")
        self.begun = set()

    def do_recipient(self, uid, name):
        """One that the back end of that name takes."""
        self.say(self.client, ":", f"RCPT TO:<{uid}@example.org>")
        self.do_meets(name)
        if name not in self.begun:
            self.see(self.server, ":", "MAIL FROM:<a@example.org>")
        asked = f"{uid}@example.org" if name == "mta" else uid
        self.see(self.server, ":", f"RCPT TO:<{asked}>")
        if name not in self.begun:
            self.say(self.server, ":", "250 2.1.0 ok")
        self.begun.add(name)
        self.say(self.server, ":", f"250 2.1.5 {uid}")
        self.see(self.client, ":", f"250 2.1.5 {uid}")

    def do_meets(self, name):
        """The back end of that name is there, and was greeted."""
        known = name in self.named
        self.do_at(name)
        if known:
            return
        self.say(self.server, ":", "220 back end")
        self.see(self.server, ":", "EHLO proxy.example.org"
                 if name == "mta" else "LHLO proxy.example.org")
        for keyword in self.offers.get(name, []):
            self.say(self.server, ":", f"250-{keyword}")
        self.say(self.server, ":", "250 back end")

    def do_server(self, action, *words):
        server = self.need_server()
        if action == "tls":
            server.tls(self.servers.context, server_side=True)
        elif action == "fails_tls":
            try:
                server.tls(self.servers.context, server_side=True)
            except (ssl.SSLError, OSError):
                return
            raise AssertionError("the proxy took the certificate")
        elif action == "drips":
            server.drips = True
        elif action == "holds":
            server.hold()
        elif action == "lets_go":
            server.let_go()
        elif action == "ends":
            server.connection.shutdown(socket.SHUT_WR)
        elif action == "reads":
            server.expect(octets(words[1]) * int(words[0]))
        elif action == "again":  # closes; the next line takes a new connection
            server.close()
            self.server = None
        elif action == "hears":
            while not re.fullmatch(" ".join(words).encode(),
                                   line := server.line()):
                assert not line.endswith(b"<closed>"), f"saw {line[:500]!r}"
        elif action == "sees_nothing":  # of that, until the proxy closes
            while server.receive():
                pass
            assert words[0].encode() not in server.input, "it was heard"
        elif action != "accepts":
            {"closes": server.close, "resets": server.reset}[action]()

    def do_logged(self, event):
        """Goes on when the proxy's log has such an event."""
        wait_until(lambda: self.proxy.events(event), f"event={event}")

    def do_lines(self, count, *words):
        """The client sees so many equal lines."""
        for _ in range(int(count)):
            self.see(self.client, ":", " ".join(words))

    # Sides

    def need_client(self):
        if not self.client:
            self.do_listener("plain")
        return self.client

    def need_server(self):
        if not self.server:
            self.server = self.servers.accept(self.deadline)
        return self.server

    def say(self, peer, mark, text):
        if mark == ":":
            peer.send(octets(text) + b"\r\n")
        elif mark == "-":
            peer.send(octets(text))
        else:
            count, _, unit = text.partition(" ")
            peer.send(octets(unit) * int(count), may_fail=True)

    def see(self, peer, mark, text):
        if mark == ".":
            rest = peer.input
            while peer.receive():
                rest = peer.input
            assert not rest, f"before the end came {rest[:200]!r}"
            return
        line = peer.line()
        if mark == ":":
            assert line == octets(text), f"saw {line[:500]!r}"
        else:
            assert re.fullmatch(text.encode(), line), f"saw {line[:500]!r}"

    def play_line(self, line):
        kind, mark, text = line[0], line[1], line[3:]
        if kind == "C":
            self.say(self.need_client(), mark, text)
        elif kind == "S":
            self.see(self.need_client(), mark, text)
        elif kind == "B":
            self.say(self.need_server(), mark, text)
        elif kind == "b":
            self.see(self.need_server(), mark, text)
        else:
            assert kind == "!", "not a line of a dialogue"
            word, *rest = line[1:].split()
            getattr(self, f"do_{word}")(*rest)

    def play(self, text, name="dialogue"):
        try:
            for number, line in enumerate(text.split("\n"), 1):
                if line and line[0] != "#":
                    try:
                        self.play_line(line)
                    except (AssertionError, OSError) as fault:
                        log = "\n".join(self.proxy.log().splitlines()[-5:])
                        raise AssertionError(
                            f"{name}:{number}: {line}\n  {fault}\n{log}"
                        ) from fault
            assert self.servers.drop() == 0, \
                f"{name}: the proxy made another connection to a back end"
        finally:
            for peer in (self.client, self.server, *self.named.values()):
                if peer:
                    peer.close()
            self.servers.drop()


GOOD = {"imap": r"""
S~ \* OK \[CAPABILITY IMAP4rev1 .*\] proxy.example.org ready.
C: 1 LOGIN bob secret
B: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready
b: L AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=
B: L OK [CAPABILITY IMAP4rev1 IDLE] in
S: 1 OK [CAPABILITY IMAP4rev1 IDLE] in
C: 2 NOOP
b: 2 NOOP
B: 2 OK
S: 2 OK
C: 3 LOGOUT
b: 3 LOGOUT
B: * BYE
B: 3 OK
! server closes
S: * BYE
S: 3 OK
S. -
""", "pop3": r"""
S: +OK proxy.example.org ready.
C: USER bob
S: +OK
C: PASS secret
B: +OK ready
b: AUTH PLAIN AGJvYgBzZWNyZXQ=
B: +OK in
S: +OK in
C: STAT
b: STAT
B: +OK 0 0
S: +OK 0 0
C: QUIT
b: QUIT
B: +OK bye
! server closes
S: +OK bye
S. -
""", "submission": r"""
S: 220 proxy.example.org ESMTP ready.
C: EHLO client.example
! client hears 250 AUTH PLAIN LOGIN
C: AUTH PLAIN AGJvYgBzZWNyZXQ=
B: 220 mbox ESMTP
b: EHLO proxy.example.org
B: 250-mbox
B: 250 AUTH PLAIN
b: AUTH PLAIN AGJvYgBzZWNyZXQ=
B: 235 2.7.0 in
S: 235 2.7.0 in
C: MAIL FROM:<>
b: MAIL FROM:<>
B: 250 2.1.0 sender
S: 250 2.1.0 sender
C: QUIT
b: QUIT
B: 221 bye
! server closes
S: 221 bye
S. -
""", "sieve": r"""
! client hears OK "proxy.example.org ready."
C: AUTHENTICATE "PLAIN" "AGJvYgBzZWNyZXQ="
B: "SIEVE" "fileinto"
B: "SASL" "PLAIN"
B: OK "ready"
b: AUTHENTICATE "PLAIN" "AGJvYgBzZWNyZXQ="
B: OK "in"
S: OK "in"
C: LISTSCRIPTS
b: LISTSCRIPTS
B: OK "none"
S: OK "none"
C: LOGOUT
b: LOGOUT
B: OK "bye"
! server closes
S: OK "bye"
S. -
""", "lmtp": r"""
S~ 220 proxy.example.org LMTP .*
C: LHLO client.example
! client hears 250 .*
C: MAIL FROM:<a@example.org>
S~ 250 .*
C: RCPT TO:<bob>
B: 220 mbox LMTP
b: LHLO proxy.example.org
B: 250-mbox
B: 250 PIPELINING
b: MAIL FROM:<a@example.org>
b: RCPT TO:<bob>
B: 250 2.1.0 sender
B: 250 2.1.5 recipient
S: 250 2.1.5 recipient
C: DATA
b: DATA
B: 354 go on
S~ 354 .*
C: ..dots
C: .
b: ..dots
b: .
B: 250 2.0.0 saved
S: 250 2.0.0 saved
C: QUIT
S~ 221 .*
S. -
"""}
GOOD_LOGIN = GOOD["imap"]


def log_in(proxy, servers):
    """A login, or delivery, as it ought to be."""
    Player(proxy, servers).play(GOOD[proxy.service], "good login")


# What a server tells who asks what it can do; {} is where TLS may begin.
TAUGHT = ("plain", "starttls", "tls")
LESSONS = {
    "pop3": ("+OK ready", {"STLS": "+OK", "CAPA":
                           "+OK\r\nTOP\r\nUIDL\r\nUSER\r\n."}, "QUIT"),
    "submission": ("220 mbox ESMTP", {
        "STARTTLS": "220 go", "EHLO": "250-mbox\r\n250-PIPELINING\r\n"
        "250-SIZE 1000\r\n250-STARTTLS\r\n250 AUTH PLAIN"}, "QUIT"),
    "sieve": ('"SIEVE" "fileinto"\r\n"SASL" "PLAIN"\r\n"STARTTLS"\r\n'
              'OK "ready"', {"STARTTLS": 'OK "go"'}, "LOGOUT"),
    "imap": None,
    "lmtp": None,
}


def teach(servers, service):
    """Tells a new proxy with one relay what the servers of a service can."""
    for _ in TAUGHT if LESSONS[service] else ():
        greeting, answers, bye = LESSONS[service]
        peer = servers.accept(time.monotonic() + 2 * TIMEOUT)
        peer.send(greeting.encode() + b"\r\n")
        while (word := peer.line().split(b" ")[0].decode()) != bye:
            peer.send(answers[word].encode() + b"\r\n")
            if word in ("STLS", "STARTTLS"):
                peer.tls(servers.context, server_side=True)
                if service == "sieve":
                    peer.send(greeting.encode() + b"\r\n")
        peer.close()
