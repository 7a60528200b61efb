"""Mail by LMTP through the proxies, to real servers."""

import contextlib
import json
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time
import uuid

import ldap
import pytest

import daemons
import slapd
import users
from clients import TIMEOUT, Lines, address, faults_of
from layout import ADMIN_DN, PEOPLE, PROXIES, SERVERS
from process import wait_until
from sanitized import MEMORY

BIG = 20 * 1024 * 1024
FAILURE = 20  # s until a server that is silent is left
RECIPIENTS = 1000  # as the proxy is configured

PEOPLE_BY_UID = {person.uid: person for person in users.all_users()}

both_proxies = pytest.mark.parametrize("proxy", PROXIES)


def control(cell, *words):
    done = subprocess.run([*daemons.control_command(cell.layout), *words],
                          capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def server_of(cell, uid):
    """Once it is not being moved."""
    def look():
        done = subprocess.run(
            [*daemons.control_command(cell.layout), "user", "map", uid,
             "--host"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, timeout=TIMEOUT)
        return done.stdout.strip().split(".")[0]
    return wait_until(look, TIMEOUT)


def one_for_each_server(cell):
    """Somebody at each of them, ordinary names only."""
    found = {}
    for name in users.ORDINARY:
        found.setdefault(server_of(cell, name), name)
    assert set(found) == set(SERVERS)
    return found


class Hub:
    """What says LMTP to a proxy."""

    def __init__(self, cell, proxy="proxy1"):
        self.lines = Lines(cell, proxy, "lmtp")
        assert self.lines.hear().startswith(b"220 ")
        self.ask(b"LHLO hub.cell.test")

    def hear(self):
        line = self.lines.hear()
        while line[3:4] == b"-":
            line = self.lines.hear()
        return line

    def ask(self, line):
        self.lines.say(line)
        return self.hear()

    def begin(self, *recipients):
        """MAIL, RCPT and DATA; all are accepted."""
        assert self.ask(b"MAIL FROM:<a@cell.test>").startswith(b"250 ")
        for each in recipients:
            reply = self.ask(b"RCPT TO:<" + each.encode() + b">")
            assert reply.startswith(b"250 "), (each, reply)
        assert self.ask(b"DATA").startswith(b"354 ")

    def send(self, octets):
        self.lines.socket.sendall(octets)

    def replies(self, count):
        return [self.hear() for _ in range(count)]

    def deliver(self, name, *recipients):
        self.begin(*recipients)
        self.send(message(name) + b".\r\n")
        return self.replies(len(recipients))

    def close(self):
        self.lines.close()


@pytest.fixture
def hub(cell):
    made = Hub(cell)
    yield made
    made.close()


@pytest.fixture(params=PROXIES)
def each_hub(cell, request):
    made = Hub(cell, request.param)
    yield made
    made.close()


@pytest.fixture
def name():
    return f"{uuid.uuid4()}"


def message(name, size=0):
    return (b"From: <a@cell.test>\r\nMessage-ID: <" + name.encode()
            + b"@cell.test>\r\n\r\n..dot\r\n" + b"x" * 70 * (size > 0)
            + b"\r\n" + (b"0123456789" * 7 + b"\r\n") * (size // 72))


def mailbox_of(cell, uid, name):
    """How often a message of that name is in the mailbox."""
    person = PEOPLE_BY_UID[uid]
    session = cell.login(address(cell, "proxy2"), person.login,
                         person.password)
    try:
        session.select()
        return len(session.search(
            None, "HEADER", "MESSAGE-ID", f"<{name}@cell.test>")[1][0].split())
    finally:
        session.logout()


@contextlib.contextmanager
def changed(cell, uid, *changes):
    """An account with other attributes for a while."""
    dn = f"uid={uid},{PEOPLE}"
    directory = slapd.connect(cell.layout.ldap_uris[0], cell.layout.ca,
                              ADMIN_DN, cell.settings["admin_password"])
    before = directory.search_s(dn, ldap.SCOPE_BASE)[0][1]
    classes = before["objectClass"]
    if b"postcellAccount" not in classes:
        classes = [*classes, b"postcellAccount"]
    directory.modify_s(dn, [
        (ldap.MOD_REPLACE, "objectClass", classes),
        *((ldap.MOD_REPLACE, key, [value.encode()])
          for key, value in changes)])
    try:
        yield
    finally:
        directory.modify_s(dn, [(ldap.MOD_REPLACE, key, before.get(key))
                                for key, _ in changes])
        directory.unbind_s()


def replicated(cell, uid, text):
    return wait_until(
        lambda: text in control(cell, "replica", "get", uid), TIMEOUT)


# -- who gets it -------------------------------------------------------------


def test_one_message_for_all_servers(cell, each_hub, name):
    people = list(one_for_each_server(cell).values())
    assert each_hub.ask(b"MAIL FROM:<a@cell.test> BODY=8BITMIME").startswith(
        b"250 ")
    for uid in people:
        assert each_hub.ask(b"RCPT TO:<%s@cell.test>"
                            % uid.encode()).startswith(b"250 ")
        assert each_hub.ask(b"RCPT TO:<nobody@cell.test>").startswith(
            b"550 5.1.1 ")
    assert each_hub.ask(b"DATA").startswith(b"354 ")
    each_hub.send(message(name) + b".\r\n")
    assert [reply[:4] for reply in each_hub.replies(len(people))] == [
        b"250 "] * len(people)
    assert [mailbox_of(cell, uid, name) for uid in people] == [1] * len(people)
    # The session goes on.
    again = f"{name}-2"
    assert each_hub.deliver(again, "anna@cell.test")[0].startswith(b"250 ")
    assert mailbox_of(cell, "anna", again) == 1


def test_one_message_in_chunks(cell, each_hub, name):
    people = list(one_for_each_server(cell).values())
    octets = message(name) + b".\r\n..\r\nno line at the end"
    each_hub.ask(b"MAIL FROM:<a@cell.test> SIZE=100 BODY=8BITMIME")
    for uid in people:
        assert each_hub.ask(b"RCPT TO:<%s@cell.test>"
                            % uid.encode()).startswith(b"250 ")
    for at in range(0, len(octets), 7):
        piece = octets[at:at + 7]
        last = b" LAST" if at + 7 >= len(octets) else b""
        each_hub.send(b"BDAT %d%s\r\n" % (len(piece), last) + piece)
        if not last:
            assert each_hub.hear().startswith(b"250 2.0.0 ")
    assert [reply[:4] for reply in each_hub.replies(len(people))] == [
        b"250 "] * len(people)
    assert [mailbox_of(cell, uid, name) for uid in people] == [1] * len(people)


def test_everybody_gets_mail(cell, hub):
    def attempt(login, uid):
        each = f"{uuid.uuid4()}"
        reply = hub.deliver(each, PEOPLE_BY_UID[uid].mail)[0]
        assert reply.startswith(b"250 "), reply
        assert mailbox_of(cell, uid, each) == 1
    assert not faults_of([(person.login, person.uid)
                          for person in PEOPLE_BY_UID.values()], attempt)


@pytest.mark.parametrize("recipient, uid", [
    ("info@cell.test", "irene"),
    ("ANNA@Cell.Test", "anna"),
    ("anna", "anna"),
    ("anna+lists@cell.test", "anna"),
    ('"anna"@cell.test', "anna"),
    ('"an\\na"@cell.test', "anna"),
    ('"anna+a list"@cell.test', "anna"),
    ("@one.test,@two.test:anna@cell.test", "anna"),
    ("info+lists@cell.test", "irene"),
])
def test_names(cell, hub, name, recipient, uid):
    assert hub.deliver(name, recipient)[0].startswith(b"250 ")
    assert mailbox_of(cell, uid, name) == 1


@pytest.mark.parametrize("path, code", [
    (b"<nobody@cell.test>", b"550 5.1.1 "), (b'<""@cell.test>', b"501 "),
    (b"<>", b"501 "), (b"anna@cell.test", b"501 "), (b"<anna", b"501 "),
    (b"<anna@cell.test>x", b"501 "), (b"<an\x01na@cell.test>", b"501 "),
    (b"<anna\x7f@cell.test>", b"501 "), (b"<an\tna@cell.test>", b"501 "),
    (b"<an\x00na@cell.test>", b"500 "), (b"<an\rna@cell.test>", b"500 "),
    (b"<" + b"a" * 3000 + b"@cell.test>", b"550 "),
])
def test_what_is_no_recipient(hub, path, code):
    hub.ask(b"MAIL FROM:<a@cell.test>")
    assert hub.ask(b"RCPT TO:" + path).startswith(code)
    assert hub.ask(b"DATA").startswith(b"503 ")
    assert hub.ask(b"RCPT TO:<anna@cell.test>").startswith(b"250 ")


def test_senders(hub):
    for path in (b"<a\x01@b>", b"<a\nRCPT TO:<anna>", b"a@b", b"<a"):
        assert hub.ask(b"MAIL FROM:" + path).startswith(b"50"), path
        if b"\n" in path:
            hub.hear()
    assert hub.ask(b"MAIL FROM:<>").startswith(b"250 ")


def test_mail_that_is_routed_to_another(cell, hub, name):
    with changed(cell, "bernd", ("mailRoutingAddress", "clara@cell.test")):
        assert replicated(cell, "bernd", "clara@cell.test")
        assert hub.deliver(name, "bernd@cell.test")[0].startswith(b"250 ")
    assert mailbox_of(cell, "clara", name) == 1
    assert wait_until(lambda: "clara" not in control(
        cell, "replica", "get", "bernd"), TIMEOUT)
    assert mailbox_of(cell, "bernd", name) == 0


def test_who_may_not_log_in_gets_mail(cell, hub, name):
    with changed(cell, "eva", ("postcellStatus", "nologin away")):
        assert replicated(cell, "eva", "nologin")
        assert hub.deliver(name, "eva@cell.test")[0].startswith(b"250 ")
    assert wait_until(lambda: "nologin" not in control(
        cell, "replica", "get", "eva"), TIMEOUT)
    assert mailbox_of(cell, "eva", name) == 1


def test_as_many_recipients_as_are_allowed(hub):
    count = RECIPIENTS + 5
    hub.lines.say(b"MAIL FROM:<a@cell.test>")
    sender = threading.Thread(target=lambda: hub.lines.say(
        *[b"RCPT TO:<anna+%d@cell.test>" % k for k in range(count)]))
    sender.start()
    replies = hub.replies(count + 1)
    sender.join()
    assert {reply[:4] for reply in replies[:RECIPIENTS + 1]} == {b"250 "}
    assert {reply[:9] for reply in replies[RECIPIENTS + 1:]} == {b"452 4.5.3"}
    assert hub.ask(b"RSET").startswith(b"250 ")


# -- commands ----------------------------------------------------------------


def test_commands_sent_ahead(cell, hub, name):
    people = list(one_for_each_server(cell).values())
    hub.lines.say(b"NOOP", b"MAIL FROM:<a@cell.test>",
                  *[b"RCPT TO:<%s@cell.test>" % uid.encode()
                    for uid in [*people, "nobody"]], b"DATA")
    codes = [reply[:3] for reply in hub.replies(len(people) + 4)]
    assert codes == [b"250"] * (len(people) + 2) + [b"550", b"354"]
    hub.send(message(name) + b".\r\nMAIL FROM:<a@cell.test>\r\nQUIT\r\n")
    codes = [reply[:3] for reply in hub.replies(len(people) + 2)]
    assert codes == [b"250"] * (len(people) + 1) + [b"221"]
    assert [mailbox_of(cell, uid, name) for uid in people] == [1] * len(people)


@pytest.mark.parametrize("forgets", [b"RSET", b"LHLO other"])
def test_a_transaction_that_is_given_up_is_forgotten(cell, hub, name, forgets):
    people = list(one_for_each_server(cell).values())
    hub.ask(b"MAIL FROM:<first@cell.test>")
    for uid in people:
        hub.ask(b"RCPT TO:<%s@cell.test>" % uid.encode())
    assert hub.ask(forgets).startswith(b"250 ")
    assert hub.ask(b"DATA").startswith(b"503 ")
    assert hub.deliver(name, f"{people[0]}@cell.test")[0].startswith(b"250 ")
    assert hub.ask(b"NOOP").startswith(b"250 ")
    assert [mailbox_of(cell, uid, name) for uid in people] == [1, 0, 0]


def test_nothing_survives_starttls(cell):
    lines = Lines(cell, "proxy1", "lmtp")
    lines.hear()
    lines.say(b"LHLO x", b"STARTTLS", b"LHLO y", b"MAIL FROM:<a@cell.test>")
    while not lines.hear().startswith(b"220 2.0.0"):
        pass
    lines.start_tls()
    assert lines.ask(b"MAIL FROM:<a@cell.test>").startswith(b"503 ")
    lines.say(b"LHLO x")
    offered = []
    while not offered or offered[-1][3:4] == b"-":
        offered.append(lines.hear())
    assert not any(b"STARTTLS" in line for line in offered)
    assert lines.ask(b"STARTTLS").startswith(b"502 ")
    lines.close()


ENDS = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r",
        b"\r\r\n.\r\r\n", b"\n\n.\n\n"]


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_what_is_no_end_is_none(cell, name, end):
    """Neither here nor for the server: nothing of it becomes a command."""
    smuggled = (b"MAIL FROM:<evil@cell.test>\r\nRCPT TO:<clara@cell.test>\r\n"
                b"DATA\r\n" + message(f"{name}-smuggled") + b".\r\n")
    for cut in range(len(end) + 1):
        hub = Hub(cell)
        hub.begin("anna@cell.test", "bernd@cell.test")
        hub.send(message(name)[:-2] + end[:cut])
        # The proxy has taken the first piece when it answers nothing to it.
        assert not select.select([hub.lines.socket], [], [], 0.05)[0]
        hub.send(end[cut:] + smuggled)
        # The first end is that of what was smuggled.
        assert [reply[:4] for reply in hub.replies(2)] == [b"550 "] * 2
        assert hub.ask(b"NOOP").startswith(b"250 ")
        hub.close()
    for uid in ("anna", "bernd", "clara"):
        assert mailbox_of(cell, uid, name) == 0
        assert mailbox_of(cell, uid, f"{name}-smuggled") == 0


def lmtp_sessions(cell):
    return [line for line in json.loads(control(cell, "--json", "who"))["sessions"]
            if line.get("service") == "lmtp"]


def test_clients_that_reset_leave_nothing(cell, name):
    steps = [b"LHLO x\r\n", b"MAIL FROM:<a@cell.test>\r\n",
             b"RCPT TO:<anna@cell.test>\r\n", b"RCPT TO:<bernd@cell.test>\r\n",
             b"DATA\r\n", message(name), b".\r\n", b"STARTTLS\r\n"]
    for heed in (False, True):
        for count in range(len(steps) + 1):
            lines = Lines(cell, "proxy1", "lmtp")
            lines.hear()
            for step in steps[:count]:
                lines.socket.sendall(step)
                if heed and step not in (message(name), b"LHLO x\r\n"):
                    lines.hear()
            lines.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                    struct.pack("ii", 1, 0))
            lines.file.close()
            lines.socket.close()
    assert wait_until(lambda: not lmtp_sessions(cell), TIMEOUT)


# -- much, and servers that fail ---------------------------------------------


def resident(cell, proxy):
    """KiB of all processes of a proxy."""
    total = 0
    for pid in cell.processes.members(proxy):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/status") as file:
                total += int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])
    return total


