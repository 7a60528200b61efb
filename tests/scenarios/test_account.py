"""postcellctl account on a real cell: who is added, shut, unlocked, imported
there gets in through a proxy, or does not."""

import base64
import hashlib
import json
import os
import pty
import select
import signal
import subprocess
import time

import ldap
import pytest

import daemons
import imap
import overlaid
import slapd
from directory import SUFFIX, Directory, base_ldif
from layout import ADMIN_DN, PEOPLE
from process import wait_until
from sanitized import BUILD

NO, USAGE, DATAERR, CANTCREAT, NOPERM = 1, 64, 65, 73, 77
GOOD = "good password of a test"
LIMIT = 50  # wrong passwords until an account is locked, as the cell has it


class Ctl:
    def __init__(self, cell, host="proxy1"):
        self.command = daemons.control_command(cell.layout, host)

    def run(self, *words, **options):
        return subprocess.run([*self.command, *words], timeout=60,
                              capture_output=True, text=True, **options)

    def succeed(self, *words, **options):
        done = self.run(*words, **options)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def fail(self, status, *words, **options):
        done = self.run(*words, **options)
        assert done.returncode == status, (words, done)
        return done.stderr

    def show(self, user):
        return json.loads(self.succeed("--json", "account", "show", user))


@pytest.fixture
def ctl(cell):
    return Ctl(cell)


@pytest.fixture
def directories(cell):
    return [slapd.connect(url, cell.layout.ca, ADMIN_DN,
                          cell.settings["admin_password"])
            for url in cell.layout.ldap_uris]


@pytest.fixture
def gone(directories):
    """Takes accounts away at the end."""
    names = []
    yield names.append
    for uid in names:
        try:
            directories[0].delete_s(dn_of(uid))
        except ldap.NO_SUCH_OBJECT:
            pass


def dn_of(uid):
    return f"uid={uid},{PEOPLE}"


def read(directory, uid):
    try:
        return directory.search_s(dn_of(uid), ldap.SCOPE_BASE,
                                  attrlist=["*", "+"])[0][1]
    except ldap.NO_SUCH_OBJECT:
        return None


def gets_in(cell, user, password, proxy="proxy1"):
    try:
        cell.login(cell.layout.addresses[proxy], user, password).logout()
        return True
    except (imap.Imap.error, OSError):
        return False


def bind(cell, uid, password, server=0):
    try:
        slapd.connect(cell.layout.ldap_uris[server], cell.layout.ca,
                      dn_of(uid), password).unbind_s()
        return True
    except (ldap.INVALID_CREDENTIALS, ldap.UNWILLING_TO_PERFORM):
        return False


def add(ctl, gone, uid, *options, password=GOOD):
    gone(uid)
    return ctl.succeed("account", "add", uid, *options, input=password + "\n")


# -- add -----------------------------------------------------------------------


def test_who_is_added_gets_in(cell, ctl, directories, gone):
    add(ctl, gone, "added", "--mail", "added@example.org", "--name",
        "Ad Ded", "--group", "family")
    assert wait_until(lambda: gets_in(cell, "added@example.org", GOOD), 10)
    assert not gets_in(cell, "added@example.org", GOOD + "x")
    entry = read(directories[0], "added")
    assert entry["sn"] == [b"Ded"] and entry["givenName"] == [b"Ad"]
    assert b"postcellLogin" in entry["objectClass"]
    assert len(entry["postcellKeys"]) == 1
    assert entry["userPassword"][0].startswith(b"{K5KEY}")
    shown = ctl.show("added@example.org")
    assert shown["dn"] == dn_of("added") and shown["uid"] == ["added"]
    assert shown["addresses"] == ["added@example.org"]
    assert (shown["status"], shown["locked"], shown["password"]) \
        == ("active", False, "keys")
    assert shown["key_version"] == 1 and shown["key_set"]
    assert shown["group"] == "family" and shown["server"]
    assert wait_until(lambda: ctl.show("added")["replica"].get("current"), 10)
    shown = ctl.show("added")
    assert shown["replica"]["server"] == shown["server"]
    assert dn_of("added") in ctl.succeed("account", "show", "added")


