"""postcellctl on a real cell: what it says is so, and what it does happens."""

import datetime
import json
import os
import pty
import select
import signal
import statistics
import subprocess
import time

import ldap
from ldap.controls.simple import RelaxRulesControl
import pytest

import daemons
import imap
import slapd
from conftest import running_cell
from layout import ADMIN_DN, PEOPLE, PROXIES, SERVERS, SUFFIX, identity_dn
from process import wait_until

NET = os.environ.get("CELL_CTL_NET", "127.0.91")
NO, USAGE, DATAERR, NOINPUT, UNAVAILABLE, CANTCREAT, TEMPFAIL, NOPERM, CONFIG \
    = 1, 64, 65, 66, 69, 73, 75, 77, 78
LATENCY = 0.1  # s, median, from a change to both replicas, as these say
DRAINED = 2.0  # s after a drain without ramp nobody new is there
OLD = "20260101000000.000000Z"


@pytest.fixture(scope="module")
def cell(build):
    """Its own, for transitions stay in the entries."""
    with running_cell(build / "scenario-ctl", NET, build) as running:
        yield running


@pytest.fixture(scope="module")
def people(cell):
    lines = cell.layout.users.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines]


@pytest.fixture
def directory(cell):
    return slapd.connect(cell.layout.ldap_uris[0], cell.layout.ca, ADMIN_DN,
                         cell.settings["admin_password"])


class Ctl:
    def __init__(self, cell, host="proxy1", conf=None):
        self.command = daemons.control_command(cell.layout, host)
        if conf:
            self.command[-1] = str(conf)

    def run(self, *words, timeout=30, **options):
        return subprocess.run([*self.command, *words], timeout=timeout,
                              capture_output=True, text=True, **options)

    def succeed(self, *words, **options):
        done = self.run(*words, **options)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def json(self, *words):
        return json.loads(self.succeed("--json", *words))

    def fail(self, status, *words, **options):
        done = self.run(*words, **options)
        assert done.returncode == status, (words, done)
        return done.stderr


@pytest.fixture
def ctl(cell):
    """All servers are up with weight 100, and are so again."""
    ctl = Ctl(cell)
    yield ctl
    for name in SERVERS:
        ctl.succeed("server", "weight", name, "100", "--ramp", "0")
        ctl.succeed("server", "up", name, "--ramp", "0")
    ctl.succeed("server", "up", SERVERS_LIST[0], "--ramp", "0", "--wait")


SERVERS_LIST = list(SERVERS)


def log_in(cell, proxy, login, password):
    return cell.login(cell.layout.addresses[proxy], login, password)


def who_serves(cell, proxy, login, password):
    session = log_in(cell, proxy, login, password)
    try:
        return session.served_by()
    finally:
        session.logout()


def is_open(session):
    try:
        return session.noop()[0] == "OK"
    except (OSError, imap.Imap.error):
        return False


def places(ctl, people):
    return {login: ctl.json("map", login).get("server")
            for login, *_ in people}


def settled_places(ctl, people):
    """Once nobody waits for a guard."""
    def settled():
        return all(ctl.json("map", login)["answer"] != "wait"
                   for login, *_ in people)
    assert wait_until(settled, 10)
    return places(ctl, people)


def accounts(ctl):
    """Every account that the replica has, by its uid."""
    dumped = map(json.loads, ctl.succeed("--json", "replica", "dump")
                 .splitlines())
    return [(entry["uid"][0],) for entry in dumped if "uid" in entry]


def users_of(ctl):
    return {host["name"]: host["users"]
            for host in ctl.json("server", "list")["hosts"]}


# -- servers -----------------------------------------------------------------


