"""The processes of a proxy: limits, reload, failure, jail, memory."""

import contextlib
import os
import pathlib
import re
import select
import signal
import socket
import ssl
import subprocess
import time

import pytest

from house import (BUILD, FULL_PORT, LISTENERS, NET, SERVER, TIMEOUT, Replica,
                   check_log, make_certificate, memory, process_status,
                   wait_until)
from player import GOOD_LOGIN, Peer, Player, log_in
from sanitized import MEMORY

GREETING, LOGIN, REST = re.fullmatch(
    r"\n(S~[^\n]+)\n(C: 1 .*)\n(C: 2 .*)", GOOD_LOGIN, re.DOTALL).groups()


@pytest.fixture
def started(make_proxy):
    """Starts a proxy of the test's own; its log must be clean at the end."""
    made = []

    def start(**options):
        made.append(make_proxy(**options).start())
        return made[-1]

    yield start
    for each in made:
        each.stop()
        check_log("\n".join(line for line in each.log().splitlines()
                            if "child_died" not in line))


class Session:
    """A login that stays, to be used before and after something happened."""

    def __init__(self, proxy, servers):
        self.player = Player(proxy, servers)
        for line in [GREETING, *LOGIN.split("\n")]:
            self.player.play_line(line)

    def use(self):
        """Goes on as a good login does, to its end."""
        self.player.play(REST)


def connect(proxy, listener="plain"):
    return Peer(socket.create_connection(
        (proxy.address, LISTENERS[listener]), TIMEOUT),
        time.monotonic() + 2 * TIMEOUT)


def test_ids_of_sessions(started, servers):
    """Two proxies share none, even if they started in one second."""
    drawn = []
    for proxy in (started(), started()):
        log_in(proxy, servers)
        ended = wait_until(lambda p=proxy: p.events("session_end"),
                           "end of a session in the log")
        ids = [re.search(r"session=([0-9a-f]{27}) ", line)[1]
               for line in ended]
        drawn.append({each[8:16] for each in ids})
    assert all(drawn) and not drawn[0] & drawn[1]


# Limits

def test_login_time(started, servers):
    proxy = started(limits="login_time = 3")
    Player(proxy, servers).play(
        "S~ \\* OK .*\nS: * BYE Login took too long.\nS. -\n")
    Player(proxy, servers).play("! raw tls\nS. -\n")
    log_in(proxy, servers)


def test_login_time_ends_the_login(started, servers):
    """Also one whose back end keeps silent; it does not go on in secret."""
    proxy = started(limits="login_time = 3")
    Player(proxy, servers).play("""
S~ \\* OK .*
C: 1 LOGIN bob secret
! server accepts
S: 1 NO [UNAVAILABLE] The server of the mailbox does not answer.
S: * BYE Login took too long.
S. -
b. -
""")
    wait_until(lambda: not proxy.sessions(), "end of the session")
    log_in(proxy, servers)


def test_reply_timeout(started, servers):
    proxy = started(backend="reply_timeout = 1\nretry_time = 0")
    Player(proxy, servers).play("""
S~ \\* OK .*
C: 1 LOGIN bob secret
! server accepts
S~ 1 NO \\[UNAVAILABLE\\] .*
b. -
""")
    log_in(proxy, servers)


@contextlib.contextmanager
def full_server():
    """Listens where nobody gets a connection: its queue is full for good."""
    with contextlib.ExitStack() as stack:
        door = stack.enter_context(socket.socket())
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((SERVER, FULL_PORT))
        door.listen(0)
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex((SERVER, FULL_PORT))
        yield


@pytest.mark.parametrize("timeouts", [
    "connect_timeout = 1\nreply_timeout = 60",
    "connect_timeout = 2\nreply_timeout = 1"])
