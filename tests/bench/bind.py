"""What a bind costs beside the key that is derived for it, in one run.

    tests/bench/bind.py [--binds N] [--rounds R] [--first]

Each round derives keys and nothing else, binds without the memory of recent
binds, with it, with keys whose derivation is one MD4, so that all the rest of a
bind shows by itself, and to an entry with a salted hash, which slapd itself
checks. The median of the rounds counts.
With --first, as root, on a busy machine: slapd and the derivation go first.
"""

import argparse
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/scenarios"))

from directory import SUFFIX  # noqa: E402
from overlaid import (BUILD, Overlaid, make_master_key, person_dn,  # noqa: E402
                      salted)

import ldap  # noqa: E402

PASSWORD = "password 0"
FIRST = ["chrt", "-f", "1"]
REST = "bind, derived by one MD4"
DAEMON = f"cn=daemon,{SUFFIX}"


def make_directory(folder, name, number, keys, first, **options):
    made = Overlaid(folder / name, number, keys, options)
    made.wrapper = first
    made.load()
    made.start()
    made.add_account("anna", PASSWORD)
    assert made.bind("anna", PASSWORD) is None  # the first of the day writes
    made.add(DAEMON, objectClass=["organizationalRole", "simpleSecurityObject"],
             cn="daemon", userPassword=salted(PASSWORD))
    return made


def cpu_us(process):
    """Of all threads, as the scheduler counts it."""
    return sum(int(path.read_text().split()[0]) for path in pathlib.Path(
        f"/proc/{process.pid}/task").glob("*/schedstat")) / 1000


def bind(slapd, dn, count):
    """Microseconds of slapd's CPU, and of the clock, for each."""
    connection = ldap.initialize(slapd.url)
    connection.simple_bind_s(dn, PASSWORD)
    cpu, clock = cpu_us(slapd.process), time.monotonic()
    for _ in range(count):
        connection.simple_bind_s(dn, PASSWORD)
    clock = (time.monotonic() - clock) * 1e6 / count
    cpu = (cpu_us(slapd.process) - cpu) / count
    connection.unbind_s()
    return cpu, clock


def derive(count, first):
    done = subprocess.run([*first, BUILD / "tests/bench/derive", str(count)],
                          capture_output=True, text=True, check=True)
    return tuple(map(float, done.stdout.split()))


def report(rows):
    print(f"{'microseconds, median of the rounds':36} {'CPU':>7} {'clock':>7}")
    for name in rows[0]:
        cpu, clock = (statistics.median(row[name][i] for row in rows)
                      for i in (0, 1))
        print(f"{name:36} {cpu:7.0f} {clock:7.0f}")
    over = sorted(row[REST][0] for row in rows)
    print(f"a bind over the derivation: {statistics.median(over) / 1000:.2f} ms"
          f" of CPU ({over[0] / 1000:.2f} to {over[-1] / 1000:.2f})")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binds", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--first", action="store_const", const=FIRST,
                        default=[])
    wanted = parser.parse_args()
    # What was started ends with us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="postcell-bench-") as folder:
        folder, running = pathlib.Path(folder), []
        keys = make_master_key(folder)
        try:
            running.append(make_directory(folder, "plain", 31, keys,
                                          wanted.first, memory=0))
            running.append(make_directory(folder, "memory", 32, keys,
                                          wanted.first))
            running.append(make_directory(
                folder, "rest", 33, keys, wanted.first, memory=0,
                enctypes='"arcfour-hmac-md5"'))
            report([measure(*running, wanted.binds, wanted.first)
                    for _ in range(wanted.rounds)])
        finally:
            for each in running:
                each.stop()


def measure(plain, remembering, rest, binds, first):
    return {"derivation alone": derive(binds, first),
            "bind": bind(plain, person_dn("anna"), binds),
            REST: bind(rest, person_dn("anna"), 10 * binds),
            "bind that is remembered": bind(
                remembering, person_dn("anna"), 10 * binds),
            "bind by a hash, slapd's own": bind(plain, DAEMON, 10 * binds)}


if __name__ == "__main__":
    main()
