"""The mail exchanger, which takes what is submitted for the cell's people."""

import pathlib
import socket

from layout import DOMAIN, EXCHANGER_PORT, EXCHANGERS, PORTS, PROXIES
from server import Server


class Exchanger(Server):
    def __init__(self, layout, settings, name=next(iter(EXCHANGERS))):
        super().__init__(layout, settings)
        self.name = name
        self.address = layout.addresses[name]
        self.endpoints = [(self.address, EXCHANGER_PORT, socket.SOCK_STREAM)]

    def command(self):
        return ["/usr/bin/python3",
                pathlib.Path(__file__).with_name("exchange.py"),
                f"{self.name}.{DOMAIN}", f"{self.address}:{EXCHANGER_PORT}",
                *(f"{self.layout.addresses[proxy]}:{PORTS['lmtp']}"
                  for proxy in PROXIES)]