def test_connect_timeout(started, servers, timeouts):
    """It is the connection that is waited for, and not the greeting."""
    proxy = started(backend=f"retry_time = 0\n{timeouts}")
    with full_server():
        Player(proxy, servers).play("""
S~ \\* OK .*
C: 1 LOGIN ful secret
S~ 1 NO \\[UNAVAILABLE\\] The server of the mailbox cannot be reached.*
C: 2 NOOP
S: 2 OK Nothing happened.
""")
    refused = proxy.events("login_refused")
    assert len(refused) == 1
    assert 'why="connection timed out"' in refused[0]


def test_login_outlives_its_server(started, servers):
    """A server that fails the login is tried again, unseen by the client."""
    proxy = started()
    Player(proxy, servers).play("""
S~ \\* OK .*
C: 1 LOGIN bob secret
B: * BYE going down
b. -
! server again
! server resets
! server again
B: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready
b~ L .*
! server closes
! server again
B: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready
b~ L .*
B: L OK in
S: 1 OK in
""")


def test_sessions_limit(started, servers):
    proxy = started(relays=1, limits="sessions = 3")
    inside = [connect(proxy) for _ in range(3)]
    for peer in inside:
        assert peer.line().startswith(b"* OK ")
    waiting = connect(proxy)
    wait_until(lambda: proxy.events("accept_paused"), "pause")
    assert proxy.counters()["sessions"] == 3
    inside.pop().close()
    assert waiting.line().startswith(b"* OK ")
    for peer in [*inside, waiting]:
        peer.close()
    log_in(proxy, servers)


def test_longest_tag(started, servers):
    """A tag as long as limits allow comes back whole."""
    tag = "x" * 1048000
    proxy = started(limits="line_size = 1048576")
    Player(proxy, servers).play(f"""
S~ \\* OK .*
C: {tag} LOGIN bob secret
B: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready
b~ L .*
B: L OK in
S: {tag} OK in
""")
    Player(proxy, servers).play(f"""
S~ \\* OK .*
C: {tag} LOGIN nobody secret
S: {tag} NO [AUTHENTICATIONFAILED] Authentication failed.
""")


# Reload

def wait_for_generation(proxy, number):
    def has_relays():
        with contextlib.suppress(OSError, ValueError):
            return len(proxy.relays(number)) == proxy.relay_count

    wait_until(has_relays, f"relays of generation {number}")


def test_reload(started, servers):
    """A new generation takes over while an old session lives on."""
    proxy = started()
    before = proxy.relays()
    session = Session(proxy, servers)
    late = Player(proxy, servers)
    late.play_line(GREETING)
    for generation in (2, 3):
        proxy.reload()
        wait_for_generation(proxy, generation)
        log_in(proxy, servers)
    # Who had not logged in by then may do so all the same.
    for line in LOGIN.split("\n"):
        late.play_line(line)
    late.play(REST)
    wait_until(lambda: [each.get("user") for each in proxy.sessions()]
               == ["bob"], "end of all but one session")
    assert proxy.counters()["logins"] == 4
    session.use()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}")
                               for pid in before), "end of old relays")
    wait_until(lambda: len(proxy.relays()) == 2, "end of their slots")
    assert proxy.stop() == 0


@pytest.mark.parametrize("change, complaint", [
    (("relays = 2", "relays = many"), "invalid integer value"),
    (("port = 14143", "port = 70000"),
     "port is 70000, but must be 0 to 65535"),
    (("relays = 2", "relais = 2"), "no such option 'relais'"),
    ((f"127.0.{NET}.", "127.0.400."), "is not an IP address"),
    (("proxy.key", "no.key"), "not the certificate's key in PEM"),
])
def test_reload_with_faults(started, servers, change, complaint):
    proxy = started()
    session = Session(proxy, servers)
    proxy.conf.write_text(proxy.text.replace(*change))
    proxy.reload()
    wait_until(lambda: proxy.events("reload_refused"), "refusal")
    complaints = [line for line in proxy.log().splitlines()
                  if complaint in line]
    assert complaints, proxy.log()
    if "key" not in complaint:
        assert complaints[0].startswith(f"{proxy.conf}:")
        assert complaints[0].split(":")[1].isdigit()
    log_in(proxy, servers)
    session.use()
    assert len(proxy.relays(1)) == 2
    proxy.conf.write_text(proxy.text)
    proxy.reload()
    wait_for_generation(proxy, 2)
    log_in(proxy, servers)