@pytest.mark.parametrize("password, why", [
    ("", "password is empty"), ("x" * 2000, "password is too long"),
    ("a\0b", "password has a NUL")], ids=["empty", "long", "NUL"])
def test_what_is_no_password(ctl, directories, gone, password, why):
    gone("unmade")
    assert why in ctl.fail(DATAERR, "account", "add", "unmade",
                           input=password + "\n")
    assert read(directories[0], "unmade") is None


def test_whoever_is_there_is_not_added(ctl, directories, gone):
    add(ctl, gone, "twice", "--mail", "twice@example.org")
    before = read(directories[0], "twice")
    ctl.fail(CANTCREAT, "account", "add", "twice", input="another one\n")
    assert read(directories[0], "twice") == before
    assert "no pool of that name" in ctl.fail(
        NO, "account", "add", "other", "--pool", "nowhere", input=GOOD)
    gone("other")
    ctl.run("account", "add", "other", "--mail", "twice@example.org",
            input=GOOD)
    assert read(directories[0], "other") is None


def test_a_terminal_shows_no_password(ctl, directories, gone):
    gone("typed")
    child, terminal = pty.fork()
    if child == 0:
        os.execv(ctl.command[0], [*ctl.command, "account", "add", "typed"])
    said = read_until(terminal, b"New password for typed: ")
    os.write(terminal, GOOD.encode() + b"\n")
    said += read_until(terminal, b"Again for typed: ")
    os.write(terminal, GOOD.encode() + b"\n")
    said += read_until(terminal, b"added")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)
    assert GOOD.encode() not in said
    assert read(directories[0], "typed")["postcellKeys"]


def read_until(terminal, wanted):
    said = b""
    end = time.monotonic() + 20
    while wanted not in said and time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            said += os.read(terminal, 4096)
    assert wanted in said, said
    return said


# -- status, lock, password ----------------------------------------------------


@pytest.mark.parametrize("reason", [None, "moved to the moon"])
def test_who_is_disabled_does_not_get_in(cell, ctl, directories, gone, reason):
    add(ctl, gone, "shut")
    assert wait_until(lambda: gets_in(cell, "shut", GOOD), 10)
    words = ["--reason", reason] if reason else []
    ctl.succeed("account", "disable", "shut", *words)
    assert wait_until(lambda: not gets_in(cell, "shut", GOOD), 10)
    assert not bind(cell, "shut", GOOD)
    shown = ctl.show("shut")
    assert shown["status"] == ("nologin" if reason else "disabled")
    assert shown["reason"] == reason
    assert "already" in ctl.succeed("account", "disable", "shut", *words)
    ctl.succeed("account", "enable", "shut")
    assert wait_until(lambda: gets_in(cell, "shut", GOOD), 10)
    assert "already" in ctl.succeed("account", "enable", "shut")
    assert "postcellStatus" not in read(directories[0], "shut")


def test_who_is_locked_is_unlocked(cell, ctl, directories, gone):
    add(ctl, gone, "locked")
    for _ in range(LIMIT + 5):
        bind(cell, "locked", "a wrong one")
    assert ctl.show("locked")["locked"]
    assert not bind(cell, "locked", GOOD)
    assert "unlocked" in ctl.succeed("account", "unlock", "locked")
    assert not ctl.show("locked")["locked"]
    assert bind(cell, "locked", GOOD)
    assert wait_until(lambda: gets_in(cell, "locked", GOOD), 10)
    values = read(directories[0], "locked")["postcellLocked"]
    assert sorted(values)[-1].endswith(b" unlocked -") and len(values) == 2
    assert "already" in ctl.succeed("account", "unlock", "locked")
    assert read(directories[0], "locked")["postcellLocked"] == values


