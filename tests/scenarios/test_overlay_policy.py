"""slapd-overlay/ beside ppolicy, its lockout, its memory, and how it is set up."""

import concurrent.futures
import os
import shutil
import subprocess
import time

import ldap
import pytest

from directory import SLAPD, wait_until
from overlaid import (BUILD, DOORS, OWN_ACL, Overlaid, exop, make_master_key,
                      person_dn, salted)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return make_master_key(tmp_path_factory.mktemp("keys"))


def started(folder, keys, options=(), number=3, **more):
    made = Overlaid(folder, number, keys, options, **more)
    made.load()
    return made.start()


def refused(error):
    return isinstance(error, ldap.INVALID_CREDENTIALS)


# -- ppolicy: quality, history, age, reset ---------------------------------


@pytest.fixture(scope="module")
def policed(tmp_path_factory, keys):
    made = started(tmp_path_factory.mktemp("policed"), keys, number=4, acl=OWN_ACL,
                   policy={
                       "pwdCheckQuality": 2, "pwdMinLength": 8,
                       "pwdInHistory": 3})
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("door", DOORS)
def test_quality_and_history(policed, door):
    uid, change = f"policed-{door.replace(' ', '-')}", DOORS[door]
    policed.add_account(uid, "password 0")
    for number in range(1, 4):
        own = policed.as_user(uid, f"password {number - 1}")
        with pytest.raises(ldap.CONSTRAINT_VIOLATION):
            change(own, uid, f"password {number - 1}", "short")
        for old in range(number):
            before = policed.entry(uid)
            with pytest.raises(ldap.CONSTRAINT_VIOLATION):
                change(own, uid, f"password {number - 1}", f"password {old}")
            assert policed.entry(uid) == before
        change(own, uid, f"password {number - 1}", f"password {number}")
        assert policed.bind(uid, f"password {number}") is None
        assert refused(policed.bind(uid, f"password {number - 1}"))
    entry = policed.entry(uid)
    # What stands in the history is sealed, and can be checked by itself.
    assert len(entry["pwdHistory"]) == 3
    assert all(b"{K5KEY}" in value for value in entry["pwdHistory"])
    assert "pwdChangedTime" in entry


def test_safe_modify(tmp_path, keys):
    made = started(tmp_path, keys, acl=OWN_ACL, policy={"pwdSafeModify": "TRUE"})
    try:
        made.add_account("anna", "password 0")
        own = made.as_user("anna", "password 0")
        for change in (DOORS["exop"], DOORS["replace"]):
            with pytest.raises(ldap.INSUFFICIENT_ACCESS):
                change(own, "anna", "password 0", "password 1")
        for door in ("exop with old", "delete and add"):
            with pytest.raises(ldap.LDAPError):
                DOORS[door](own, "anna", "wrong old one", "password 1")
        assert made.bind("anna", "password 0") is None
        exop(own, "anna", "password 0", "password 1")
        DOORS["delete and add"](own, "anna", "password 1", "password 2")
        assert made.bind("anna", "password 2") is None
        assert [kvno for _, kvno, _ in made.sets("anna")] == [1, 2, 3]
    finally:
        made.stop()


def test_migration_is_no_change_of_the_password(tmp_path, keys):
    made = started(tmp_path, keys, acl=OWN_ACL, policy={
        "pwdInHistory": 3, "pwdMustChange": "TRUE", "pwdMaxAge": 86400000})
    try:
        made.add_account("bert", salted("password 0"))
        before = made.entry("bert")
        assert made.bind("bert", "password 0") is None
        after = made.entry("bert")
        assert after["userPassword"][0].startswith(b"{K5KEY}")
        assert after["pwdChangedTime"] == before["pwdChangedTime"]
        assert after.get("pwdReset", [b"FALSE"]) == [b"FALSE"]
        own = made.as_user("bert", "password 0")
        own.search_s(person_dn("bert"), ldap.SCOPE_BASE)
        with pytest.raises(ldap.CONSTRAINT_VIOLATION):
            exop(own, "bert", None, "password 0")
    finally:
        made.stop()


# -- lockout -----------------------------------------------------------------


@pytest.fixture
def locking(tmp_path, keys):
    made = started(tmp_path, keys, {
        "lockout": f'"{tmp_path}/lockout"', "lockout-limit": 5,
        "lockout-window": 600, "lockout-time": 600, "memory": 0})
    try:
        yield made
    finally:
        made.stop()


