"""The cell as people use it: stock mail programs, and servers that come and go.

Every scenario leaves the cell as it found it. Nothing is proved by waiting:
what must happen is polled for until a deadline.
"""

import collections
import concurrent.futures
import datetime
import os
import signal
import subprocess
import threading
import time

import ldap
import pytest

import imap
import knot
import slapd
import users
from layout import ADMIN_DN, DOMAIN, HOST, PEOPLE, PORTS, PROXIES, SERVERS, SUFFIX
from process import wait_until

TAKES_EFFECT = 1.0  # s, what the cell promises for a change in the directory
MESSAGE = b"From: a@cell.test\r\nSubject: %s\r\n\r\nbody of %s\r\n"

both_proxies = pytest.mark.parametrize("proxy", PROXIES)


@pytest.fixture(scope="module")
def people(cell):
    """What the list of users says, as anybody would read it."""
    lines = cell.layout.users.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines]


@pytest.fixture(scope="module")
def directory(cell):
    return slapd.connect(cell.layout.ldap_uris[0], cell.layout.ca, ADMIN_DN,
                         cell.settings["admin_password"])


def address(cell, name):
    return cell.layout.addresses[name]


def open_session(cell, proxy, login, password, **options):
    return cell.login(address(cell, proxy), login, password, **options)


def who_serves(cell, proxy, login, password):
    session = open_session(cell, proxy, login, password)
    try:
        return session.served_by()
    finally:
        session.logout()


def server_dn(name):
    return f"cn={name},ou=servers,{SUFFIX}"


def set_state(directory, name, state):
    """Wish and transition in one change, as it is to be written."""
    now = datetime.datetime.now(datetime.timezone.utc)
    value = f"{now:%Y%m%d%H%M%S.%f}Z 0 {state} 100"
    directory.modify_s(server_dn(name), [
        (ldap.MOD_REPLACE, "postcellState", state.encode()),
        (ldap.MOD_ADD, "postcellTransition", value.encode())])


def is_seen_up(directory, name):
    """No observer says that it is down."""
    found = directory.search_s(f"ou=proxies,{SUFFIX}", ldap.SCOPE_ONELEVEL,
                               f"(postcellVote={name} down)", ["cn"])
    return not found


def takes_effect(condition, since):
    """True when an attempt that began in time found the condition to hold."""
    while time.monotonic() - since <= TAKES_EFFECT:
        if condition():
            return True
        time.sleep(0.02)
    return False


def takes_effect_at_both(condition, since):
    """condition(proxy) for each, at the same time: the guard makes who moves
    wait for nearly as long as a change may take."""
    with concurrent.futures.ThreadPoolExecutor(len(PROXIES)) as pool:
        return all(pool.map(lambda proxy: takes_effect(
            lambda: condition(proxy), since), PROXIES))


def faults_of(people, attempt):
    """Runs attempt(login, password) for everybody: all that went wrong."""
    faults = []
    for login, password in people:
        try:
            attempt(login, password)
        except (OSError, AssertionError, imap.Imap.error) as error:
            faults.append(f"{login}: {error!r}")
    return "\n".join(faults)


# -- who gets in -------------------------------------------------------------


def test_forty_users_some_awkward(people):
    assert len(people) == 40
    assert len({login for login, _ in people}) == 40


def test_the_generic_name_rotates(cell):
    proxies = {address(cell, name) for name in PROXIES}
    answers = [knot.resolve(cell.layout, HOST) for _ in range(20)]
    assert all(set(answer) == proxies for answer in answers)
    assert {answer[0] for answer in answers} == proxies


@both_proxies
@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "tls"])
def test_everybody_logs_in_with_imaplib(cell, people, proxy, implicit):
    def attempt(login, password):
        session = open_session(cell, proxy, login, password, implicit=implicit)
        assert session.select()[0] == "OK"
        session.logout()
    assert not faults_of(people, attempt)


@both_proxies
def test_everybody_logs_in_with_login_and_literals(cell, people, proxy):
    def attempt(login, password):
        session = imap.Imap(address(cell, proxy), PORTS["imaps"], HOST,
                            cell.layout.ca, implicit=True)
        session.login_literal(login, password)
        assert session.select()[0] == "OK"
        session.logout()
    assert not faults_of(people, attempt)