def test_a_large_message_needs_no_memory(cell, hub, name):
    people = list(one_for_each_server(cell).values())
    hub.deliver(f"{name}-small", *[f"{uid}@cell.test" for uid in people])
    before = resident(cell, "proxy1")
    hub.begin(*[f"{uid}@cell.test" for uid in people])
    octets = memoryview(message(name, BIG) + b".\r\n")
    peak = before
    for at in range(0, len(octets), 1 << 20):
        hub.send(octets[at:at + (1 << 20)])
        peak = max(peak, resident(cell, "proxy1"))
    assert [reply[:4] for reply in hub.replies(len(people))] == [
        b"250 "] * len(people)
    assert peak - before < 3 * 1024 * MEMORY, f"{before} to {peak} KiB"
    assert [mailbox_of(cell, uid, name) for uid in people] == [1] * len(people)


@contextlib.contextmanager
def repaired(cell, server):
    """Whatever is done to the server is mended afterwards."""
    try:
        yield
    finally:
        cell.processes.signal(server, signal.SIGCONT)
        if not cell.processes.pid(server):
            cell.start_server(server)
        # What was seen of the fault may still be on its way to a decision.
        directory = slapd.connect(cell.layout.ldap_uris[0], cell.layout.ca,
                                  ADMIN_DN, cell.settings["admin_password"])
        assert wait_until(lambda: not any(
            b"postcellVote" in key.encode() for _, found in directory.search_s(
                "ou=proxies,dc=cell,dc=test", ldap.SCOPE_ONELEVEL,
                attrlist=["postcellVote"]) for key in found), 40, 0.2)
        directory.unbind_s()
        control(cell, "server", "up", server, "--ramp", "0", "--wait")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP],
                         ids=["killed", "stopped"])