def test_unlock_deletes_what_was_superseded(ctl, directories, gone):
    add(ctl, gone, "often")
    old = [b"20260101000000.000000Z locked 20260101001500.000000Z",
           b"20260102000000.000000Z unlocked -",
           b"20260103000000.000000Z locked -"]
    directories[0].modify_s(dn_of("often"), [
        (ldap.MOD_ADD, "postcellLocked", old)])
    ctl.succeed("account", "unlock", "often")
    values = sorted(read(directories[0], "often")["postcellLocked"])
    assert values[0] == old[2] and len(values) == 2
    assert values[1].endswith(b" unlocked -")


def test_another_password(cell, ctl, gone):
    add(ctl, gone, "changed", "--mail", "changed@example.org")
    ctl.succeed("account", "passwd", "changed@example.org",
                input="another password\n")
    assert bind(cell, "changed", "another password")
    assert not bind(cell, "changed", GOOD)
    assert ctl.show("changed")["key_version"] == 2
    assert wait_until(
        lambda: gets_in(cell, "changed", "another password"), 10)


@pytest.mark.parametrize("verb", ["show", "disable", "enable", "unlock",
                                  "passwd"])
def test_nobody(ctl, verb):
    assert "no account has this name" in ctl.fail(
        NO, "account", verb, "nobody*)(uid=*", input=GOOD)


# -- import --------------------------------------------------------------------


def salted(password):
    salt = os.urandom(8)
    digest = hashlib.sha1(password.encode() + salt).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode()


def run_import(ctl, path, status, *options):
    done = ctl.run("--json", "account", "import", str(path), *options)
    assert done.returncode == status, (done.stdout, done.stderr)
    return json.loads(done.stdout), done.stderr


def counts(**given):
    return {**dict.fromkeys(("added", "completed", "unchanged", "differing",
                             "faulty", "passed_over"), 0), **given}


def counted(answer):
    return {name: answer[name] for name in counts()}


@pytest.fixture
def fifty(tmp_path, gone):
    """Every other one with a hash."""
    path = tmp_path / "people.csv"
    lines = ["uid,mail,name,password"]
    for i in range(50):
        uid = f"many{i}"
        gone(uid)
        password = f"many, \"{i}\""
        kept = salted(password) if i % 2 else password
        quoted = '"' + kept.replace('"', '""') + '"'
        lines.append(f'{uid},{uid}@example.org,"Jürgen {i}",{quoted}')
    path.write_bytes("\r\n".join(lines).encode() + b"\r\n")
    return path


def test_fifty_twice(cell, ctl, directories, fifty):
    assert counted(run_import(ctl, fifty, 0, "--dry-run")[0]) \
        == counts(added=50)
    assert read(directories[0], "many0") is None
    assert counted(run_import(ctl, fifty, 0)[0]) == counts(added=50)
    for i in (0, 1, 48, 49):
        assert wait_until(
            lambda: gets_in(cell, f"many{i}", f"many, \"{i}\""), 10), i
        assert read(directories[0], f"many{i}")["postcellKeys"]
    before = [read(directories[0], f"many{i}") for i in range(50)]
    assert counted(run_import(ctl, fifty, 0)[0]) == counts(unchanged=50)
    assert [read(directories[0], f"many{i}") for i in range(50)] == before


