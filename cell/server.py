"""What all servers of a cell have in common."""

import errno
import pathlib
import re
import shutil
import socket
import string
import subprocess

from process import Interruption, Trouble

OWN = pathlib.Path(__file__).resolve().parent
# Those that `postcellctl cell init` fills in as well, so that what is
# delivered is what runs here.
DELIVERED = OWN.parent / "templates"
PROGRAM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Server:
    """One process of the cell: how it is set up, started and known to be up.

    endpoints: (address, port, socket.SOCK_STREAM or SOCK_DGRAM) it binds.
    """

    name = ""
    endpoints = ()
    environment = {}  # besides that of whoever starts it

    def __init__(self, layout, settings):
        self.layout = layout
        self.settings = settings

    @property
    def log(self):
        return self.layout.log / f"{self.name}.log"

    def make(self):
        """Writes the configuration and whatever else it needs."""

    def keytabs(self):
        """(file, principals) of each that it is to have."""
        return []

    def own_keytab(self, path):
        """Gives it to whoever reads it."""
        path.chmod(0o600)

    def prepare(self):
        """Removes what a killed predecessor left behind."""

    def command(self):
        raise NotImplementedError

    def is_up(self):
        return all(answers(address, port)
                   for address, port, kind in self.endpoints
                   if kind == socket.SOCK_STREAM)

    def write_conf(self, template, file, /, **values):
        """Fills a template in; only its owner may read what comes out."""
        folder = OWN if (OWN / template).exists() else DELIVERED
        text = (folder / template).read_text()
        path = self.layout.conf / file
        path.touch(mode=0o600)
        path.write_text(string.Template(text).substitute(values))
        return path


def find_program(name):
    path = shutil.which(name, path=PROGRAM_PATH)
    if not path:
        raise Trouble(f"{name} is not installed: run tools/bootstrap cell")
    return path


def run(argv, **options):
    """Runs a command to its end; its output is shown only when it fails."""
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    done = subprocess.run(argv, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options)
    Interruption.heed()
    if done.returncode:
        raise Trouble(f"{' '.join(map(str, argv))} ended with status "
                      f"{done.returncode}:\n{done.stdout.decode(errors='replace')}")
    return done.stdout


def answers(address, port):
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def check_free(endpoint):
    address, port, kind = endpoint
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR,
                         int(kind == socket.SOCK_STREAM))
        try:
            probe.bind((address, port))
            if kind == socket.SOCK_STREAM:
                probe.listen(1)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise Trouble(f"cannot bind {address}:{port}: "
                              f"{error.strerror}") from None
            raise Trouble(
                f"{address}:{port} is taken by {holder(address, port, kind)}; "
                "if that is another cell, start this one elsewhere: "
                "make cell CELL_NET=127.0.N") from None


def holder(address, port, kind):
    """Who listens there, as far as this user may know."""
    option = "-tlnpH" if kind == socket.SOCK_STREAM else "-ulnpH"
    try:
        text = subprocess.run(["ss", option, "sport", "=", f":{port}"],
                              stdout=subprocess.PIPE, timeout=10).stdout.decode()
    except (OSError, subprocess.TimeoutExpired):
        return "an unknown program"
    for line in text.splitlines():
        local = line.split()[3]
        if local in (f"{address}:{port}", f"0.0.0.0:{port}", f"*:{port}"):
            found = re.search(r'"([^"]+)",pid=(\d+)', line)
            if found:
                return f"{found[1]} (pid {found[2]})"
    return "a program of another user"
