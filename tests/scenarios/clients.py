"""Mail programs, for the scenarios of each protocol."""

import socket
import ssl
import subprocess

from layout import HOST, PORTS, SSO_PORTS

TIMEOUT = 30  # s, for a program or an answer


def address(cell, name):
    return cell.layout.addresses[name]


def context(cell):
    return ssl.create_default_context(cafile=str(cell.layout.ca))


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def curl(cell, proxy, login, password, url, *options):
    """The password goes in by the configuration, not by the command line."""
    settings = f"user = {quoted(login + ':' + password)}\n"
    resolve = [word for port in (*PORTS.values(), *SSO_PORTS.values())
               for word in ("--resolve",
                            f"{HOST}:{port}:{address(cell, proxy)}")]
    return subprocess.run(
        ["curl", "-sS", "--max-time", str(TIMEOUT), "--cacert",
         cell.layout.ca, *resolve, "-K", "-", url, *options],
        input=settings.encode(), capture_output=True)


def faults_of(people, attempt):
    """Runs attempt(login, password) for everybody: all that went wrong."""
    faults = []
    for login, password in people:
        try:
            attempt(login, password)
        except Exception as error:  # whatever a client library raises
            faults.append(f"{login}: {error!r}")
    return "\n".join(faults)


class Lines:
    """A connection of lines, as a client speaks them that knows no better."""

    def __init__(self, cell, proxy, kind, implicit=False, source=None,
                 ports=None):
        self.context = context(cell)
        self.socket = socket.create_connection(
            (address(cell, proxy), (ports or PORTS)[kind]), TIMEOUT,
            (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if implicit:
            self.start_tls()
        else:
            self.file = self.socket.makefile("rb")

    def start_tls(self):
        self.socket = self.context.wrap_socket(self.socket,
                                               server_hostname=HOST)
        self.file = self.socket.makefile("rb")

    def say(self, *lines):
        self.socket.sendall(b"".join(line + b"\r\n" for line in lines))

    def hear(self):
        """A line without its CRLF; b"" at the end."""
        line = self.file.readline()
        assert not line or line.endswith(b"\r\n"), line
        return line[:-2]

    def ask(self, line):
        self.say(line)
        return self.hear()

    def close(self):
        self.socket.close()