def test_reload_certificate(started, servers):
    proxy = started()

    def served():
        context = ssl._create_unverified_context()
        with contextlib.closing(context.wrap_socket(socket.create_connection(
                (proxy.address, LISTENERS["tls"]), TIMEOUT))) as connection:
            return connection.getpeercert(binary_form=True)

    old = served()
    make_certificate(proxy.folder, "proxy", [proxy.address])
    assert served() == old
    proxy.reload()
    wait_until(lambda: served() != old, "new certificate")
    Player(proxy, servers).play("! listener tls\nS~ \\* OK .*\n")


def test_reload_listeners(started, servers):
    """A port that is given up closes, though an old session lives on."""
    proxy = started()
    session = Session(proxy, servers)

    def is_open(port):
        try:
            socket.create_connection((proxy.address, port), TIMEOUT).close()
        except ConnectionRefusedError:
            return False
        return True

    proxy.conf.write_text(proxy.text.replace("14145", "14146"))
    proxy.reload()
    wait_for_generation(proxy, 2)
    assert is_open(14146)
    wait_until(lambda: not is_open(14145), "closed port")
    proxy.conf.write_text(proxy.text)
    proxy.reload()
    wait_for_generation(proxy, 3)
    assert is_open(14145)
    wait_until(lambda: not is_open(14146), "closed port")
    session.use()


def test_reload_by_control_socket(started, servers):
    """Whatever was answered with "begun" happens, however fast one asks."""
    proxy = started()

    def begin():
        with contextlib.suppress(OSError, ValueError):
            return proxy.ask("reload") == {"begun": True}

    for generation in range(2, 6):
        wait_until(begin, "begin of a reload")
        wait_for_generation(proxy, generation)
    log_in(proxy, servers)


# Failure

def test_killed_relay(started, servers):
    proxy = started()
    before = proxy.relays()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(proxy.relays()) - set(before)) == 2,
               "new relays")
    log_in(proxy, servers)
    assert len(proxy.events("child_died")) == 2


def test_killed_health(started, servers):
    """Also one that dies at once again."""
    proxy = started()
    known = set()

    def health():
        children = pathlib.Path(
            f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children")
        for pid in children.read_text().split():
            with contextlib.suppress(OSError):
                name = pathlib.Path(f"/proc/{pid}/comm").read_text()
                if name == "health\n" and pid not in known:
                    return int(pid)
        return None

    for _ in range(3):
        pid = wait_until(health, "health process")
        known.add(str(pid))
        os.kill(pid, signal.SIGKILL)
    wait_until(health, "health process")
    wait_until(lambda: answers(proxy), "answer of the health process")
    assert len(proxy.relays()) == 2
    log_in(proxy, servers)


def answers(proxy):
    try:
        return proxy.ask("who")["complete"]
    except (OSError, ValueError):
        return False


def test_stop(started, servers):
    """SIGTERM ends all, sessions included."""
    proxy = started()
    session = Session(proxy, servers)
    beginner = connect(proxy, "plain")
    assert beginner.line().startswith(b"* OK ")
    pids = proxy.relays()
    assert proxy.stop() == 0
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert beginner.line() == b"* BYE This proxy is being stopped."
    session.player.play("S. -\nb. -\n")
    assert proxy.events("stopped")


def test_parent_dies(started, servers):
    """Relays without a parent serve whom they have, and end."""
    proxy = started()
    session = Session(proxy, servers)
    pids = proxy.relays()
    proxy.process.kill()
    proxy.process.wait(TIMEOUT)
    proxy.process = None
    session.use()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}")
                               for pid in pids), "end of relays")


def is_jailed(proxy):
    """All relays have opened what they need."""
    with contextlib.suppress(OSError):
        return all(process_status(pid)["NoNewPrivs"] == "1"
                   for pid in proxy.relays())


