"""Tickets a second: our back end beside Heimdal's own, in one run.

    tests/bench/kdc.py [--users N] [--seconds S] [--rounds R] [--workers W]

Each round asks all three, one after the other; the median of the rounds counts.
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


def measure(kdc, users, seconds):
    done = subprocess.run(
        [BUILD / "tests/bench/asreq", kdc.address, str(kdc.port), REALM,
         PASSWORD, str(users), str(seconds)], capture_output=True, text=True,
        check=True, env={**os.environ, "KRB5_CONFIG": str(kdc.conf)})
    rate, faults, lost = map(int, done.stdout.split())
    assert faults == 0, f"{kdc.folder.name}: {faults} of {rate}/s were refused"
    return rate


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    wanted = parser.parse_args()
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
    rates = {name: [] for name in kdcs}
    for _ in range(wanted.rounds):
        for name, kdc in kdcs.items():
            rates[name].append(measure(kdc, wanted.users, wanted.seconds))
    middle = {name: statistics.median(each) for name, each in rates.items()}
    for name, each in rates.items():
        print(f"{name:9} {middle[name]:6.0f} AS-REQ/s  (of {each})")
    print(f"postcell is {middle['postcell'] / middle['ldap']:.1f} times ldap, "
          f"{middle['postcell'] / middle['sqlite']:.2f} times sqlite")


if __name__ == "__main__":
    main()
