"""IMAP as a mail program speaks it, for waiting and for the scenarios."""

import imaplib
import re
import socket
import ssl

TIMEOUT = 30  # s


class Imap(imaplib.IMAP4):
    """Connects to an address and expects a host's certificate there."""

    def __init__(self, address, port, host, ca_file, implicit=False,
                 starttls=True, source=None, timeout=TIMEOUT):
        self.address = address
        self.source = (source, 0) if source else None
        self.context = ssl.create_default_context(cafile=str(ca_file))
        self.implicit = implicit
        super().__init__(host, port, timeout)
        if starttls and not implicit:
            self.starttls(self.context)

    def _create_socket(self, timeout):
        connected = socket.create_connection((self.address, self.port),
                                             timeout, self.source)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.implicit:
            return self.context.wrap_socket(connected,
                                            server_hostname=self.host)
        return connected

    def login_plain(self, user, password):
        """AUTHENTICATE PLAIN: any name, any octets."""
        name, secret = (text if isinstance(text, bytes) else text.encode()
                        for text in (user, password))
        return self.authenticate("PLAIN",
                                 lambda _: b"\0" + name + b"\0" + secret)

    def login_literal(self, user, password):
        """LOGIN with both arguments as synchronising literals."""
        tag = self._new_tag()
        line = tag + b" LOGIN"
        for text in (user, password):
            octets = text if isinstance(text, bytes) else text.encode()
            self.send(line + b" {%d}\r\n" % len(octets))
            answer = self.readline()
            if not answer.startswith(b"+"):
                raise self.error(answer.decode(errors="replace"))
            line = octets
        self.send(line + b"\r\n")
        answer = self.readline()
        while answer.startswith(b"* "):
            answer = self.readline()
        if not answer.startswith(tag + b" OK"):
            raise self.error(answer.decode(errors="replace"))
        self.state = "AUTH"

    def served_by(self):
        """The back end's name, as it tells after login."""
        text = self.xatom("ID", "NIL") and self.response("ID")[1][0]
        found = text and re.search(rb'"x-server" "([^"]*)"', text)
        return found and found[1].decode()