def test_too_many_guesses_lock(locking):
    locking.add_account("carl", "password")
    locking.add_account("dora", "password")
    for number in range(5):
        assert locking.bind("carl", "password") is None  # forgives nothing
        assert refused(locking.bind("carl", f"guess {number}"))
    lock, = locking.entry("carl")["postcellLocked"]
    assert lock.split(b" ")[1] == b"locked"
    assert refused(locking.bind("carl", "password"))
    assert locking.bind("dora", "password") is None
    # An administrator unlocks, and what was counted is forgotten.
    locking.connect().modify_s(person_dn("carl"), [
        (ldap.MOD_ADD, "postcellLocked",
         [b"29990101000000.000000Z unlocked -"])])
    assert locking.bind("carl", "password") is None


def test_old_passwords_are_guesses_too(locking):
    locking.add_account("emil", "password")
    admin = locking.connect()
    for number in range(5):
        with pytest.raises(ldap.INVALID_CREDENTIALS):
            exop(admin, "emil", f"guess {number}", "stolen")
    assert b" locked " in locking.entry("emil")["postcellLocked"][0]
    assert refused(locking.bind("emil", "password"))


def test_parallel_guesses_are_never_more_than_the_limit(locking):
    """Exactly the right password comes last: it must not be looked at."""
    locking.add_account("fred", "password")
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda n: locking.bind("fred", f"guess {n}"),
                                range(200)))
    assert all(map(refused, answers))
    assert len(locking.entry("fred")["postcellLocked"]) == 1
    assert refused(locking.bind("fred", "password"))
    assert locking.log_text().count("event=locked ") == 1


def test_a_lock_ends(tmp_path, keys):
    made = started(tmp_path, keys, {
        "lockout": f'"{tmp_path}/lockout"', "lockout-limit": 2,
        "lockout-time": 1, "memory": 0})
    try:
        made.add_account("gerd", "password")
        for _ in range(2):
            assert refused(made.bind("gerd", "wrong"))
        until = made.entry("gerd")["postcellLocked"][0].split(b" ")[2]
        error = made.bind("gerd", "password")
        # On a busy machine it may be over by now.
        assert refused(error) or until.decode() < time.strftime(
            "%Y%m%d%H%M%S", time.gmtime())
        wait_until(lambda: made.bind("gerd", "password") is None,
                   what="the end of the lock")
    finally:
        made.stop()


# -- memory -------------------------------------------------------------------


def test_what_is_remembered_ends_with_the_password(tmp_path, keys):
    made = started(tmp_path, keys)
    try:
        made.add_account("hans", "password")
        assert all(made.bind("hans", "password") is None for _ in range(20))
        exop(made.connect(), "hans", None, "another")
        assert refused(made.bind("hans", "password"))
        assert made.bind("hans", "another") is None
        made.modify(person_dn("hans"), postcellStatus="disabled")
        assert refused(made.bind("hans", "another"))
    finally:
        made.stop()


# -- setting up ---------------------------------------------------------------


def test_directory_of_another_version_is_refused(tmp_path, keys):
    """A copy that says it was built for another upstream version."""
    octets = (BUILD / "postcell.so").read_bytes()
    version = subprocess.run([SLAPD, "-VV"], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT).stdout
    upstream = version.split(b"slapd ")[1].split(b"+")[0].split(b" ")[0]
    assert octets.count(upstream + b"\0") == 1
    other = tmp_path / "other" / "postcell.so"
    other.parent.mkdir()
    other.write_bytes(octets.replace(
        upstream + b"\0", upstream[:-1] + b"x\0"))
    made = Overlaid(tmp_path / "slapd", 3, keys)
    made.module = other
    made.write_conf()
    text = run_to_its_end(made)
    assert "built for slapd " + upstream[:-1].decode() + "x" in text


def run_to_its_end(made):
    done = subprocess.run(
        [SLAPD, "-f", made.conf, "-h", made.url, "-d", "none"], timeout=20,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, **made.environment})
    assert done.returncode != 0
    return done.stdout.decode(errors="replace")


@pytest.mark.parametrize("options, says", [
    ({"master-key": '"/nonexistent/m-key"'}, "/nonexistent/m-key"),
    ({"enctypes": "rot13"}, "rot13"),
    ({"password-max": 3}, "is not within"),
    ({"scram": 5}, "is not within"),
    ({"lockout": '"/nonexistent/lockout"'}, "/nonexistent/lockout"),
])
def test_what_is_wrong_is_said_at_start(tmp_path, keys, options, says):
    made = Overlaid(tmp_path, 3, keys, options)
    made.write_conf()
    assert says in run_to_its_end(made)