@both_proxies
def test_who_is_ascii_logs_in_with_quoted_strings(cell, people, proxy):
    def attempt(login, password):
        session = imap.Imap(address(cell, proxy), PORTS["imap"], HOST,
                            cell.layout.ca)
        session.login(quoted(login), password)
        session.logout()
    assert not faults_of([person for person in people
                          if "".join(person).isascii()], attempt)


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def curl(cell, proxy, login, password, url, *options):
    """The password goes in by the configuration, not by the command line."""
    settings = f"user = {quoted(login + ':' + password)}\n"
    return subprocess.run(
        ["curl", "-sS", "--max-time", "20", "--cacert", cell.layout.ca,
         "--resolve", f"{HOST}:{PORTS['imap']}:{address(cell, proxy)}",
         "--resolve", f"{HOST}:{PORTS['imaps']}:{address(cell, proxy)}",
         "-K", "-", url, *options],
        input=settings.encode(), capture_output=True)


@both_proxies
@pytest.mark.parametrize("url, options", [
    (f"imaps://{HOST}:{PORTS['imaps']}/", ()),
    (f"imap://{HOST}:{PORTS['imap']}/", ("--ssl-reqd",)),
    (f"imap://{HOST}:{PORTS['imap']}/",
     ("--ssl-reqd", "--login-options", "AUTH=LOGIN")),
], ids=["tls", "starttls", "login"])
def test_everybody_logs_in_with_curl(cell, people, proxy, url, options):
    def attempt(login, password):
        done = curl(cell, proxy, login, password, url, *options)
        assert done.returncode == 0, done.stderr.decode()
        assert b"INBOX" in done.stdout
    assert not faults_of(people, attempt)


@both_proxies
def test_everybody_syncs_with_mbsync(cell, people, proxy, tmp_path):
    def attempt(login, password):
        folder = tmp_path / str(people.index((login, password)))
        folder.mkdir()
        text = login.encode("ascii", "replace")
        session = open_session(cell, proxy, login, password)
        session.append("INBOX", None, None, MESSAGE % (text, text))
        session.logout()
        mbsync(cell, proxy, login, password, folder)
        mails = [path.read_bytes() for path in folder.glob("INBOX/*/*")]
        assert any(b"body of " + text in mail for mail in mails)
    assert not faults_of(people, attempt)


