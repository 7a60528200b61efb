"""The bench: Postcell beside its peers, in alternating rounds.

Each peer is alone on one core, the load and the back end share another. The
first figure is CPU time, since rates on a shared machine mislead; results are
compared as ratios within a round.
"""

import argparse
import json
import os
import pathlib
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import chart
import directory
import peers
import replica
from peers import BACK_PORTS, LOAD_CORE, PEERS, PORTS, run_pinned, wait_until


class Measure:
    """What is done to a proxy, and what is made of it.

    load: arguments of the load; count: logins, sessions or octets, of the
    short and of the long form; figure: from (result, CPU seconds) to a number.
    """

    def __init__(self, name, title, unit, service, arguments, counts, figure,
                 starttls=False, more_is_better=False, direct=None,
                 bulk=False):
        self.name, self.title, self.unit = name, title, unit
        self.service, self.arguments = service, arguments
        self.counts, self.figure = counts, figure
        self.starttls, self.more_is_better = starttls, more_is_better
        self.direct, self.bulk = direct, bulk

    def serves(self, peer):
        return self.service in peer.services and (
            not self.starttls or "starttls" in peer.services) and (
            peer.relays == 1 or self.name in ("login", "tls"))

    def port(self, peer):
        return peer.bulk_port if self.bulk else PORTS[self.service]


def cpu_each(result, cpu):
    return cpu / result["done"] * 1e6


def mb_a_cpu_second(result, cpu):
    return result["octets"] / 1e6 / cpu


def latency(result, _cpu):
    return result["p50_us"]


def deliveries(result, cpu):
    return result["done"] / cpu


MEASURES = [
    Measure("login", "CPU a plain IMAP login", "µs", "imap",
            "-m login -c 20", (3000, 10000), cpu_each),
    Measure("pop3", "CPU a plain POP3 login", "µs", "pop3",
            "-m login -p pop3 -c 20", (3000, 10000), cpu_each),
    Measure("submission", "CPU a plain submission login", "µs", "submission",
            "-m login -p submission -c 20", (3000, 10000), cpu_each),
    Measure("tls", "CPU a TLS 1.3 login, full handshake", "µs", "imaps",
            "-m login -t tls -c 20", (1000, 4000), cpu_each),
    Measure("resumed", "CPU a TLS 1.3 login, resumed", "µs", "imaps",
            "-m login -t resumed -c 20", (1000, 4000), cpu_each),
    Measure("starttls", "CPU a STARTTLS login", "µs", "imap",
            "-m login -t starttls -c 20", (1000, 4000), cpu_each,
            starttls=True),
    Measure("latency", "added latency, plain login", "µs", "imap",
            "-m login -c 1", (500, 2000), latency, direct="login"),
    Measure("latency-tls", "added latency, TLS login", "µs", "imaps",
            "-m login -t tls -c 1", (200, 1000), latency, direct="login"),
    Measure("down", "bulk to the client, plain", "MB/CPU s", "imap",
            "-m source -c 4 -b", (400_000_000, 1_500_000_000),
            mb_a_cpu_second, more_is_better=True, bulk=True),
    Measure("up", "bulk to the server, plain", "MB/CPU s", "imap",
            "-m sink -c 4 -b", (400_000_000, 1_500_000_000),
            mb_a_cpu_second, more_is_better=True, bulk=True),
    Measure("down-tls", "bulk to the client, TLS", "MB/CPU s", "imaps",
            "-m source -t tls -c 4 -b", (150_000_000, 600_000_000),
            mb_a_cpu_second, more_is_better=True),
    Measure("up-tls", "bulk to the server, TLS", "MB/CPU s", "imaps",
            "-m sink -t tls -c 4 -b", (150_000_000, 600_000_000),
            mb_a_cpu_second, more_is_better=True),
    Measure("deliver", "LMTP deliveries of 4 KB", "/CPU s", "lmtp",
            "-m deliver -p lmtp -c 4 -k 10 -b 4000", (2000, 10000),
            deliveries, more_is_better=True),
]

