"""A load balancer in front of the proxies, where HAProxy is installed: it tells
them by PROXY v2 whom it connects for, and hears of their health by HTTP."""

import os
import shutil
import socket

import daemons
from layout import (BALANCED_PORTS, BALANCERS, METRICS_PORT, PORTS, PROXIES)
from server import PROGRAM_PATH, Server, find_program

LISTEN = """
listen {kind}
	bind {address}:{port}
	source {address}
{servers}
"""


def is_used():
    return shutil.which("haproxy", path=PROGRAM_PATH) is not None


class Balancer(Server):
    def __init__(self, layout, settings, name=next(iter(BALANCERS))):
        super().__init__(layout, settings)
        self.name = name
        self.address = layout.addresses[name]
        self.endpoints = [(self.address, PORTS[kind], socket.SOCK_STREAM)
                          for kind in BALANCED_PORTS]
        self.conf = layout.conf / f"{name}.conf"

    def make(self):
        self.write_conf(
            "haproxy.conf.in", self.conf.name, address=self.address,
            user=f"user {daemons.USER}" if os.getuid() == 0 else "",
            health="\n".join(
                f"\tserver {name} {self.layout.addresses[name]}:{METRICS_PORT}"
                " check" for name in PROXIES),
            services="".join(self.service(kind) for kind in BALANCED_PORTS))

    def service(self, kind):
        servers = "\n".join(
            f"\tserver {name} {self.layout.addresses[name]}:"
            f"{BALANCED_PORTS[kind]} send-proxy-v2 track proxies/{name}"
            for name in PROXIES)
        return LISTEN.format(kind=kind, address=self.address,
                             port=PORTS[kind], servers=servers)

    def command(self):
        return [find_program("haproxy"), "-db", "-f", self.conf]