def mbsync(cell, proxy, login, password, folder):
    (folder / "password").write_text(password)
    conf = folder / "mbsyncrc"
    # With the proxy's own certificate mbsync takes the address for the name.
    conf.write_text(f"""
IMAPAccount cell
Host {address(cell, proxy)}
Port {PORTS["imap"]}
SSLType STARTTLS
SystemCertificates no
CertificateFile {cell.layout.tls / proxy}.pem
User {quoted(login)}
PassCmd "cat {folder}/password"

IMAPStore far
Account cell

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX

Channel inbox
Far :far:
Near :near:
Create Near
SyncState *
""")
    done = subprocess.run(["mbsync", "-c", conf, "inbox"], timeout=30,
                          capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@both_proxies
def test_a_wrong_password_is_refused_as_the_server_says_it(cell, proxy):
    with pytest.raises(imap.Imap.error, match=r"\[AUTHENTICATIONFAILED\]"):
        open_session(cell, proxy, "anna", "wrong")


@both_proxies
def test_an_unknown_user_looks_like_a_wrong_password(cell, proxy):
    with pytest.raises(imap.Imap.error, match=r"\[AUTHENTICATIONFAILED\]"):
        open_session(cell, proxy, "nobody-of-that-name", "wrong")


# -- where they land ---------------------------------------------------------


def test_each_user_lands_on_one_server_through_both_proxies(cell, people):
    def attempt(login, password):
        found = [who_serves(cell, proxy, login, password)
                 for proxy in (*PROXIES, *PROXIES)]
        assert len(set(found)) == 1, found
        assert found[0] in SERVERS
        counts[found[0]] += 1
    counts = collections.Counter()
    assert not faults_of(people, attempt)
    assert set(counts) == set(SERVERS), "nobody lands on some server"


def test_all_names_of_an_account_land_on_one_server(cell):
    found = {who_serves(cell, proxy, login, "typed by alias")
             for proxy in PROXIES
             for login in ("irene", "IRENE", f"irene@{DOMAIN}",
                           f"info@{DOMAIN}")}
    assert len(found) == 1


@both_proxies
def test_the_client_address_reaches_the_server(cell, proxy):
    source = f"{cell.layout.net}.77"
    session = imap.Imap(address(cell, proxy), PORTS["imaps"], HOST,
                        cell.layout.ca, implicit=True, source=source)
    session.login_plain("anna", "anna-secret")
    server = session.served_by()
    log = cell.layout.log / f"{server}.log"
    assert wait_until(lambda: f"rip={source}," in log.read_text(), 5)
    session.logout()


# -- what they do ------------------------------------------------------------


def test_20_megabytes_byte_for_byte(cell):
    """Every octet but NUL, which no IMAP literal may hold, and odd line ends."""
    noise = bytes(octet for octet in os.urandom(20 << 20) if octet)
    message = b"Subject: big\r\n\r\n" + noise.replace(
        b"\r", b"!").replace(b"\n", b"\r\n")
    one = open_session(cell, "proxy1", "bernd", "bernd-secret", implicit=True)
    other = open_session(cell, "proxy2", "bernd", "bernd-secret")
    try:
        assert one.append("INBOX", None, None, message)[0] == "OK"
        count = other.select()[1][0].decode()
        data = other.fetch(count, "(RFC822.SIZE BODY.PEEK[])")[1]
        assert data[0][1] == message
        other.store(count, "+FLAGS", r"(\Deleted)")
        other.expunge()
    finally:
        one.logout()
        other.logout()


@both_proxies
def test_idle_is_told_of_new_mail(cell, proxy):
    waiting = open_session(cell, proxy, "clara", "clara-secret")
    sending = open_session(cell, "proxy1", "clara", "clara-secret")
    try:
        before = int(waiting.select()[1][0])
        waiting.send(b"i1 IDLE\r\n")
        assert waiting.readline().startswith(b"+")
        sending.append("INBOX", None, None, MESSAGE % (b"x", b"x"))
        line = waiting.readline()
        assert line == b"* %d EXISTS\r\n" % (before + 1)
        waiting.send(b"DONE\r\n")
        while not line.startswith(b"i1 "):
            line = waiting.readline()
        assert line.startswith(b"i1 OK")
    finally:
        waiting.logout()
        sending.logout()


def log_in_many(cell, people, count, at_once):
    """Logs in `count` times through both proxies in turn: what went wrong."""
    def attempt(number):
        login, password = people[number % len(people)]
        proxy = list(PROXIES)[number % len(PROXIES)]
        try:
            session = open_session(cell, proxy, login, password,
                                   implicit=number % 3 == 0)
            assert session.noop()[0] == "OK"
            session.logout()
            return None
        except (OSError, AssertionError, imap.Imap.error) as error:
            return f"{proxy} {login}: {error!r}"

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        return [fault for fault in pool.map(attempt, range(count)) if fault]


def test_500_logins_at_50_at_once(cell, people):
    assert log_in_many(cell, people, 500, 50) == []


# -- what may fail -----------------------------------------------------------


class Load:
    """Logins one after the other in threads of their own until it is left."""

    def __init__(self, cell, people, threads=4):
        self.cell, self.people = cell, people
        self.done, self.faults = 0, []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,))
                        for number in range(threads)]

    def run(self, number):
        while not self.over.is_set():
            self.faults += log_in_many(self.cell, self.people[number::4], 1, 1)
            self.done += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def runs_on(self, count=20):
        """True once `count` more logins have ended."""
        before = self.done
        return wait_until(lambda: self.done >= before + count, 30)


def remember(cell, people):
    """From now on, for as long as servers do, they know everybody."""
    for name in SERVERS:
        subprocess.run(["doveadm", "-c", cell.layout.conf / f"{name}.conf",
                        "auth", "cache", "flush"], check=True,
                       capture_output=True)
    assert log_in_many(cell, people, 2 * len(people), 8) == []


def test_logins_go_on_while_both_directories_are_down(cell, people):
    directories = ("ldap1", "ldap2")
    remember(cell, people)
    try:
        for name in directories:
            cell.stop_server(name)
        assert log_in_many(cell, people, 2 * len(people), 8) == []
    finally:
        for name in directories:
            cell.start_server(name)
    assert_follows(cell)