@pytest.mark.parametrize("size", [0, BIG // 4], ids=["small", "large"])
def test_a_server_that_fails_within_data(cell, name, number, size):
    people = one_for_each_server(cell)
    victim = server_of(cell, "anna")
    others = [uid for server, uid in people.items() if server != victim]
    recipients = [others[0], people[victim], others[1]]
    with repaired(cell, victim):
        hub = Hub(cell)
        hub.begin(*[f"{uid}@cell.test" for uid in recipients])
        hub.send(message(name, size))
        cell.processes.signal(victim, number)
        sender = threading.Thread(
            target=hub.send, args=(message("x", size) + b"\r\n.\r\n",))
        sender.start()
        begin = time.monotonic()
        codes = [reply[:4] for reply in hub.replies(3)]
        sender.join()
        assert codes == [b"250 ", b"451 ", b"250 "]
        assert time.monotonic() - begin < FAILURE
        # The hub tries again, on the same connection, until it succeeds.
        again = f"{name}-again"
        assert wait_until(
            lambda: retry(hub, again, recipients[1]), FAILURE, 0.2)
        hub.close()
    assert [mailbox_of(cell, uid, name) for uid in others] == [1, 1]
    assert mailbox_of(cell, recipients[1], again) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP],
                         ids=["killed", "stopped"])