def test_replica_comes_late(make_proxy, folder, servers):
    """Relays are started until there is a replica to read."""
    late = folder / "late"
    late.mkdir()
    make_certificate(late, "server", [SERVER])
    proxy = make_proxy()
    proxy.conf.write_text(proxy.text.replace(
        f'replica = "{folder}/replica"', f'replica = "{late}/replica"'))
    proxy.start(wait=False)
    wait_until(lambda: len(proxy.events("relay_failed")) > 2, "failures")
    replica = Replica(late)
    try:
        wait_until(lambda: is_jailed(proxy), "relays")
        log_in(proxy, servers)
    finally:
        replica.stop()


# Checks and privileges

def check(proxy):
    return subprocess.run([BUILD / "postcell-proxyd", "-n", "-c", proxy.conf],
                          capture_output=True, text=True, timeout=TIMEOUT)


def test_check(make_proxy):
    proxy = make_proxy()
    done = check(proxy)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (proxy.folder / "run").exists()
    make_certificate(proxy.folder, "other", [proxy.address])
    for change, complaint in [
            (("proxy.key", "other.key"), "not the certificate's key"),
            (("proxy.pem", "proxy.key"), "not a usable certificate"),
            (("server.pem", "none.pem"), "No such file"),
            (("host_name", "#host_name"), "host_name must be set"),
            (("plaintext = yes", "plaintext = no"), "nobody could log in"),
            (("service = imap", "service = uucp"), "no such service")]:
        proxy.conf.write_text(proxy.text.replace(*change))
        done = check(proxy)
        assert done.returncode == 78
        assert complaint in done.stderr
        assert not done.stdout
    proxy.conf.unlink()
    done = check(proxy)
    assert done.returncode == 78
    assert done.stderr == f"{proxy.conf}: No such file or directory\n"


def test_jail(started):
    proxy = started()
    for pid in proxy.relays():
        wait_until(lambda: process_status(pid)["NoNewPrivs"] == "1", "jail")
        status = process_status(pid)
        if os.geteuid() != 0:
            continue
        assert status["Uid"].split() == ["65534"] * 4
        assert status["Gid"].split() == ["65534"] * 4
        assert status["Groups"].split() == []
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        assert os.readlink(f"/proc/{pid}/root") == \
            str(proxy.folder / "empty")
    if os.geteuid() == 0:
        assert process_status(proxy.process.pid)["Uid"].split()[0] == "0"


# Memory

FLOODS = [
    b"x" * 65536,
    b"a LOGIN {4000+}\r\n" + b"x" * 3000,
    b"a LOGIN {4294967295+}\r\n" + b"x" * 65536,
    b"a LOGIN \"" + b"x" * 8000,
    b"\0" * 65536,
    b"a AUTHENTICATE PLAIN\r\n" + b"A" * 8000,
    b"\x16\x03\x01\xff\xff" * 1000,
]


def test_memory(started, servers):
    """Strangers come and go by the thousand, and nothing grows."""
    proxy = started(relays=1)
    pid, = proxy.relays()

    def strangers(rounds):
        for number in range(rounds):
            peers = [connect(proxy, listener)
                     for listener in ("plain", "starttls", "tls")
                     for _ in FLOODS]
            for peer, flood in zip(peers, FLOODS * 3):
                peer.send(flood, may_fail=True)
            for peer in peers:
                (peer.reset if number % 2 else peer.close)()
        wait_until(lambda: proxy.counters()["sessions"] == 0,
                   "end of the sessions")

    strangers(20)
    before = memory(pid)
    strangers(100)
    log_in(proxy, servers)
    assert memory(pid) - before < 8192 * MEMORY, "KiB more than before"