def test_order_of_overlays_is_checked(tmp_path, keys):
    made = Overlaid(tmp_path, 3, keys, policy={})
    text = made.configuration()
    lines = text[text.index("overlay postcell"):text.index("overlay ppolicy")]
    made.conf.write_text(text.replace(lines, "") + lines)
    assert "ppolicy has to be configured after" in run_to_its_end(made)


def test_an_order_that_makes_writes_wait_is_told(tmp_path, keys):
    made = Overlaid(tmp_path, 3, keys)
    text = made.configuration()
    made.configuration = lambda: text.replace(
        "overlay accesslog\nlogdb cn=log\nlogops writes\nlogsuccess TRUE\n",
        "") + "overlay accesslog\nlogdb cn=log\nlogops writes\n"
    made.load()
    try:
        made.start()
        assert "event=slow" in made.log_text()
        made.stop()
        made.configuration = lambda: text
        (made.folder / "slapd.log").unlink()
        made.start()
        assert "event=slow" not in made.log_text()
    finally:
        made.stop()


def test_empty_passwords_are_never_allowed(tmp_path, keys):
    made = Overlaid(tmp_path, 3, keys, extra="allow bind_anon_dn")
    made.write_conf()
    assert "empty password" in run_to_its_end(made)


def test_a_wrong_master_key_is_no_wrong_password(tmp_path, keys):
    other, _ = make_master_key(tmp_path)
    made = started(tmp_path / "slapd", keys)
    try:
        made.add_account("ida", "password")
        made.stop()
        shutil.copy(other, tmp_path / "other")
        made.options["master-key"] = f'"{tmp_path}/other"'
        made.start()
        assert isinstance(made.bind("ida", "password"), ldap.UNAVAILABLE)
        assert "event=unusable" in made.log_text()
    finally:
        made.stop()


def test_under_cn_config(tmp_path, keys):
    """All options are there, can be changed while it runs, and are checked."""
    made = Overlaid(tmp_path, 3, keys, extra=(
        "database config\nrootdn cn=config\nrootpw secret\n"))
    made.load()
    tree = tmp_path / "slapd.d"
    tree.mkdir()
    made.tree = tree
    made.start()
    try:
        connection = ldap.initialize(made.url)
        connection.simple_bind_s("cn=config", "secret")
        (dn, found), = connection.search_s(
            "cn=config", ldap.SCOPE_SUBTREE, "(objectClass=olcPostcellConfig)")
        assert found["olcPostcellRealm"] == [b"REPLICA.TEST"]
        made.add_account("jan", "12345678901")
        changes = {"olcPostcellPasswordMax": "10", "olcPostcellScram": "4096",
                   "olcPostcellPasswordLife": "0",
                   "olcPostcellTicketLife": "60", "olcPostcellMemory": "0",
                   "olcPostcellMemoryTime": "5", "olcPostcellLastLogin": "FALSE",
                   "olcPostcellLockout": f"{tmp_path}/lockout",
                   "olcPostcellLockoutLimit": "7",
                   "olcPostcellLockoutWindow": "8",
                   "olcPostcellLockoutTime": "0", "olcPostcellNames": "FALSE",
                   "olcPostcellReferences": "FALSE",
                   "olcPostcellTransitions": "FALSE",
                   "olcPostcellServers": "FALSE",
                   "olcPostcellEnctypes": "aes256-cts-hmac-sha1-96"}
        for name, value in changes.items():
            connection.modify_s(dn, [(ldap.MOD_REPLACE, name,
                                      [value.encode()])])
        (_, found), = connection.search_s(dn, ldap.SCOPE_BASE)
        assert {name: found[name][0].decode() for name in changes} == changes
        assert refused(made.bind("jan", "12345678901"))  # too long by now
        made.add_account("jon", "1234567890")
        (_, _, words), = made.sets("jon")
        assert len(words) == 2 and words[1].startswith("scram-sha-256=")
        for name in changes:
            connection.modify_s(dn, [(ldap.MOD_DELETE, name, None)])
        assert made.bind("jan", "12345678901") is None
        for name, value in (("olcPostcellPasswordMax", b"3"),
                            ("olcPostcellMasterKey", b"/nonexistent"),
                            ("olcPostcellEnctypes", b"rot13")):
            with pytest.raises(ldap.LDAPError):
                connection.modify_s(dn, [(ldap.MOD_REPLACE, name, [value])])
    finally:
        made.stop()