def test_a_server_that_fails_within_a_chunk(cell, name, number):
    people = one_for_each_server(cell)
    victim = server_of(cell, "anna")
    recipients = [people[victim], *[uid for server, uid in people.items()
                                    if server != victim]]
    octets = message(name, BIG // 4)
    with repaired(cell, victim):
        hub = Hub(cell)
        hub.ask(b"MAIL FROM:<a@cell.test>")
        for uid in recipients:
            assert hub.ask(b"RCPT TO:<%s@cell.test>"
                           % uid.encode()).startswith(b"250 ")
        hub.send(b"BDAT %d LAST\r\n" % len(octets) + octets[:1000])
        cell.processes.signal(victim, number)
        sender = threading.Thread(target=hub.send, args=(octets[1000:],))
        sender.start()
        begin = time.monotonic()
        codes = [reply[:4] for reply in hub.replies(3)]
        sender.join()
        assert codes == [b"451 ", b"250 ", b"250 "]
        assert time.monotonic() - begin < FAILURE
        assert wait_until(
            lambda: retry(hub, f"{name}-again", recipients[0]), FAILURE, 0.2)
        hub.close()
    assert [mailbox_of(cell, uid, name) for uid in recipients] == [0, 1, 1]
    assert mailbox_of(cell, recipients[0], f"{name}-again") == 1


def retry(hub, name, uid):
    hub.ask(b"MAIL FROM:<a@cell.test>")
    if not hub.ask(b"RCPT TO:<%s@cell.test>" % uid.encode()).startswith(
            b"250 ") or not hub.ask(b"DATA").startswith(b"354 "):
        hub.ask(b"RSET")
        return False
    hub.send(message(name) + b".\r\n")
    return hub.hear().startswith(b"250 ")


def test_who_is_moved_before_data_gets_it_later(cell, hub, name):
    server = server_of(cell, "felix")
    other = next(each for each in SERVERS if each != server)
    stays = next(uid for each, uid in one_for_each_server(cell).items()
                 if each == other)
    hub.ask(b"MAIL FROM:<a@cell.test>")
    for uid in ("felix", stays):
        assert hub.ask(b"RCPT TO:<%s@cell.test>" % uid.encode()).startswith(
            b"250 ")
    control(cell, "user", "move", "felix", other)
    try:
        assert wait_until(lambda: server_of(cell, "felix") == other, TIMEOUT)
        assert hub.ask(b"DATA").startswith(b"354 ")
        hub.send(message(name) + b".\r\n")
        assert [reply[:4] for reply in hub.replies(2)] == [b"451 ", b"250 "]
        assert wait_until(lambda: retry(hub, name, "felix"), TIMEOUT, 0.1)
        assert mailbox_of(cell, "felix", name) == 1
    finally:
        control(cell, "user", "unpin", "felix")