def test_memory_of_beginners(started):
    """A thousand who never finish a command cost what limits say."""
    proxy = started(relays=1)
    pid, = proxy.relays()
    before = memory(pid)
    peers = [connect(proxy) for _ in range(1000)]
    for peer in peers:
        peer.send(b"a LOGIN {4000+}\r\n" + b"x" * 3999)
    wait_until(lambda: proxy.counters()["sessions"] == 1000, "sessions")
    for peer in peers:
        assert peer.line().startswith(b"* OK ")
    assert memory(pid) - before < 1000 * 32 * MEMORY, "KiB for a thousand"
    for peer in peers:
        peer.close()


def test_memory_of_idle_sessions(started, servers):
    """After login a session holds no buffers."""
    proxy = started(relays=1)
    pid, = proxy.relays()
    sessions = [Session(proxy, servers) for _ in range(20)]
    before = memory(pid)
    sessions += [Session(proxy, servers) for _ in range(200)]
    assert proxy.counters()["logged_in"] == 220
    assert memory(pid) - before < 200 * 8 * MEMORY, "KiB for two hundred"
    for session in sessions:
        session.player.client.close()
        session.player.server.close()


def flood(peer):
    """Sends until nothing is taken for a while; how many octets that were."""
    peer.connection.setblocking(False)
    sent = 0
    while sent < 1 << 28 and select.select([], [peer.connection], [], 0.2)[1]:
        sent += peer.connection.send(b"x" * 65536)
    return sent


def test_memory_of_stalled_sessions(started, servers):
    """Who does not read makes the other side wait, not the proxy store."""
    proxy = started(relays=1)
    pid, = proxy.relays()
    sessions = [Session(proxy, servers) for _ in range(12)]
    before = memory(pid)
    for session in sessions:
        assert flood(session.player.server) < 1 << 28
        assert flood(session.player.client) < 1 << 28
    assert memory(pid) - before < 12 * 2 * 160 * MEMORY, "KiB for twelve"
    log_in(proxy, servers)
    for session in sessions:
        session.player.client.close()
        session.player.server.close()
    wait_until(lambda: proxy.counters()["sessions"] == 0, "end of sessions")


def test_write_stall_time(started, servers):
    proxy = started(limits="write_stall_time = 1")
    session = Session(proxy, servers)
    flood(session.player.server)
    wait_until(lambda: proxy.events("session_end"), "end of the session")
    assert 'why="a side took nothing for too long"' in \
        proxy.events("session_end")[0]


def test_waiting_costs_nothing(started, servers):
    """Whatever a relay waits for, it does so asleep."""
    proxy = started(relays=1, backend="retry_time = 0")
    pid, = proxy.relays()

    def seconds():
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1]
        return sum(map(int, fields.split()[11:13])) / os.sysconf("SC_CLK_TCK")

    stalled, ended, server_ended = [Session(proxy, servers) for _ in range(3)]
    flood(stalled.player.server)
    flood(stalled.player.client)
    ended.player.do_client("ends")
    ended.player.play_line("b. -")
    server_ended.player.client.send(b"x" * 10)
    # A login at a silent server, its client gone on talking, or gone.
    waiting = []
    for word in ("talks", "ends", "resets"):
        player = Player(proxy, servers)
        player.play_line("C: 1 LOGIN bob secret")
        player.do_server("accepts")
        if word == "talks":
            player.play_line("C* 1000 2 NOOP\\r\\n")
        else:
            player.do_client(word)
        waiting.append(player)
    # A client that was told goodbye and does not go.
    closing = Player(proxy, servers)
    closing.play_line("C: 1 LOGOUT")
    closing.play_line("S~ \\* OK .*")
    closing.play_line("S~ \\* BYE .*")
    handshake = Player(proxy, servers)
    handshake.do_raw("tls")
    handshake.play_line("C- \\x16\\x03\\x01")
    before, start = seconds(), time.monotonic()
    while time.monotonic() < start + 1:
        time.sleep(0.1)
    assert seconds() - before < 0.3
    log_in(proxy, servers)
    for player in [*waiting, closing, handshake, stalled.player, ended.player,
                   server_ended.player]:
        player.client.close()
        if player.server:
            player.server.close()
