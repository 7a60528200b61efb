"""The bench of the replica: loading, refreshing, looking up, placing."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from peers import PROXY_CORE, run_pinned, wait_until

FILL_TIME = 900  # s, for 10^6 accounts on a busy machine


def write_ldif(path, count, services, servers=1):
    """A cell of `count` users in a pool of servers that share services."""
    with open(path, "w", encoding="ascii") as out:
        out.write("dn: cn=main,ou=pools,o=x\nobjectClass: postcellPool\n"
                  "cn: main\npostcellDefault: TRUE\n\n")
        for number in range(servers):
            out.write(f"dn: cn=mbox{number},ou=servers,o=x\n"
                      f"objectClass: postcellServer\ncn: mbox{number}\n"
                      "postcellPoolName: main\n")
            for service in services:
                out.write(f"postcellService: {service}?tls=none\n")
            out.write("\n")
        for number in range(count):
            uid = f"u{number:06}"
            out.write(f"dn: uid={uid},ou=people,o=x\n"
                      "objectClass: inetOrgPerson\n"
                      "objectClass: postcellAccount\n"
                      f"entryUUID: {number:08x}-0000-4000-8000-000000000000\n"
                      f"uid: {uid}\nmail: {uid}@example.org\n\n")


def peak_memory(pid):
    """KiB that belong to the process alone, the file's pages left out."""
    rows = dict(line.split(":", 1) for line in pathlib.Path(
        f"/proc/{pid}/status").read_text().splitlines())
    return int(rows.get("RssAnon", "0").split()[0])


def cpu_seconds(pid):
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0])
               for task in tasks) / 1e9


class Replicad:
    def __init__(self, build, folder, source, core=PROXY_CORE):
        self.build, self.folder = pathlib.Path(build), pathlib.Path(folder)
        self.path = self.folder / "replica"
        conf = self.folder / "replicad.conf"
        conf.write_text(f'replica = "{self.path}"\nuser = ""\n'
                        f'map_size_max = 4096\nprune_max = 100\n'
                        f'log_level = debug\n{source}')
        self.log = open(self.folder / "log", "ab")
        self.begun = time.monotonic()
        self.peak = 0
        self.process = run_pinned(
            core, [self.build / "postcell-replicad", "-c", conf],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def filled(self):
        """Seconds since the epoch at which it last was filled whole."""
        done = subprocess.run(
            [self.build / "postcellctl", "--replica", self.path, "--json",
             "replica", "status"], capture_output=True, text=True)
        if done.returncode != 0:
            return None
        return json.loads(done.stdout).get("filled")

    def wait_filled(self, before=None):
        end = time.monotonic() + FILL_TIME
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise SystemExit("bench: replicad ended: " +
                                 (self.folder / "log").read_text())
            self.peak = max(self.peak, peak_memory(self.process.pid))
            if self.filled() not in (None, before):
                return
            time.sleep(0.02)
        raise SystemExit(f"bench: the replica was not filled in {FILL_TIME} s")

    def wait_shortcut(self):
        """Until look-ups are as fast as they get."""
        log = self.folder / "log"
        wait_until(lambda: b"event=shortcut " in log.read_bytes(),
                   "the shortcut", FILL_TIME)

    def file_mib(self):
        return sum(path.stat().st_blocks * 512
                   for path in self.path.iterdir()) / 2**20

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def bench_program(build, *arguments):
    done = subprocess.run(
        [pathlib.Path(build) / "tests/bench/replica_bench",
         *map(str, arguments)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measure_size(build, folder, accounts):
    """Load, full refresh, look-ups and size at one number of accounts."""
    folder = pathlib.Path(folder)
    ldif = folder / "cell.ldif"
    write_ldif(ldif, accounts, ["imap://127.0.0.1:143"])
    replicad = Replicad(build, folder,
                        f'source = ldif\nldif_file = "{ldif}"\n')
    try:
        replicad.wait_filled()
        row = {"accounts": accounts,
               "load_s": time.monotonic() - replicad.begun,
               "load_cpu_s": cpu_seconds(replicad.process.pid),
               "peak_mib": replicad.peak / 1024}
        filled, cpu = replicad.filled(), cpu_seconds(replicad.process.pid)
        # The same again: nothing changes, and all of it is compared.
        begun = time.monotonic()
        os.utime(ldif)
        replicad.process.send_signal(signal.SIGHUP)
        replicad.wait_filled(filled)
        row["refresh_s"] = time.monotonic() - begun
        row["refresh_cpu_s"] = cpu_seconds(replicad.process.pid) - cpu
        row["refresh_peak_mib"] = replicad.peak / 1024
        replicad.wait_shortcut()
        row["file_mib"] = replicad.file_mib()
        row["lookup_ns"] = bench_program(build, "lookup", replicad.path,
                                         accounts)["ns"]
    finally:
        replicad.stop()
    return row


def measure(build, long):
    sizes = (10_000, 100_000, 1_000_000) if long else (10_000, 100_000)
    rows = []
    for accounts in sizes:
        with tempfile.TemporaryDirectory(prefix="postcell-bench-") as folder:
            rows.append(measure_size(build, folder, accounts))
    places = [{"servers": servers,
               "ns": bench_program(build, "place", servers)["ns"]}
              for servers in (3, 10, 50)]
    return {"sizes": rows, "placement": places}


def table(report):
    lines = ["replica, from LDIF", f"{'accounts':>10} {'load s':>8}"
             f" {'refresh s':>10} {'own MiB':>8} {'file MiB':>9}"
             f" {'look-up ns':>11}"]
    for row in report["sizes"]:
        lines.append(f"{row['accounts']:10} {row['load_s']:8.2f}"
                     f" {row['refresh_s']:10.2f} {row['peak_mib']:8.1f}"
                     f" {row['file_mib']:9.1f} {row['lookup_ns']:11.0f}")
    lines.append("placement")
    for row in report["placement"]:
        lines.append(f"{row['servers']:10} servers {row['ns']:8.0f} ns")
    return "\n".join(lines) + "\n"
