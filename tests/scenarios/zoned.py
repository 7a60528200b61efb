"""postcell-zoned for scenarios, and cells as LDIF."""

import datetime
import json
import pathlib
import signal
import subprocess

from directory import SUFFIX, wait_until
from nameservers import DOMAIN, KEY, SECRET
from program import Program
from sanitized import BUILD

ZONED = BUILD / "postcell-zoned"
CTL = BUILD / "postcellctl"

NAMES = f"""
name "mail.{DOMAIN}" {{ services = {{ "imap", "submission" }} }}
name "imap.{DOMAIN}" {{ services = {{ "imap" }} }}
domain "{DOMAIN}" {{
    srv = {{ "imap", "imaps", "pop3", "submission", "sieve", "kerberos",
        "kpasswd", "ldap" }}
    sites = {{ "north", "south" }}
    realm = "CELL.TEST"
    mx = yes
    autoconfig = "www.{DOMAIN}"
    autodiscover = "www.{DOMAIN}"
}}
"""


def moment(offset=0.0):
    """Generalized time that many seconds from now."""
    then = datetime.datetime.now(datetime.timezone.utc) + \
        datetime.timedelta(seconds=offset)
    return then.strftime("%Y%m%d%H%M%S.%fZ")


def transition(state, offset=0.0, weight=100):
    return f"{moment(offset)} 0 {state} {weight}"


def address(number):
    return f"192.0.2.{number}"


class CellFile:
    """A cell of proxies, KDC and directory, written as LDIF."""

    def __init__(self, path, proxies=3):
        self.path = pathlib.Path(path)
        self.replicad = None  # who is to be told
        self.entries = {
            f"proxy{i}": {
                "ou": "proxies", "class": "postcellProxy",
                "postcellSite": "north" if i % 2 else "south",
                "postcellState": "up",
                "postcellService": self.services(i),
                "postcellTransition": [], "postcellVote": []}
            for i in range(1, proxies + 1)}
        self.entries["kdc1"] = {
            "ou": "hosts", "class": "postcellHost", "postcellSite": "south",
            "postcellState": "up", "postcellTransition": [],
            "postcellService": [f"kerberos://kdc1.{DOMAIN}",
                                f"kpasswd://kdc1.{DOMAIN}",
                                f"ldap://kdc1.{DOMAIN}"]}
        self.write()

    @staticmethod
    def services(i):
        return [f"{scheme}://{address(i)}" for scheme in
                ("imap", "imaps", "submission", "sieve", "smtp")] + \
            [f"imap://[2001:db8::{i}]"]

    def text(self):
        lines = [f"dn: {SUFFIX}", "objectClass: organization", "o: x", ""]
        for name, entry in self.entries.items():
            lines += [f"dn: cn={name},ou={entry['ou']},{SUFFIX}",
                      f"objectClass: {entry['class']}", f"cn: {name}"]
            for attribute, value in entry.items():
                if attribute in ("ou", "class"):
                    continue
                values = value if isinstance(value, list) else [value]
                lines += [f"{attribute}: {one}" for one in values]
            lines.append("")
        return "\n".join(lines)

    def write(self):
        new = self.path.with_suffix(".new")
        new.write_text(self.text())
        new.rename(self.path)
        if self.replicad:
            self.replicad.process.send_signal(signal.SIGHUP)

    def set(self, name, state, offset=0.0):
        """Wish and transition, as postcellctl writes them."""
        entry = self.entries[name]
        if state != "failed":
            entry["postcellState"] = state
        entry["postcellTransition"] = \
            entry["postcellTransition"][-1:] + [transition(state, offset)]
        self.write()


class Zoned(Program):
    """One publisher with its folder."""

    def __init__(self, folder, replica, servers, names=NAMES, **options):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.replica, self.servers, self.names = replica, servers, names
        self.secret, self.domain = SECRET, DOMAIN
        self.key = KEY
        self.options = {"timeout": 1, "retry_max": 1, "check_interval": 2,
                        "return_delay": 1, "fail_open": 34,
                        "change_max": 100, "change_interval": 100,
                        "publisher": f"{self.folder.name}.{DOMAIN}"}
        self.options.update(options)
        self.zone_lines = f'hosts = "hosts.{DOMAIN}"'
        self.process = None
        self.log_path = self.folder / "log"

    @property
    def conf(self):
        return self.folder / "zoned.conf"

    def write_conf(self):
        (self.folder / "secret").write_text(self.secret + "\n")
        (self.folder / "ctl.conf").write_text(
            f'replica = "{self.replica}"\nrun_dir = "{self.folder}"\n')
        top = "".join(
            f"{name} = {value}\n" if isinstance(value, int)
            else f'{name} = "{value}"\n'
            for name, value in self.options.items())
        primaries = ", ".join(f'"{s}"' for s in self.servers)
        self.conf.write_text(f"""replica = "{self.replica}"
run_dir = "{self.folder}"
user = ""
{top}
key "{self.key}" {{ secret_file = "{self.folder}/secret" }}
zone "{self.domain}" {{
    primaries = {{ {primaries} }}
    key_name = "{self.key}"
    {self.zone_lines}
}}
{self.names}
""" if self.servers else f"""replica = "{self.replica}"
run_dir = "{self.folder}"
user = ""
{top}
zone "{self.domain}" {{
    driver = file
    {self.zone_lines}
}}
{self.names}
""")

    def run(self, *arguments, timeout=40):
        self.write_conf()
        return subprocess.run([ZONED, "-c", self.conf, *arguments],
                              capture_output=True, text=True, timeout=timeout)

    def start(self):
        self.write_conf()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [ZONED, "-c", self.conf], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL)
        try:
            wait_until(self.show, 20, "the control socket")
        except AssertionError:
            self.stop(signal.SIGKILL)
            raise
        return self

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def events(self, name):
        return [line for line in self.log().splitlines()
                if f"event={name} " in line]

    def ctl(self, *words, json_form=True):
        conf = self.folder / "ctl.conf"
        conf.write_text(f'run_dir = "{self.folder}"\n')
        return subprocess.run(
            [CTL, "--config", conf, *(["--json"] if json_form else []),
             "zone", *words], capture_output=True, text=True, timeout=20)

    def show(self):
        assert not self.process or self.process.poll() is None, self.log()
        done = self.ctl("show")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def is_settled(self):
        answer = self.show()
        return answer and all(t["state"] == "settled"
                              for t in answer["targets"])

    def wait_settled(self, timeout=15):
        try:
            wait_until(self.is_settled, timeout, "settled")
        except AssertionError as fault:
            raise AssertionError(f"{fault}\n{self.show()}\n{self.log()}")
