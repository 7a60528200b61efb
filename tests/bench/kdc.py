"""Tickets: our back end beside Heimdal's own, in one run.

    tests/bench/kdc.py [--users N] [--seconds S] [--rounds R] [--workers W]
                       [--first]

Each round asks all three, one after the other, another one first each time.
Figures are medians of the rounds, with their range; ratios are taken within a
round. CPU time is that of all processes of the KDC, and of its directory server
beside it, by /proc.
"""

import argparse
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/scenarios"))

from conftest import NET  # noqa: E402
from directory import SUFFIX, Directory, base_ldif  # noqa: E402
from realm import (BUILD, KERBEROS_SCHEMAS, REALM, Kdc, Realm,  # noqa: E402
                   quiet_port)

PASSWORD = "a password of them all"
STOCK = f"ou=stock,{SUFFIX}"


def make_directory(realm):
    """Of its own, for the same principals must not be twice in one. Root comes
    in by ldapi, as Heimdal's own back end wants it."""
    address = f"{NET}.22"
    made = Directory(realm.folder / "stock", address,
                     quiet_port(socket.SOCK_STREAM, address),
                     schemas=KERBEROS_SCHEMAS)
    made.more_urls = ["ldapi://" + str(realm.folder / "ldapi").replace(
        "/", "%2F")]
    made.extra = ("authz-regexp gidNumber=.*uidNumber=0,cn=peercred,"
                  f"cn=external,cn=auth cn=admin,{SUFFIX}")
    made.load(base_ldif(1))
    realm.running.append(made)
    made.start()
    made.add(STOCK, objectClass="organizationalUnit", ou="stock")
    return made


def stock(realm, name, last, database, directory):
    """The same KDC on a back end of Heimdal's."""
    kdc = Kdc(realm.folder / name, f"{NET}.{last}", [directory],
              realm.replicad, realm.master_key, workers=realm.kdc.workers,
              database=database)
    url = directory.more_urls[0]
    # Without our module, which would make PACs for it as well.
    (kdc.folder / "plugins/postcell_hdb.so").unlink()
    text = kdc.conf.read_text()
    text = text.replace("[kdc]\n", f"[kdc]\n\thdb-ldap-url = {url}\n"
                        "\thdb-ldap-structural-object = account\n"
                        f"\thdb-ldap-create-base = {STOCK}\n")
    text = re.sub(r"\[password_quality\]\n.*\n.*\n", "", text)
    kdc.conf.write_text(text)
    realm.running.append(kdc)
    return kdc


def add_users(kdc, users, add):
    lines = [f"add --password=\"{PASSWORD}\" --use-defaults user{i}\n" if add
             else f"cpw --password=\"{PASSWORD}\" user{i}\n"
             for i in range(users)]
    kdc.kadmin(text="".join(lines))


def cpu_seconds(session):
    """Of all processes of a session, those that ended included."""
    tick, total = os.sysconf("SC_CLK_TCK"), 0.0
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) != session:
                continue
            for task in (path / "task").iterdir():
                total += int((task / "schedstat").read_text().split()[0]) / 1e9
            total += (int(fields[13]) + int(fields[14])) / tick
        except OSError:
            pass  # it has ended
    return total


class Round:
    """What one KDC did for some seconds."""

    def __init__(self, kdc, users, seconds):
        directory = kdc.directories[0].process.pid
        before = cpu_seconds(kdc.kdc.pid), process_seconds(directory)
        done = subprocess.run(
            [BUILD / "tests/bench/asreq", kdc.address, str(kdc.port), REALM,
             PASSWORD, str(users), str(seconds)], capture_output=True,
            text=True, check=True,
            env={**os.environ, "KRB5_CONFIG": str(kdc.conf)})
        self.rate, faults, self.lost = map(int, done.stdout.split())
        assert faults == 0, f"{kdc.folder.name}: {faults} were refused"
        count = self.rate * seconds
        self.cpu = 1e6 * (cpu_seconds(kdc.kdc.pid) - before[0]) / count
        self.directory = 1e6 * (process_seconds(directory) - before[1]) / count


def process_seconds(pid):
    return sum(int((task / "schedstat").read_text().split()[0]) / 1e9
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir())


def show(values, digits=0):
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f} to {max(values):.{digits}f})")


def report(rounds):
    """Lines of a table."""
    ours = rounds["postcell"]
    print("| back end | CPU an AS-REQ, µs | ratio | slapd besides, µs "
          "| AS-REQ/s | ratio |\n|---|---|---|---|---|---|")
    for name, each in rounds.items():
        pairs = list(zip(ours, each))
        ratios = ["", ""] if name == "postcell" else [
            show([a.cpu / b.cpu for a, b in pairs], 2),
            show([a.rate / b.rate for a, b in pairs], 2)]
        print(f"| {name} | {show([r.cpu for r in each])} | {ratios[0]} "
              f"| {show([r.directory for r in each])} "
              f"| {show([r.rate for r in each])} | {ratios[1]} |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--first", action="store_true",
                        help="on a busy machine, as root: before all else")
    wanted = parser.parse_args()
    if wanted.first:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    # What was started ends with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="postcell-bench-") as folder:
        realm = Realm(folder, people=wanted.users,
                      workers=wanted.workers)
        try:
            run(realm, wanted)
        finally:
            realm.stop()


def run(realm, wanted):
    directory = make_directory(realm)
    kdcs = {"postcell": realm.kdc,
            "ldap": stock(realm, "ldap-kdc", 62, f"ldap:{STOCK}", directory),
            "sqlite": stock(realm, "sqlite-kdc", 63,
                            f"sqlite:{realm.folder}/sqlite", directory)}
    add_users(realm.kdc, wanted.users, False)
    for name in ("ldap", "sqlite"):
        kdcs[name].found()
        add_users(kdcs[name], wanted.users, True)
        kdcs[name].start()
    realm.settle()
    rounds = {name: [] for name in kdcs}
    names = list(kdcs)
    for number in range(wanted.rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            rounds[name].append(Round(kdcs[name], wanted.users,
                                      wanted.seconds))
    report(rounds)


if __name__ == "__main__":
    main()