def test_logins_go_on_while_both_directories_are_silent(cell, people):
    remember(cell, people)
    pids = [cell.processes.pid(name) for name in ("ldap1", "ldap2")]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        assert log_in_many(cell, people, 2 * len(people), 8) == []
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert_follows(cell)


@pytest.mark.parametrize("dead, alive", [(0, 1), (1, 0)])
def test_who_is_added_while_one_directory_is_dead_can_log_in(
        cell, dead, alive):
    names = ("ldap1", "ldap2")
    try:
        cell.processes.signal(names[dead], signal.SIGKILL)
        connection = slapd.connect(
            cell.layout.ldap_uris[alive], cell.layout.ca, ADMIN_DN,
            cell.settings["admin_password"])
        with new_person(connection, f"alone{time.time_ns()}") as name:
            for proxy in PROXIES:
                assert wait_until(lambda: can_log_in(cell, proxy, name),
                                  10, 0.1), proxy
    finally:
        cell.start_server(names[dead])
    assert_follows(cell)


def assert_follows(cell, seconds=20):
    """A change at each provider reaches the proxies again."""
    for uri in cell.layout.ldap_uris:
        connection = slapd.connect(uri, cell.layout.ca, ADMIN_DN,
                                   cell.settings["admin_password"])
        with new_person(connection, f"follow{time.time_ns()}") as name:
            for proxy in PROXIES:
                assert wait_until(lambda: can_log_in(cell, proxy, name),
                                  seconds, 0.1), f"{proxy} after {uri}"


class new_person:
    def __init__(self, connection, name):
        self.connection, self.name = connection, name
        self.dn = f"uid={name},{PEOPLE}"

    def __enter__(self):
        user = users.User(self.name, self.name, self.name,
                          f"{self.name}@{DOMAIN}", None)
        self.connection.add_s(*entry_of(user))
        return self.name

    def __exit__(self, *exception):
        self.connection.delete_s(self.dn)


def entry_of(user):
    dn, attributes = users.entry(user)
    return dn, list(attributes.items())


def can_log_in(cell, proxy, name):
    try:
        open_session(cell, proxy, name, name).logout()
        return True
    except (OSError, imap.Imap.error):
        return False


def test_replicas_restart_under_load(cell, people):
    with Load(cell, people) as load:
        for name in ("replica1", "replica2", "replica1"):
            cell.restart_server(name)
            assert load.runs_on()
    assert load.faults == []
    assert_follows(cell)


@both_proxies
def test_a_killed_relay_is_replaced(cell, people, proxy):
    leader = cell.processes.pid(proxy)
    children = [pid for pid in cell.processes.members(proxy) if pid != leader]
    assert children
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    login, password = people[0]
    assert wait_until(lambda: log_in_once(cell, proxy, (login, password)), 5)
    assert cell.processes.pid(proxy) == leader
    assert log_in_many(cell, people, 40, 8) == []


def test_a_server_that_hangs_hurts_nobody_else(cell, people):
    places = {person: who_serves(cell, "proxy1", *person) for person in people}
    victim = places[people[0]]
    others = [person for person in people if places[person] != victim]
    try:
        cell.processes.signal(victim, signal.SIGSTOP)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            stuck = [pool.submit(open_session, cell, proxy, *people[0])
                     for proxy in (*PROXIES, *PROXIES)]
            begun = time.monotonic()
            assert log_in_many(cell, others, len(others), 8) == []
            assert time.monotonic() - begun < 10
            assert not any(session.done() for session in stuck)
            cell.processes.signal(victim, signal.SIGCONT)
            for session in stuck:
                close_quietly(session)
    finally:
        cell.processes.signal(victim, signal.SIGCONT)
    assert wait_until(lambda: log_in_once(cell, "proxy1", people[0]), 30)


def close_quietly(session):
    """A login that hung may have been refused by then, or not."""
    try:
        session.result(60).logout()
    except (OSError, imap.Imap.error):
        pass


