"""slapd-overlay/ when there is no room for what it writes: errors, nothing
half-written, and all of it works again once there is."""

import itertools
import os
import shutil
import subprocess

import ldap
import pytest

from directory import SUFFIX, wait_until
from overlaid import (DOORS, Overlaid, exop, make_master_key, person_dn,
                      salted)
from realm import REALM, Realm

LIMIT = 4
USERS, HASHED = 12, 24
FAILURES = 2  # that are waited for; what is small may still fit
ATTEMPTS = 400
SMALL = 2 * 1024 * 1024  # octets, where all there is are some accounts
ROOMY = 64 * 1024 * 1024
REFUSED = ldap.OTHER

# A file system of its own, which nobody else sees, with a copy of what is there.
MOUNT = """\
disk=$1; size=$2; shift 2
mount -t tmpfs -o size=$size none "$disk/disk"
cp -a "$disk/db" "$disk/log" "$disk/disk/"
mount --bind "$disk/disk/db" "$disk/db"
mount --bind "$disk/disk/log" "$disk/log"
exec "$@"
"""


class Disk(Overlaid):
    """Everything on a small file system that something else fills up."""

    def __init__(self, *words, **more):
        super().__init__(*words, **more)
        (self.folder / "disk").mkdir()
        self.wrapper = ["unshare", "-m", "sh", "-ec", MOUNT, "sh",
                        str(self.folder), str(16 * SMALL)]

    @property
    def ballast(self):
        return f"/proc/{self.process.pid}/root{self.folder}/disk/ballast"

    def fill(self):
        with open(self.ballast, "wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError:
                    continue

    def relieve(self):
        os.unlink(self.ballast)


class Map(Overlaid):
    """A database that may not grow beyond its configured size."""

    size = SMALL

    def configuration(self):
        head, tail = super().configuration().rsplit("maxsize 1073741824", 1)
        return f"{head}maxsize {self.size}{tail}"

    def fill(self):
        pass

    def relieve(self):
        self.stop()
        self.size = ROOMY
        self.start()


def can_mount():
    return os.geteuid() == 0 and shutil.which("unshare") and subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True).returncode == 0


KINDS = {"disk": Disk, "map": Map}


@pytest.fixture(params=KINDS)
def full(tmp_path, request):
    """Accounts with keys, accounts with hashes, and no room for more."""
    if request.param == "disk" and not can_mount():
        pytest.skip("only root may mount a small file system")
    made = KINDS[request.param](
        tmp_path, 8, make_master_key(tmp_path), {
            "lockout": f'"{tmp_path}/lockout"', "lockout-limit": LIMIT,
            "memory": 0})
    made.load()
    made.start()
    try:
        for number in range(USERS):
            made.add_account(f"user{number}", "password 0")
        for number in range(HASHED):
            made.add_account(f"hashed{number}", salted("password 0"))
        use_each_attribute(made)
        made.fill()
        use_up(made)
        yield made
    finally:
        made.stop()


def use_each_attribute(made):
    """back-mdb spoils an entry that is written after the write that was the
    first one with an attribute has failed; that is no matter of ours."""
    made.add_account("first", "password 0")
    made.modify(person_dn("first"), description="x")
    assert made.bind("first", "password 0") is None
    for number in range(LIMIT):
        made.bind("first", f"guess {number}")
    made.delete(person_dn("first"))


numbers = itertools.count()


def use_up(made):
    """With new entries and larger old ones, until nothing at all fits."""
    connection = made.connect()

    def add(number, size):
        connection.add_s(f"cn={size} {number},ou=people,{SUFFIX}", [
            ("objectClass", [b"organizationalRole"]),
            ("description", [b"x" * size])])

    def grow(number, size):
        connection.modify_s(person_dn(f"user{number // 2 % USERS}"), [
            (ldap.MOD_ADD, "description",
             [f"{number} {'x' * size}".encode()])])

    failures = 0
    for tried in range(5000):
        number, size = next(numbers), 20000 if tried < 200 else 1
        try:
            (add, grow)[number % 2](number, size)
            failures = 0
        except ldap.OTHER:
            failures += 1
        if tried > 200 and failures > 40:
            return
    raise AssertionError("it is never full")


EXTENDED = (DOORS["exop"], exop)


def is_whole(entry):
    """Keys with a version and the text of the newest, or neither."""
    keys = sorted(value.split(b" ") for value in entry.get("postcellKeys", []))
    texts = entry.get("userPassword", [])
    if not keys:
        return not any(text.startswith(b"{K5KEY}") for text in texts)
    return (b"postcellLogin" in entry["objectClass"]
            and len({words[1] for words in keys}) == len(keys)
            and texts == [b"{K5KEY}" + keys[-1][2]])


def failing(full, attempt):
    """Tries until it has failed often enough; what is tried says whether."""
    failures = 0
    for number in range(ATTEMPTS):
        failures += not attempt(number)
        if failures == FAILURES:
            return
    raise AssertionError(f"only {failures} failures of {ATTEMPTS}")