def test_drain_moves_users_and_no_new_session_goes_there(cell, people, ctl):
    sessions = [log_in(cell, proxy, login, password)
                for login, password in people for proxy in PROXIES]
    there = [session for session in sessions
             if session.served_by() == "mbox1"]
    assert there
    ctl.succeed("drain", "mbox1", "--ramp", "0")  # short for server drain
    drained = time.monotonic()
    late = []
    number = 0
    while time.monotonic() < drained + DRAINED + 1:
        login, password = people[number % len(people)]
        proxy = list(PROXIES)[number % 2]
        begun = time.monotonic()
        if who_serves(cell, proxy, login, password) == "mbox1":
            late.append(begun - drained)
        number += 1
    assert all(moment < DRAINED for moment in late), late
    assert not any(is_open(session) for session in there)
    others = [session for session in sessions if session not in there]
    assert all(is_open(session) for session in others)
    assert users_of(ctl)["mbox1"] == 0
    for session in others:
        session.logout()
    before = places(ctl, people)
    assert ctl.json("server", "up", "mbox1", "--ramp", "0")["changed"]
    after = settled_places(ctl, people)
    moved = {login for login in before if before[login] != after[login]}
    assert moved and {after[login] for login in moved} == {"mbox1"}
    print(f"late sessions after the drain, s: {late}")


@pytest.mark.parametrize("change", [
    ("drain", "mbox2"), ("down", "mbox3"), ("weight", "mbox1", "250"),
    ("weight", "mbox2", "0")], ids=" ".join)
def test_plan_says_what_then_happens(cell, people, ctl, change):
    everybody = accounts(ctl)  # some more than people, who probe
    before = settled_places(ctl, everybody)
    sessions = [log_in(cell, "proxy1", login, password)
                for login, password in people]
    plan = ctl.json("plan", "server", *change, "--ramp", "0")
    assert plan["users"] == len(everybody)
    assert places(ctl, everybody) == before, "a plan changes nothing"

    ctl.succeed("server", *change, "--ramp", "0", "--wait")
    after = settled_places(ctl, everybody)
    moves = {}
    for login, old in before.items():
        if after[login] != old:
            moves[old, after[login]] = moves.get((old, after[login]), 0) + 1
    assert {(move["from"], move["to"]): move["users"]
            for move in plan["moves"]} == moves
    assert plan["moving"] == sum(moves.values()) > 0

    def ended():
        return sum(not is_open(session) for session in sessions)
    assert wait_until(lambda: ended() == plan["sessions"]["ending"], 5)
    assert plan["sessions"]["ending"] + plan["sessions"]["staying"] \
        == len(sessions)
    for session in sessions:
        if is_open(session):
            session.logout()


def test_plan_of_a_ramp_counts_the_same_users(ctl):
    at_once = ctl.json("plan", "server", "drain", "mbox1", "--ramp", "0")
    slowly = ctl.json("plan", "server", "drain", "mbox1", "--ramp", "600")
    assert at_once["moves"] == slowly["moves"]
    assert slowly["ramp"] == 600


def test_wait_shows_progress_on_a_terminal(ctl):
    plan = ctl.json("plan", "server", "drain", "mbox1", "--ramp", "0")
    ctl.succeed("server", "drain", "mbox3", "--ramp", "0", "--wait")
    ctl.succeed("server", "up", "mbox3", "--ramp", "0", "--wait")
    main, side = pty.openpty()
    begun = time.monotonic()
    process = subprocess.Popen([*ctl.command, "server", "drain", "mbox1",
                                "--ramp", "2", "--wait"],
                               stdout=subprocess.DEVNULL, stderr=side)
    os.close(side)
    shown = read_terminal(main, lambda text: process.poll() is not None)
    assert process.wait(10) == 0
    assert time.monotonic() - begun >= 2
    assert "users still to move" in shown
    assert f"{plan['moving']} users moved" in shown
    assert users_of(ctl)["mbox1"] == 0


def read_terminal(descriptor, done, seconds=20):
    text, deadline = b"", time.monotonic() + seconds
    while not done(text.decode(errors="replace")) \
            and time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                text += os.read(descriptor, 65536)
            except OSError:
                break
    while select.select([descriptor], [], [], 0)[0]:
        try:
            text += os.read(descriptor, 65536)
        except OSError:
            break
    return text.decode(errors="replace")