def test_an_interrupted_import_goes_on(cell, ctl, directories, fifty):
    """Wherever it was: also between an entry and its password."""
    whole = fifty.read_bytes()
    fifty.write_bytes(whole[:whole.index(b"many40")])
    running = subprocess.Popen([*ctl.command, "account", "import", str(fifty)],
                               stdout=subprocess.DEVNULL)
    assert wait_until(lambda: read(directories[0], "many3"), 10)
    running.send_signal(signal.SIGKILL)
    running.wait()
    fifty.write_bytes(whole)
    for uid in ("many44", "many45"):
        directories[0].add_s(dn_of(uid), [
            ("objectClass", [b"inetOrgPerson", b"postcellAccount"]),
            ("cn", f"Jürgen {uid[4:]}".encode()), ("sn", uid[4:].encode()),
            ("givenName", "Jürgen".encode()),
            ("mail", f"{uid}@example.org".encode())])
    answer, _ = run_import(ctl, fifty, 0)
    assert answer["added"] + answer["unchanged"] + answer["completed"] == 50
    assert answer["completed"] >= 2 and answer["added"] >= 8
    for i in range(50):
        entry = read(directories[0], f"many{i}")
        assert "userPassword" in entry, i
    for i in (44, 45):
        assert bind(cell, f"many{i}", f"many, \"{i}\"")


def test_what_differs_and_what_is_wrong_is_said(ctl, directories, gone,
                                                tmp_path):
    add(ctl, gone, "differs", "--mail", "differs@example.org")
    gone("fine")
    path = tmp_path / "people.csv"
    path.write_text("uid,mail,pool,password\n"
                    "differs,new@example.org,,\n"
                    "fine,fine@example.org,,good enough\n"
                    "short,row\n"
                    "lost,lost@example.org,nowhere,good enough\n"
                    "taken,differs@example.org,,good enough\n"
                    "bro\"ken,,,\n"
                    "keyed,,,{K5KEY}abc\n", encoding="utf-8")
    answer, said = run_import(ctl, path, DATAERR)
    assert counted(answer) == counts(added=1, differing=1, faulty=5)
    for line, what in ((2, "new@example.org"), (4, "number of fields"),
                       (5, "no pool"), (6, "taken"), (7, "quote"),
                       (8, "K5KEY")):
        assert any(text.startswith(f"{path}:{line}: ") and what in text
                   for text in said.splitlines()), (line, said)
    assert read(directories[0], "taken") is None
    assert read(directories[0], "differs")["mail"] == [b"differs@example.org"]
    path.write_text("uid,mail\ndiffers,new@example.org\n", encoding="utf-8")
    assert counted(run_import(ctl, path, NO)[0]) == counts(differing=1)


@pytest.mark.parametrize("text, why", [
    ("", "empty"), ("mail\nx@y\n", "uid"), ("uid,shoe size\nx,4\n", "column")])
def test_a_table_that_is_none(ctl, tmp_path, text, why):
    path = tmp_path / "people.csv"
    path.write_text(text, encoding="utf-8")
    assert why in ctl.fail(DATAERR, "account", "import", str(path))


def test_ldif(cell, ctl, directories, gone, tmp_path):
    gone("old")
    path = tmp_path / "old.text"
    path.write_text(
        "dn: dc=old\nobjectClass: domain\ndc: old\n\n"
        "dn: uid=old,ou=users,dc=old\nobjectClass: inetOrgPerson\n"
        "uid: old\ncn: Old One\nsn: One\nmail: old@example.org\n"
        "telephoneNumber: +49 1\nentryUUID: 1-2-3\n"
        f"userPassword: {salted(GOOD)}\n", encoding="utf-8")
    ctl.fail(USAGE, "account", "import", str(path))
    for expected in (counts(added=1, passed_over=1),
                     counts(unchanged=1, passed_over=1)):
        assert counted(run_import(ctl, path, 0, "--format", "ldif")[0]) \
            == expected
    assert wait_until(lambda: gets_in(cell, "old@example.org", GOOD), 10)
    entry = read(directories[0], "old")
    assert entry["telephoneNumber"] == [b"+49 1"]
    assert b"postcellAccount" in entry["objectClass"]
    path.write_text("version: 1\n# none\n\ndn: uid=x,dc=old\nuid: x\n"
                    "postcellStatus: asleep\n\ndn: uid=y\nno colon\n",
                    encoding="utf-8")
    answer, said = run_import(ctl, path, DATAERR, "--format", "ldif")
    assert f"{path}:4: \"x\": the status" in said
    assert f"{path}:9: " in said and counted(answer) == counts(faulty=2)


