"""postcell-replicad and postcellctl for scenarios."""

import json
import os
import pathlib
import subprocess

from directory import PASSWORD, REPLICA, SUFFIX, wait_until
from program import Program
from sanitized import BUILD

REPLICAD = BUILD / "postcell-replicad"
CTL = BUILD / "postcellctl"


class Replicad(Program):
    """One replicad with its folder; options are those of its configuration."""

    def __init__(self, folder, providers=(), options=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "replica"
        self.conf = self.folder / "replicad.conf"
        self.log_path = self.folder / "replicad.log"
        password = self.folder / "password"
        password.write_text(PASSWORD + "\n")
        self.options = {"replica": str(self.path), "user": "",
                        "map_size_max": 256, "suffix": SUFFIX,
                        "bind_dn": REPLICA, "password_file": str(password),
                        "tls": "none",
                        "providers": [p.url for p in providers]}
        self.options.update(options or {})
        self.process = None
        self.environment = {}
        self.write_conf()

    def write_conf(self):
        def text(value):
            if isinstance(value, list):
                return "{ " + ", ".join(f'"{v}"' for v in value) + " }"
            return str(value) if isinstance(value, int) else f'"{value}"'

        self.conf.write_text("".join(f"{name} = {text(value)}\n" for name, value
                                     in self.options.items()))

    def start(self, *arguments, wait="connected"):
        before = len(self.events("started"))
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [REPLICAD, "-c", self.conf, *arguments], stdout=log,
                stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment})
        if wait:
            # What the database says before that, another process wrote.
            self.wait_for(lambda: len(self.events("started")) > before,
                          what="start")
            self.wait_state(wait)
        return self

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def events(self, name):
        return [line for line in self.log().splitlines()
                if f"event={name}" in line]

    # What the replica holds, as postcellctl shows it.

    def ctl(self, *words):
        return subprocess.run([CTL, "--replica", self.path, "--json", *words],
                              capture_output=True, text=True, timeout=60)

    def status(self):
        done = self.ctl("replica", "status")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def get(self, name):
        """The account, or None."""
        done = self.ctl("replica", "get", name)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def get_code(self, name):
        return self.ctl("replica", "get", name).returncode

    def dump(self):
        done = self.ctl("replica", "dump")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def host(self, name):
        found = [e for e in self.dump() if e.get("name") == name]
        return found[0] if found else None

    def wait_state(self, word, timeout=15):
        """Until the state begins so."""
        def matches():
            assert not self.process or self.process.poll() is None, self.log()
            status = self.status()
            return status if status and status["state"].startswith(word) \
                else None
        try:
            return wait_until(matches, timeout, f"state {word}")
        except AssertionError:
            raise AssertionError(
                f"state is not {word}: {self.status()}\n{self.log()}")

    def wait_for(self, condition, timeout=10, what="condition"):
        def checked():
            assert not self.process or self.process.poll() is None, self.log()
            return condition()
        try:
            return wait_until(checked, timeout, what)
        except AssertionError as fault:
            raise AssertionError(f"{fault}\n{self.status()}\n{self.log()}")