def test_no_room(full):
    """What was being written is not there, and what was there still is."""
    process, admin = full.process, full.connect()
    passwords = {f"user{number}": "password 0" for number in range(USERS)}

    def change(uid, door, new):
        before = full.entry(uid)
        try:
            door(admin, uid, passwords[uid], new)
            passwords[uid] = new
        except REFUSED as refusal:
            # slapd keeps the reason of a Password Modify to its log.
            assert door in EXTENDED or refusal.args[0]["info"]
            assert full.entry(uid) == before
            return False
        finally:
            assert full.bind(uid, passwords[uid]) is None
        return True

    def add(number):
        try:
            full.add_account(f"new{number}", "password 0")
            passwords[f"new{number}"] = "password 0"
        except REFUSED:
            assert full.bind(f"new{number}", "password 0") is not None
            return False
        return True

    for name, door in DOORS.items():
        failing(full, lambda number, d=door, n=name: change(
            f"user{number % USERS}", d, f"{n} {number}"))
    use_up(full)
    failing(full, add)
    # A right password is right; keys are made of it another time.
    use_up(full)
    for number in range(HASHED):
        assert full.bind(f"hashed{number}", "password 0") is None
    assert "event=migration_failed" in full.log_text()
    # Whoever has guessed too often is out, if nobody else may be told.
    use_up(full)
    for uid in list(passwords)[:USERS]:
        for number in range(LIMIT + 1):
            assert full.bind(uid, f"guess {number}") is not None
        assert isinstance(full.bind(uid, passwords[uid]),
                          ldap.INVALID_CREDENTIALS)
    assert "event=lock_failed" in full.log_text()
    assert process.poll() is None
    assert_whole(full)

    full.relieve()
    admin = full.connect()
    for number, (name, door) in enumerate(DOORS.items()):
        uid = f"later{number}"
        full.add_account(uid, "password 0")
        passwords[uid] = "password 0"
        assert change(uid, door, "password 1")
        assert [kvno for _, kvno, _ in full.sets(uid)] == [1, 2]
    for number in range(HASHED):
        assert full.bind(f"hashed{number}", "password 0") is None
        assert len(full.sets(f"hashed{number}")) == 1
    for number in range(LIMIT):
        assert full.bind("later0", f"guess {number}") is not None
    wait_until(lambda: "postcellLocked" in full.entry("later0"),
               what="the lock")
    assert_whole(full)


def assert_whole(made):
    for entry in entries(made):
        assert is_whole(entry), entry


def entries(made):
    connection = made.connect()
    try:
        return [entry for _, entry in connection.search_s(
            f"ou=people,{SUFFIX}", ldap.SCOPE_ONELEVEL,
            "(uid=*)", ["*", "+"])]
    finally:
        connection.unbind_s()


# -- at the KDC's doors --------------------------------------------------------


def make_map(realm):
    conf = realm.folder / "slapd-krb5.conf"
    conf.write_text(f"[libdefaults]\n\tdefault_realm = {REALM}\n"
                    "\tplugin_dir =\n")
    return Map(realm.folder / "ldap", 9, (realm.master_key, conf), {
        "memory": 0})


@pytest.fixture
def realm(tmp_path):
    made = None
    try:
        made = Realm(tmp_path, make_map, people=0,
                     options={"modify_passwords": "yes"})
        made.by_keys = made.make_kdc("by-keys", made.replicad, last=62)
        yield made
    finally:
        if made:
            made.stop()


def test_no_room_for_what_kdcs_write(realm):
    """As a password, and as keys of the KDC's own making."""
    slapd = realm.directory
    passwords = {f"user{number}": "password 0" for number in range(USERS)}
    for uid in passwords:
        slapd.add_account(uid, passwords[uid])
    use_each_attribute(slapd)
    use_up(slapd)

    def change(kdc, number):
        uid, new = f"user{number % USERS}", f"password {number}"
        before = slapd.entry(uid)
        done = kdc.kadmin("cpw", f"--password={new}", uid, check=False)
        if done.returncode == 0:
            passwords[uid] = new
        else:
            assert done.stderr
            assert slapd.entry(uid) == before
        assert slapd.bind(uid, passwords[uid]) is None
        return done.returncode == 0

    for kdc in (realm.kdc, realm.by_keys):
        failing(slapd, lambda number, k=kdc: change(k, number))
    assert_whole(slapd)
    realm.settle()
    client = realm.client()
    for uid in ("user0", "user1"):
        assert client.kinit(uid, passwords[uid]) == ""

    slapd.relieve()
    for number, kdc in enumerate((realm.kdc, realm.by_keys)):
        assert change(kdc, number)
    realm.settle()
    for uid in ("user0", "user1"):
        assert client.kinit(uid, passwords[uid]) == ""
    assert_whole(slapd)