def test_a_wait_ends_when_a_newer_change_takes_over(ctl):
    ctl.succeed("server", "drain", "mbox1", "--ramp", "0")
    ctl.succeed("server", "up", "mbox1", "--ramp", "0")
    process = subprocess.Popen([*ctl.command, "server", "drain", "mbox1",
                                "--ramp", "60", "--wait"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    assert "mbox1: drain" in process.stdout.readline()
    assert wait_until(lambda: ctl.json(
        "server", "show", "mbox1")["state"] == "drain", 5)
    ctl.succeed("server", "up", "mbox1", "--ramp", "0")
    assert process.wait(10) == TEMPFAIL
    assert "a newer change took over" in process.stderr.read()


def test_a_ramp_spreads_the_moves(ctl, people):
    ctl.succeed("server", "drain", "mbox1", "--ramp", "0", "--wait")
    ctl.succeed("server", "up", "mbox1", "--ramp", "0", "--wait")
    total = users_of(ctl)["mbox1"]
    ctl.succeed("server", "drain", "mbox1", "--ramp", "4")
    seen = set()

    def gone():
        seen.add(users_of(ctl)["mbox1"])
        return seen and min(seen) == 0
    assert wait_until(gone, 10, 0.05)
    assert len(seen) > 3, (total, seen)


def test_wish_and_transition_are_one_change(ctl, directory):
    csn = entry(directory, "mbox2")["entryCSN"]
    done = ctl.json("server", "drain", "mbox2", "--ramp", "7")
    found = entry(directory, "mbox2")
    assert found["entryCSN"] != csn
    assert found["postcellState"] == [b"drain"]
    newest = max(found["postcellTransition"])
    assert newest == f"{done['time']} 7 drain 100".encode()


def entry(directory, name, unit="servers"):
    return directory.search_s(f"cn={name},ou={unit},{SUFFIX}",
                              ldap.SCOPE_BASE, attrlist=["*", "+"])[0][1]


def test_two_writers_at_once_do_not_overlook_each_other(ctl, directory):
    """Each change is in the history, in an order, and the last one holds."""
    ctl.succeed("server", "drain", "mbox2", "--ramp", "0")
    before = set(entry(directory, "mbox2")["postcellTransition"])
    weights = [str(number) for number in range(101, 113)]
    running = [subprocess.Popen([*ctl.command, "--json", "server", "weight",
                                 "mbox2", weight, "--ramp", "0"],
                                stdout=subprocess.PIPE) for weight in weights]
    times = []
    for process in running:
        answer = json.loads(process.communicate(timeout=60)[0])
        assert process.returncode == 0
        times.append(answer["time"])
    found = entry(directory, "mbox2")
    added = set(found["postcellTransition"]) - before
    assert len(set(times)) == len(weights) == len(added)
    assert found["postcellWeight"][0] == max(added).split()[-1]


def test_a_change_reaches_both_replicas_in_time(cell, ctl):
    others = [Ctl(cell, proxy) for proxy in PROXIES]
    taken, lags = [], []
    for number in range(15):
        weight = 100 + number % 2 + 1
        done = ctl.json("server", "weight", "mbox1", str(weight),
                        "--ramp", "0")
        for other in others:
            assert wait_until(lambda: other.json(
                "server", "show", "mbox1")["weight"] == weight, 5, 0.001)
        taken.append(time.time() - moment(done["time"]))
        lags.append(max(other.json("replica", "status")["lag"]
                        for other in others))
    median = statistics.median(lags)
    print(f"from a change to the later one of both replicas: median "
          f"{median * 1000:.1f} ms, worst {max(lags) * 1000:.1f} ms; seen "
          "there by a command started again and again: median "
          f"{statistics.median(taken) * 1000:.0f} ms")
    assert median < LATENCY, lags


def moment(text):
    return datetime.datetime.strptime(
        text, "%Y%m%d%H%M%S.%fZ").replace(
            tzinfo=datetime.timezone.utc).timestamp()


def test_add_and_remove(cell, ctl, directory):
    ctl.succeed("server", "add", "mbox9", "--weight", "1", "--ramp", "0",
                "--site", "there", "--service", "imap://mbox3.cell.test:31143",
                "--service", "lmtp://mbox3.cell.test:31024?tls=starttls")
    try:
        assert wait_until(lambda: ctl.run(
            "server", "show", "mbox9").returncode == 0, 5)
        shown = ctl.json("server", "show", "mbox9")
        assert (shown["state"], shown["weight"], shown["site"]) \
            == ("up", 1, "there")
        assert len(shown["history"]) == 1
        assert "there is a server of that name" in ctl.fail(
            CANTCREAT, "server", "add", "MBOX9", "--service", "imap://x")
        for words in (("remove", "mbox9"), ("rename", "mbox9", "mbox8"),
                      ("pool", "mbox9", "mail")):
            assert "take it down first" in ctl.fail(NO, "server", *words)
        ctl.succeed("server", "down", "mbox9")
        assert "not down for long enough" in ctl.fail(
            TEMPFAIL, "server", "remove", "mbox9")
        # As if it had been down for months.
        directory.modify_s(f"cn=mbox9,ou=servers,{SUFFIX}", [
            (ldap.MOD_REPLACE, "postcellTransition",
             f"{OLD} 0 down 1".encode())])
        assert "no pool" in ctl.fail(NO, "server", "pool", "mbox9", "other")
        ctl.succeed("server", "pool", "mbox9", "mail")
        ctl.succeed("server", "rename", "mbox9", "mbox8")
        ctl.succeed("server", "remove", "mbox8")
    finally:
        for name in ("mbox8", "mbox9"):
            try:
                directory.delete_s(f"cn={name},ou=servers,{SUFFIX}")
            except ldap.NO_SUCH_OBJECT:
                pass
    assert wait_until(lambda: ctl.run(
        "server", "show", "mbox8").returncode == NO, 5)


def test_proxies_and_other_hosts(ctl, directory):
    assert {host["name"] for host in ctl.json("proxy", "list")["hosts"]} \
        >= set(PROXIES)
    ctl.succeed("proxy", "drain", "proxy2")
    assert entry(directory, "proxy2", "proxies")["postcellState"] == [b"drain"]
    assert wait_until(lambda: ctl.json(
        "proxy", "show", "proxy2")["state"] == "drain", 5)
    ctl.succeed("proxy", "up", "proxy2")
    assert {host["name"] for host in ctl.json("host", "list")["hosts"]} \
        >= {"ldap1", "ldap2", "dns1"}


def test_watch(ctl):
    once = ctl.succeed("watch", "--once")
    assert all(name in once for name in (*SERVERS, *PROXIES))
    assert {server["name"] for server in ctl.json("watch")["servers"]} \
        == set(SERVERS)
    main, side = pty.openpty()
    process = subprocess.Popen([*ctl.command, "watch"], stdin=side,
                               stdout=side, stderr=side)
    os.close(side)
    shown = read_terminal(main, lambda text: text.count("mbox3") >= 2)
    assert "mbox1" in shown and "SESSIONS" in shown
    os.write(main, b"q")
    shown += read_terminal(main, lambda text: process.poll() is not None, 5)
    assert process.wait(5) == 0
    assert shown.rstrip().endswith("\x1b[?1049l"), "the screen is given back"


# -- users -------------------------------------------------------------------


def test_move_and_unpin(cell, ctl, directory):
    login, password = "anna", "anna-secret"
    home = ctl.json("map", login)["server"]
    target = next(name for name in SERVERS if name != home)
    session = log_in(cell, "proxy1", login, password)
    ctl.succeed("user", "move", login, target)
    found = directory.search_s(f"uid=anna,{PEOPLE}", ldap.SCOPE_BASE)[0][1]
    assert found["mailHost"] == [target.encode()]
    assert found["postcellMoved"][0].endswith(b"Z - -")
    assert wait_until(lambda: not is_open(session), 5)
    for proxy in PROXIES:
        assert who_serves(cell, proxy, login, password) == target
    assert ctl.succeed("user", "map", login, "--host").strip() \
        == f"{target}.cell.test"
    assert not ctl.json("user", "move", login, target)["changed"]

    # A drained server keeps those that are pinned to it.
    ctl.succeed("server", "drain", target, "--ramp", "0", "--wait")
    assert who_serves(cell, "proxy1", login, password) == target
    ctl.succeed("server", "up", target, "--ramp", "0", "--wait")

    ctl.succeed("user", "unpin", "anna@cell.test")
    found = directory.search_s(f"uid=anna,{PEOPLE}", ldap.SCOPE_BASE)[0][1]
    assert "mailHost" not in found
    assert found["postcellMoved"][0].endswith(f"Z {target} -".encode())
    for proxy in PROXIES:
        assert who_serves(cell, proxy, login, password) == home
    assert "is not pinned" in ctl.fail(NO, "user", "unpin", login)


def test_move_to_a_pool(cell, ctl, directory):
    dn = f"cn=other,ou=pools,{SUFFIX}"
    directory.add_s(dn, [("objectClass", b"postcellPool"), ("cn", b"other")])
    try:
        assert "no pool" in ctl.fail(NO, "user", "move", "eva", "--pool", "x")
        ctl.succeed("user", "move", "eva", "--pool", "other")
        assert "not in the user's pool" in ctl.fail(
            NO, "user", "move", "eva", "mbox1")
        ctl.succeed("user", "move", "eva", "mbox1", "--pool", "mail")
        found = directory.search_s(f"uid=eva,{PEOPLE}", ldap.SCOPE_BASE)[0][1]
        assert found["mailHost"] == [b"mbox1"]
        assert found["postcellMoved"][0].endswith(b"Z - other")
        ctl.succeed("user", "unpin", "eva")
    finally:
        directory.delete_s(dn)
        directory.modify_s(f"uid=eva,{PEOPLE}", [
            (ldap.MOD_DELETE, "postcellPoolName", None)])


def test_kick_flush_and_who(cell, ctl):
    mine = [log_in(cell, "proxy1", "irene", "typed by alias")
            for _ in range(3)]
    other = log_in(cell, "proxy1", "anna", "anna-secret")
    assert len(ctl.json("user", "who", "info@cell.test")["sessions"]) == 3
    assert len(ctl.json("user", "kick", "info@cell.test")["sessions"]) == 3
    assert wait_until(lambda: not any(map(is_open, mine)), 5)
    assert is_open(other)
    assert "0 sessions" in ctl.run("user", "kick", "irene").stdout
    server = other.served_by()
    assert "1 session ended" in ctl.succeed("flush", server)
    assert wait_until(lambda: not is_open(other), 5)
    assert ctl.run("flush", server).returncode == NO
    assert who_serves(cell, "proxy1", "anna", "anna-secret") == server


# -- what is wrong -----------------------------------------------------------


# The directory would not take the faults otherwise.
RELAXED = [RelaxRulesControl(True)]


def test_check_names_every_fault(cell, ctl, directory):
    assert ctl.run("check").stdout == ""
    faults = {
        f"uid=anna,{PEOPLE}": [("mailHost", "elsewhere.example")],
        f"uid=bernd,{PEOPLE}": [("postcellMoved", "yesterday")],
        f"uid=clara,{PEOPLE}": [("postcellStatus", "perhaps")],
        f"uid=david,{PEOPLE}": [("mail", "eva@cell.test")],
        f"uid=felix,{PEOPLE}": [("postcellPoolName", "nowhere")],
        f"cn=mbox1,ou=servers,{SUFFIX}": [("postcellWeight", "-3")],
        f"cn=mbox2,ou=servers,{SUFFIX}": [
            ("postcellTransition", "soon 0 up 100")],
    }
    saved = {dn: directory.search_s(dn, ldap.SCOPE_BASE)[0][1]
             for dn in faults}
    pool = f"cn=empty,ou=pools,{SUFFIX}"
    directory.add_s(pool, [("objectClass", b"postcellPool"),
                           ("cn", b"empty"), ("postcellGuard", b"999999999")])
    try:
        for dn, changes in faults.items():
            extra = [] if "postcell" in str(saved[dn]["objectClass"]) else [
                (ldap.MOD_ADD, "objectClass", b"postcellAccount")]
            directory.modify_ext_s(dn, extra + [
                (ldap.MOD_ADD if name == "postcellTransition"
                 else ldap.MOD_REPLACE, name, value.encode())
                for name, value in changes], serverctrls=RELAXED)
        expected = ["uid=anna", "uid=bernd", "uid=clara", "eva@cell.test",
                    "uid=felix", "mbox1", "mbox2", '"empty": it has no server',
                    "postcellGuard"]

        def all_named():
            text = ctl.run("check").stdout
            return all(word in text for word in expected)
        assert wait_until(all_named, 5), ctl.run("check").stdout
        assert ctl.run("check").returncode == NO
        told = json.loads(ctl.run("--json", "check").stdout)
        assert len(told["faults"]) >= len(expected)
        # The rest of the cell works on.
        assert who_serves(cell, "proxy1", "gerda", "gerda-secret") in SERVERS
    finally:
        directory.delete_s(pool)
        for dn, old in saved.items():
            now = directory.search_s(dn, ldap.SCOPE_BASE)[0][1]
            directory.modify_s(dn, [
                (ldap.MOD_REPLACE, name, old.get(name))
                for name in now.keys() | old.keys() if now.get(name)
                != old.get(name)])
    assert wait_until(lambda: ctl.run("check").returncode == 0, 5), \
        ctl.run("check").stdout


@pytest.mark.parametrize("status, words, text", [
    (USAGE, [], "usage:"),
    (USAGE, ["serve"], "no such verb"),
    (USAGE, ["server"], "no such verb"),
    (USAGE, ["server", "drain"], "too few or too many words"),
    (USAGE, ["server", "list", "--wait"], "--wait does not go with"),
    (USAGE, ["server", "drain", "mbox1", "--ramp", "soon"], "a number"),
    (USAGE, ["server", "drain", "mbox1", "--ramp", "99999999"], "0 to 86400"),
    (USAGE, ["server", "weight", "mbox1", "heavy"], "a weight is a number"),
    (USAGE, ["server", "weight", "mbox1", "-3"], "a weight is a number"),
    (USAGE, ["server", "list", "--what"], "no such option"),
    (USAGE, ["server", "drain", "mbox1", "--ramp"], "needs a value"),
    (USAGE, ["server", "weight", "mbox1", "4294967296"], "a weight"),
    (USAGE, ["server", "add", "mbox7"], "--service URL is missing"),
    (USAGE, ["server", "add", "mbox7", "--service", "gopher://x"], "gopher"),
    (USAGE, ["server", "add", "a,b=c", "--service", "imap://x"], "letters"),
    (NO, ["server", "drain", "mbox7"], "none of that name"),
    (NO, ["server", "show", "mbox7"], "none of that name"),
    (NO, ["plan", "server", "drain", "mbox7"], "no server of that name"),
    (USAGE, ["plan", "server", "explode", "mbox1"], "drain, up, down"),
    (USAGE, ["plan", "server"], "drain, up, down"),
    (NO, ["map", "nobody-of-that-name"], "no entry has that name"),
    (NO, ["user", "move", "anna", "mbox7"], "no server of that name"),
    (USAGE, ["user", "move", "anna"], "to which SERVER"),
    (NO, ["user", "move", "nobody-of-that-name", "mbox1"], "no entry"),
    (USAGE, ["flush", "../mbox1"], "no name of a server"),
    (CONFIG, ["-c", "/nonexistent", "status"], "/nonexistent"),
    (NOINPUT, ["-r", "/nonexistent", "map", "anna"], "/nonexistent"),
    (NOINPUT, ["import-director", "/nonexistent"], "/nonexistent"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else None)
def test_what_is_wrong_is_said(cell, status, words, text):
    assert text in Ctl(cell).fail(status, *words)


def write_conf(cell, path, **changes):
    """The configuration of the cell's postcellctl, but for some options."""
    lines = daemons.control_conf(cell.layout, "proxy1").read_text().splitlines()
    for name, value in changes.items():
        lines = [f"\t{name} = {value}"
                 if line.strip().startswith(f"{name} ") else line
                 for line in lines]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_directory_that_is_down_or_silent(cell, tmp_path):
    ctl = Ctl(cell)
    try:
        cell.stop_server("ldap1")
        ctl.succeed("server", "weight", "mbox1", "90", "--ramp", "0")
        ctl.succeed("server", "weight", "mbox1", "100", "--ramp", "0")
        cell.stop_server("ldap2")
        told = ctl.fail(UNAVAILABLE, "server", "drain", "mbox1")
        assert all(uri in told for uri in cell.layout.ldap_uris)
        assert "Can't contact LDAP server" in told
        # Looking goes on.
        ctl.succeed("server", "list")
        ctl.succeed("map", "anna")
    finally:
        for name in ("ldap1", "ldap2"):
            cell.start_server(name)
    pids = [cell.processes.pid(name) for name in ("ldap1", "ldap2")]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        begun = time.monotonic()
        ctl.fail(UNAVAILABLE, "server", "drain", "mbox1", timeout=60)
        assert time.monotonic() - begun < 30
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert wait_until(lambda: ctl.run("server", "weight", "mbox1", "100")
                      .returncode == 0, 20)
    assert wait_until(lambda: ctl.json("replica", "status")["state"]
                      .startswith("connected"), 20)


def test_a_directory_that_refuses(cell, tmp_path):
    password = tmp_path / "password"
    password.write_text("wrong\n")
    conf = write_conf(cell, tmp_path / "wrong.conf",
                      password_file=f'"{password}"')
    told = Ctl(cell, conf=conf).fail(NOPERM, "server", "drain", "mbox1")
    assert "Invalid credentials" in told

    password.write_text(cell.settings["replica1_password"] + "\n")
    conf = write_conf(cell, tmp_path / "reader.conf",
                      bind_dn=f'"{identity_dn("replica1")}"',
                      password_file=f'"{password}"')
    told = Ctl(cell, conf=conf).fail(NOPERM, "server", "drain", "mbox1")
    assert "Insufficient access" in told
    assert f"cn=mbox1,ou=servers,{SUFFIX}" in told

    conf = write_conf(cell, tmp_path / "ca.conf",
                      ca_file=f'"{cell.layout.tls / "mbox1.pem"}"')
    Ctl(cell, conf=conf).fail(UNAVAILABLE, "server", "drain", "mbox1")
    conf = write_conf(cell, tmp_path / "none.conf", uris="{}")
    told = Ctl(cell, conf=conf).fail(CONFIG, "server", "drain", "mbox1")
    assert "none is configured" in told
    conf = write_conf(cell, tmp_path / "tls.conf", tls="maybe")
    told = Ctl(cell, conf=conf).fail(CONFIG, "status")
    assert "tls.conf:" in told and "starttls, none" in told


# -- a Director's configuration ----------------------------------------------

DIRECTOR = """
base_dir = {folder}/run
protocols = imap pop3 lmtp
listen = {net}.7
ssl = yes
ssl_cert = <{tls}/proxy1.pem
ssl_key = <{tls}/proxy1.key
ssl_min_protocol = TLSv1.2
ssl_client_ca_file = {ca}
disable_plaintext_auth = yes
lmtp_proxy = yes
director_servers = {net}.7 {net}.8
director_mail_servers = {net}.11-{net}.13 mbox-4.cell.test {net}.21@archive
passdb {{
  driver = static
  args = proxy=y nopassword=y starttls=y port=31143
}}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
protocol lmtp {{
  passdb {{
    driver = static
    args = proxy=y nopassword=y port=31024
  }}
}}
service imap-login {{
  executable = imap-login director
  inet_listener imap {{
    port = 31144
  }}
  inet_listener imaps {{
    port = 31994
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = 31996
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = {net}.9
    port = 31025
  }}
}}
"""


def test_import_of_a_real_director_configuration(cell, ctl, directory, build,
                                                 tmp_path):
    conf = tmp_path / "dovecot.conf"
    conf.write_text(DIRECTOR.format(folder=tmp_path, net=NET, ca=cell.layout.ca,
                                    tls=cell.layout.tls))
    for option in ("-n", "-nP"):
        text = subprocess.run(["doveconf", option, "-c", conf], check=True,
                              capture_output=True).stdout
        (tmp_path / "director.txt").write_bytes(text)
        if option == "-n":
            told = ctl.run("import-director", str(tmp_path / "director.txt"))
            assert "ssl_key" in told.stderr and told.returncode == 0
    done = ctl.run("import-director", str(tmp_path / "director.txt"),
                   "--proxyd", str(tmp_path / "proxyd.conf"))
    assert done.returncode == 0, done.stderr
    assert "passwd-file" in done.stderr and "director_servers" in done.stderr
    (tmp_path / "cell.ldif").write_text(done.stdout)

    # A directory takes the entries: the demo cell's own pool has that name.
    added = subprocess.run(
        ["ldapadd", "-n", "-x", "-f", tmp_path / "cell.ldif"],
        capture_output=True)
    assert added.returncode == 0, added.stderr
    names = load(directory, tmp_path / "cell.ldif")
    try:
        assert [name for name in names if "servers" in name] == [
            f"cn=backend-127-0-91-{last},ou=servers,{SUFFIX}"
            for last in (11, 12, 13)] + [
            f"cn=mbox-4.cell.test,ou=servers,{SUFFIX}",
            f"cn=backend-127-0-91-21,ou=servers,{SUFFIX}"]
        found = directory.search_s(names[-1], ldap.SCOPE_BASE)[0][1]
        assert found["postcellPoolName"] == [b"archive"]
        assert found["postcellService"] == [
            f"imap://{NET}.21:31143?tls=starttls".encode(),
            f"pop3://{NET}.21?tls=starttls".encode(),
            f"lmtp://{NET}.21:31024?tls=none".encode()]
        assert wait_until(lambda: ctl.run(
            "server", "show", "backend-127-0-91-21").returncode == 0, 5)
        assert ctl.run("check").returncode == 0, ctl.run("check").stdout
    finally:
        for name in reversed(names):
            directory.delete_ext_s(name, serverctrls=RELAXED)

    # The proxy takes its configuration, and the listeners are the Director's.
    # Only the user that a package makes is not there.
    listeners = (tmp_path / "proxyd.conf").read_text()
    (tmp_path / "own.conf").write_text(
        f'user = "nobody"\nchroot = "{tmp_path}"\n{listeners}')
    done = subprocess.run([build / "postcell-proxyd", "-n", "-c",
                           tmp_path / "own.conf"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert "port = 31144" in listeners and "listen pop3 {" not in listeners
    assert f'addresses = {{ "{NET}.9" }}' in listeners
    told = ctl.fail(CANTCREAT, "import-director",
                    str(tmp_path / "director.txt"), "--proxyd",
                    str(tmp_path / "proxyd.conf"))
    assert "File exists" in told


def load(directory, path):
    """Adds the entries, but those that are there; their DNs."""
    import ldif
    parser = ldif.LDIFRecordList(open(path, "rb"))
    parser.parse()
    added = []
    for dn, attributes in parser.all_records:
        try:
            directory.add_s(dn, list(attributes.items()))
            added.append(dn)
        except ldap.ALREADY_EXISTS:
            assert "ou=pools" in dn
    return added


def test_import_refuses_what_is_no_director(ctl, tmp_path):
    path = tmp_path / "plain"
    path.write_text("protocols = imap\n")
    assert "this is no Director" in ctl.fail(DATAERR, "import-director",
                                             str(path))
    path.write_text("service imap-login {\n")
    assert "line 2" in ctl.fail(DATAERR, "import-director", str(path))
