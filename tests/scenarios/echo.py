"""How long other sessions wait: echoes through a proxy, and past it.

The server lets everybody in by IMAP and says back what it hears. Server and
clients are processes of their own, so that tests do not disturb them.
"""

import multiprocessing
import selectors
import socket
import ssl
import time

from clients import TIMEOUT

GREETING = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] echo\r\n"
PAUSE = 0.001  # s between two echoes


def serve(listener):
    """Runs until it is ended."""
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY,
                                      1)
                connection.sendall(GREETING)
                waiting.register(connection, selectors.EVENT_READ)
                continue
            try:
                heard = key.fileobj.recv(4096)
            except OSError:
                heard = b""
            if not heard:
                waiting.unregister(key.fileobj)
                key.fileobj.close()
            elif b" AUTHENTICATE " in heard:
                tag = heard.split()[0]
                key.fileobj.sendall(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
            else:
                key.fileobj.sendall(heard)


def server(address, port):
    listener = socket.create_server((address, port))
    process = multiprocessing.Process(target=serve, args=(listener,),
                                      daemon=True)
    process.start()
    listener.close()
    return process


class Listener:
    """A session that echoes until it is told to end."""

    def __init__(self, address, port, ca=None, first=b""):
        self.ours, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(
            target=self.run, daemon=True,
            args=(theirs, address, port, ca, first))
        self.process.start()
        assert self.ours.recv() == "in"

    @staticmethod
    def run(ours, address, port, ca, first):
        connection = socket.create_connection((address, port), TIMEOUT)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file = connection.makefile("rb")
        file.readline()
        if ca:
            connection.sendall(b"s STARTTLS\r\n")
            file.readline()
            context = ssl.create_default_context(cafile=ca)
            connection = context.wrap_socket(connection,
                                             server_hostname=address)
            file = connection.makefile("rb")
        connection.sendall(b"a AUTHENTICATE PLAIN " + first + b"\r\n")
        reply = file.readline()
        ours.send("in" if reply.startswith(b"a OK") else reply)
        waits = []
        while not ours.poll():
            begin = time.monotonic()
            connection.sendall(b"x NOOP\r\n")
            file.readline()
            waits.append(time.monotonic() - begin)
            time.sleep(PAUSE)
        ours.recv()
        ours.send(waits)

    def end(self):
        """What each echo took, in ms, smallest first."""
        self.ours.send("end")
        waits = self.ours.recv()
        self.process.join(TIMEOUT)
        return sorted(1000 * wait for wait in waits)


def describe(waits):
    def of(share):
        return waits[min(int(share * len(waits)), len(waits) - 1)]

    return (f"median {of(0.5):.2f}, 99 % {of(0.99):.2f}, 99.9 % "
            f"{of(0.999):.2f}, maximum {waits[-1]:.2f} ms of {len(waits)}")