# name, title, service, arguments, sessions of the short and of the long form
HOLDS = [
    ("idle", "memory an idle session, plain", "imap", "", (1000, 5000, 9000)),
    ("idle-tls", "memory an idle session, TLS", "imaps", "-t tls",
     (1000, 5000, 9000)),
]
OTHERS = ["replica", "directory"]
USERS = 10000


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, pathlib.Path(folder)
        self.build = pathlib.Path(options.build)
        self.back = f"{options.net}.1"
        self.results = {}
        self.peers = []
        self.sink = None

    def open(self):
        os.chmod(self.folder, 0o755)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
             "/CN=proxy", "-keyout", self.folder / "proxy.key", "-out",
             self.folder / "proxy.pem"], check=True, capture_output=True)
        users = self.folder / "users.ldif"
        services = [f"{name}://{self.back}:{port}"
                    for name, port in BACK_PORTS.items()]
        replica.write_ldif(users, USERS, services)
        command = [self.build / "tests/bench/sink"]
        for name, port in BACK_PORTS.items():
            command += [name, self.back, port]
        self.sink = run_pinned(LOAD_CORE, command)
        wait_until(lambda: self.try_login(self.back, 20143), "back end")
        for number, name in enumerate(self.options.peers):
            peer = PEERS[name](self.folder, f"{self.options.net}.{10 + number}",
                               self.back, self.build, users)
            self.peers.append(peer)
            self.start(peer)

    def close(self):
        for peer in self.peers:
            peer.stop()
        if self.sink:
            self.sink.terminate()
            self.sink.wait()

    def start(self, peer):
        peer.start()
        for service in peer.services & set(PORTS):
            if service.startswith("imap"):
                tls = service == "imaps"
                wait_until(lambda: self.try_login(peer.address, PORTS[service],
                                                  tls), peer.name)

    def load_command(self, arguments, address, port):
        return [self.build / "tests/bench/load", "-u", USERS,
                *arguments, address, port]

    def try_login(self, address, port, tls=False):
        command = self.load_command(["-t", "tls" if tls else "none"], address,
                                    port)
        return subprocess.run(list(map(str, command)),
                              capture_output=True).returncode == 0

    def load(self, arguments, address, port):
        process = run_pinned(LOAD_CORE,
                             self.load_command(arguments, address, port),
                             stdout=subprocess.PIPE, text=True)
        text = process.communicate()[0]
        if process.returncode != 0:
            raise SystemExit(f"bench: {address}:{port}: {arguments}: failed:"
                             f" {text}")
        return json.loads(text)

    # ---- measures ----

    def note(self, name, peer, value):
        self.results.setdefault(name, {}).setdefault(peer, []).append(value)

    def arguments_of(self, measure, peer):
        count = int(measure.counts[self.options.long] * peer.patience)
        arguments = measure.arguments.split()
        if arguments[-1] == "-b":
            return [*arguments, count // 4]
        return [*arguments, "-n", count]

    def take(self, measure, peer):
        before = peer.cpu()
        result = self.load(self.arguments_of(measure, peer), peer.address,
                           measure.port(peer))
        return measure.figure(result, peer.cpu() - before)

    def round(self, number):
        for measure in MEASURES:
            if not self.options.wants(measure.name):
                continue
            able = [peer for peer in self.peers if measure.serves(peer)]
            turn = number % len(able)
            direct = 0
            if measure.direct:
                arguments = ["-m", "login", "-c", 1, "-n",
                             measure.counts[self.options.long]]
                direct = self.load(arguments, self.back,
                                   BACK_PORTS["imap"])["p50_us"]
            for peer in able[turn:] + able[:turn]:
                value = self.take(measure, peer) - direct
                self.note(measure.name, peer.name, value)
        print(f"round {number + 1} of {self.options.rounds}", file=sys.stderr)

    def hold(self, peer, service, arguments, count):
        """Octets a session that idle sessions add to a proxy just started."""
        peer.stop()
        self.start(peer)
        address, port = peer.address, PORTS[service]
        self.load(["-c", 20, "-n", 200, *arguments], address, port)
        before = peer.memory()
        process = run_pinned(
            LOAD_CORE, self.load_command(
                ["-m", "hold", "-c", 50, "-n", count, *arguments], address,
                port), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True)
        said = process.stdout.readline()
        # Whatever a proxy frees only after a moment is free then.
        time.sleep(2)
        after = peer.memory()
        process.communicate()
        if f"held {count}," not in said:
            raise SystemExit(f"bench: {peer.name} held fewer: {said}")
        return (after - before) / count / 1024

    def holds(self):
        for name, _, service, arguments, counts in HOLDS:
            if not self.options.wants(name):
                continue
            for count in counts if self.options.long else counts[:1]:
                for peer in self.peers:
                    if service in peer.services and peer.holds:
                        self.note(f"{name}-{count}", peer.name, self.hold(
                            peer, service, arguments.split(), count))


# ---- what is made of it ----

def titles():
    rows = [(m.name, m.title, m.unit, m.more_is_better) for m in MEASURES]
    for name, title, _, _, counts in HOLDS:
        rows += [(f"{name}-{count}", f"{title}, {count} held", "KiB", False)
                 for count in counts]
    return rows


def spread(values, digits=0):
    middle = statistics.median(values)
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return (f"{middle:.{digits}f} ({min(values):.{digits}f} to"
            f" {max(values):.{digits}f})")


def table(results, names):
    """Figures of each peer, and Postcell's ratio to it, as text."""
    lines = []
    for name, title, unit, more in titles():
        if name not in results:
            continue
        better = ", more is better" if more else ""
        lines.append(f"{title} [{unit}{better}]")
        own = results[name].get("postcell")
        for peer in names:
            values = results[name].get(peer)
            if not values:
                continue
            line = f"    {peer:10} {spread(values, 2 if unit == 'KiB' else 0):32}"
            if own and peer != "postcell":
                ratios = [a / b for a, b in zip(own, values) if b > 0]
                line += f" postcell is {spread(ratios, 2)} of it"
            lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def machine():
    cpu = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    versions = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", "haproxy",
         "nginx", "dovecot-core", "perdition", "libssl3", "libevent-2.1-7"],
        capture_output=True, text=True).stdout.split("\n")
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(),
            "packages": [line for line in versions if line]}