def test_a_change_of_a_server_takes_effect_within_a_second(
        cell, people, directory):
    login, password = people[0]
    before = who_serves(cell, "proxy1", login, password)
    try:
        set_state(directory, before, "drain")
        changed = time.monotonic()
        assert takes_effect_at_both(
            lambda proxy: who_serves(cell, proxy, login, password) != before,
            changed)
        places = {who_serves(cell, proxy, login, password)
                  for proxy in PROXIES}
        assert len(places) == 1
    finally:
        set_state(directory, before, "up")
        changed = time.monotonic()
    assert takes_effect_at_both(
        lambda proxy: who_serves(cell, proxy, login, password) == before,
        changed)


def test_users_of_a_killed_server_log_in_elsewhere(cell, people, directory):
    places = {person: who_serves(cell, "proxy1", *person) for person in people}
    victim = "mbox2"
    try:
        cell.processes.signal(victim, signal.SIGKILL)
        assert wait_until(lambda: not cell.processes.members(victim), 5)
        set_state(directory, victim, "down")
        changed = time.monotonic()
        lost = [person for person in people if places[person] == victim]
        assert lost
        assert takes_effect_at_both(
            lambda proxy: log_in_once(cell, proxy, lost[0]), changed)
        for person, place in places.items():
            now = {who_serves(cell, proxy, *person) for proxy in PROXIES}
            assert len(now) == 1 and victim not in now
            if place != victim:
                assert now == {place}, "a user of another server was moved"
    finally:
        cell.start_server(victim)
        # Whoever brings a server up that most observers find down brings it
        # up for a moment.
        assert wait_until(lambda: is_seen_up(directory, victim), 10)
        set_state(directory, victim, "up")
    for proxy in PROXIES:
        assert wait_until(
            lambda: who_serves(cell, proxy, *lost[0]) == victim, 5), proxy


def log_in_once(cell, proxy, person):
    try:
        return who_serves(cell, proxy, *person)
    except (OSError, imap.Imap.error):
        return None


# -- who comes new -----------------------------------------------------------

PERSON = """dn: uid={name},{people}
objectClass: inetOrgPerson
uid: {name}
cn: {name}
sn: {name}
mail: {name}@{domain}
userPassword: {name}
"""


def test_a_plain_person_logs_in_within_a_second(cell):
    name = f"new{time.time_ns()}"
    facts = cell.facts()
    access = ["-x", "-H", facts["CELL_LDAP_URIS"].split()[0],
              "-D", facts["CELL_ADMIN_DN"], "-w", facts["CELL_ADMIN_PW"]]
    entry = PERSON.format(name=name, people=facts["CELL_PEOPLE"], domain=DOMAIN)
    subprocess.run(["ldapadd", *access], check=True, capture_output=True,
                   input=entry.encode())
    added = time.monotonic()
    try:
        for proxy in PROXIES:
            assert takes_effect(lambda: can_log_in(cell, proxy, name),
                                added), proxy
        session = open_session(cell, "proxy2", f"{name}@{DOMAIN}", name)
        assert session.select() == ("OK", [b"0"])
        session.append("INBOX", None, None, MESSAGE % (b"1", b"1"))
        session.logout()
        session = open_session(cell, "proxy1", name, name)
        assert session.select() == ("OK", [b"1"])
        session.logout()
    finally:
        subprocess.run(["ldapdelete", *access, f"uid={name},{PEOPLE}"],
                       check=True, capture_output=True)
    for proxy in PROXIES:
        assert wait_until(lambda: not can_log_in(cell, proxy, name), 5), proxy


def test_a_password_of_octets_that_are_no_text(cell, directory):
    user = users.User("octets", b"p\xe4\xdf\xff \x80\xfe", "octets",
                      f"octets@{DOMAIN}", None)
    dn, attributes = users.entry(user)
    # Nobody makes keys of it, and no account of the cell may have one.
    attributes["objectClass"] = [b"inetOrgPerson"]
    directory.add_s(dn, list(attributes.items()))
    try:
        for proxy in PROXIES:
            def attempt():
                try:
                    session = imap.Imap(address(cell, proxy), PORTS["imaps"],
                                        HOST, cell.layout.ca, implicit=True)
                    session.login_literal(user.login, user.password)
                    session.logout()
                    return True
                except imap.Imap.error:
                    return False
            assert wait_until(attempt, 5, 0.1), proxy
    finally:
        directory.delete_s(f"uid=octets,{PEOPLE}")