def test_progress_on_a_terminal(ctl, fifty):
    main, side = pty.openpty()
    process = subprocess.Popen([*ctl.command, "account", "import", str(fifty)],
                               stderr=side, stdout=subprocess.DEVNULL)
    os.close(side)
    said = read_until(main, b"100 %, 50 added")
    assert b" 10 added" in said
    assert process.wait() == 0
    os.close(main)


# -- other directories ---------------------------------------------------------


class Plain(Ctl):
    """postcellctl for one slapd alone, as an operator whom rules bind."""

    OPERATOR = f"uid=operator,{overlaid.PEOPLE}"
    ACL = (f'access to * by dn.exact="{OPERATOR}" write by anonymous auth'
           " by * read")

    def __init__(self, folder, server):
        server.add_person("operator", userPassword="of the operator",
                          objectClass=["inetOrgPerson"])
        (folder / "password").write_text("of the operator\n")
        conf = folder / "postcellctl.conf"
        conf.write_text(f'replica = "{folder}/none"\ndirectory {{\n'
                        f'uris = {{ "{server.url}" }}\nsuffix = "{SUFFIX}"\n'
                        f'people = "{overlaid.PEOPLE}"\n'
                        f'bind_dn = "{self.OPERATOR}"\ntls = none\n'
                        f'password_file = "{folder}/password"\n}}\n')
        self.command = [str(BUILD / "postcellctl"), "--config", str(conf)]


def has(server, uid):
    connection = server.connect()
    try:
        return connection.search_s(overlaid.PEOPLE, ldap.SCOPE_SUBTREE,
                                   f"(uid={uid})", ["*", "+"])
    finally:
        connection.unbind_s()


def test_a_refused_password_leaves_no_account(tmp_path):
    server = overlaid.Overlaid(
        tmp_path / "slapd", 41, overlaid.make_master_key(tmp_path),
        acl=Plain.ACL, policy={"pwdCheckQuality": 2, "pwdMinLength": 12})
    server.load()
    server.start()
    try:
        ctl = Plain(tmp_path, server)
        said = ctl.fail(NOPERM, "account", "add", "weak", input="short\n")
        assert "quality" in said and not has(server, "weak")
        path = tmp_path / "people.csv"
        path.write_text("uid,password\nweak,short\nstrong,long enough it is\n",
                        encoding="utf-8")
        answer, said = run_import(ctl, path, DATAERR)
        assert counted(answer) == counts(added=1, faulty=1)
        assert f'{path}:2: "weak": ' in said and "quality" in said
        assert not has(server, "weak")
        assert server.bind("strong", "long enough it is") is None
        ctl.fail(NOPERM, "account", "passwd", "strong", input="short\n")
        assert server.bind("strong", "long enough it is") is None
    finally:
        server.stop()


def test_a_directory_without_keys(tmp_path):
    """Neither the overlay nor its schema: accounts with hashes."""
    server = Directory(tmp_path / "slapd", f"{overlaid.NET}.42", 11389,
                       acl=Plain.ACL)
    server.load(base_ldif())
    server.start()
    try:
        ctl = Plain(tmp_path, server)
        ctl.succeed("account", "add", "hashed", input=GOOD)
        (_, entry), = has(server, "hashed")
        assert b"postcellLogin" not in entry["objectClass"]
        assert entry["userPassword"][0].startswith(b"{SSHA}")
        shown = ctl.show("hashed")
        assert (shown["password"], shown["key_version"]) == ("hash", None)
        assert not shown["replica"]["found"]
        ctl.succeed("account", "disable", "hashed")
        assert ctl.show("hashed")["status"] == "disabled"
        assert "already" in ctl.succeed("account", "unlock", "hashed")
    finally:
        server.stop()