def stop_early(*_):
    # timeout(1) asks twice.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--net", default="127.0.100")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true",
                        help="a short form, whose figures are rough")
    parser.add_argument("--first", action="store_true",
                        help="for a busy machine: what is measured runs before"
                        " all else, by real-time priority (needs root)")
    parser.add_argument("--only", default="", help="measures, with commas: "
                        + ", ".join([m.name for m in MEASURES]
                                    + [h[0] for h in HOLDS] + OTHERS))
    parser.add_argument("--peers", default=",".join(PEERS))
    options = parser.parse_args()
    # Stopped early, it still says what it has.
    signal.signal(signal.SIGTERM, stop_early)
    options.long = not options.quick
    if options.first:
        peers.prefix[:] = peers.FIRST
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.peers = options.peers.split(",")
    only = set(filter(None, options.only.split(",")))
    options.wants = lambda name: not only or name in only
    out = pathlib.Path(options.build) / "bench"
    out.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "rounds": options.rounds}
    text = ""
    if not only or only - set(OTHERS):
        with tempfile.TemporaryDirectory(prefix="postcell-bench-") as folder:
            bench = Bench(options, folder)
            try:
                bench.open()
                for number in range(options.rounds):
                    bench.round(number)
                bench.holds()
            except KeyboardInterrupt:
                print("bench: what is done so far:", file=sys.stderr)
            finally:
                bench.close()
        report["results"] = bench.results
        text += table(bench.results, options.peers)
        (out / "bench.svg").write_text(
            chart.draw(bench.results, titles(), options.peers))
    if options.wants("replica"):
        report["replica"] = replica.measure(options.build, options.long)
        text += replica.table(report["replica"])
    if options.wants("directory"):
        sizes = (100_000, 1_000_000) if options.long else (10_000,)
        report["directory"] = [
            directory.measure(options.build, f"{options.net}.1", size)
            for size in sizes]
        text += directory.table(report["directory"])
    (out / "bench.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "bench.txt").write_text(text)
    print(text, end="")
    print(f"kept in {out}: bench.txt bench.json bench.svg", file=sys.stderr)


if __name__ == "__main__":
    main()
