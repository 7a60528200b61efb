"""The cell's name server: the generic name and every host."""

import socket

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

from layout import DNS_PORT, DOMAIN, HOST, PROXIES, PUBLISHERS
from server import Server, find_program

TTL = 5  # s; the map may change at any time

KEY = """\
  - id: {name}
    algorithm: hmac-sha256
    secret: {secret}"""


class Knot(Server):
    name = "dns1"

    def __init__(self, layout, settings):
        super().__init__(layout, settings)
        self.address = layout.addresses[self.name]
        self.endpoints = [(self.address, DNS_PORT, socket.SOCK_DGRAM),
                          (self.address, DNS_PORT, socket.SOCK_STREAM)]
        self.conf = layout.conf / "knot.conf"

    def make(self):
        data = self.layout.data / self.name
        data.mkdir(parents=True)
        run = self.layout.run / self.name
        run.mkdir(mode=0o700)
        (data / "cell.zone").write_text(self.zone())
        self.write_conf("knot.conf.in", self.conf.name, run=run,
                        address=self.address, port=DNS_PORT, data=data,
                        domain=DOMAIN, publishers=", ".join(PUBLISHERS),
                        keys="\n".join(
                            KEY.format(name=name,
                                       secret=self.settings[f"{name}_tsig"])
                            for name in PUBLISHERS))

    def keytabs(self):
        return [(self.layout.conf / f"{self.name}.keytab",
                 [f"DNS/{self.name}.{DOMAIN}"])]

    def zone(self):
        lines = [f"$ORIGIN {DOMAIN}.", f"$TTL {TTL}",
                 f"@ SOA {self.name} hostmaster 1 3600 600 86400 {TTL}",
                 f"@ NS {self.name}"]
        lines += [f"{HOST}. A {self.layout.addresses[name]}"
                  for name in PROXIES]
        lines += [f"{name} A {address}"
                  for name, address in self.layout.addresses.items()]
        return "\n".join(lines) + "\n"

    def command(self):
        return [find_program("knotd"), "-c", self.conf]

    def is_up(self):
        return bool(resolve(self.layout, HOST, timeout=0.5))


def resolve(layout, name, timeout=2.0):
    """IPv4 addresses of a name, in the order of the answer."""
    query = dns.message.make_query(name, dns.rdatatype.A)
    try:
        answer = dns.query.udp(query, layout.addresses[Knot.name],
                               timeout=timeout, port=DNS_PORT)
    except (OSError, dns.exception.DNSException):
        return []
    return [str(record) for found in answer.answer for record in found
            if record.rdtype == dns.rdatatype.A]
