"""What dialogues are played with."""

import itertools
import os
import shutil
import tempfile
import pathlib

import pytest

from house import (SERVER, Proxy, Replica, addresses, check_log,
                   make_certificate)
from player import Servers, teach


@pytest.fixture(scope="session")
def folder():
    """Short, for the name of a socket; open, for a user of its own."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="postcell-"))
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def replica(folder):
    make_certificate(folder, "server", [SERVER])
    running = Replica(folder)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def servers(folder, replica):
    listening = Servers(folder / "server.pem")
    yield listening
    listening.close()


class Stage:
    """A proxy of one service at a time. It must outlive all its dialogues."""

    def __init__(self, folder, servers):
        self.folder, self.servers = folder, servers
        self.replica = self.proxy = None

    def set(self, service):
        if not self.proxy or self.proxy.service != service:
            self.clear()
            self.replica = Replica(self.folder / service, service)
            self.proxy = Proxy(
                self.folder / service / "p", next(addresses), self.replica,
                backend="retry_time = 0", relays=1,
                certificate=self.folder / "server.pem").start()
            teach(self.servers, service)
        return self.proxy

    def clear(self):
        if self.proxy:
            proxy, self.proxy = self.proxy, None
            self.replica.stop()
            assert proxy.stop() == 0
            check_log(proxy.log())


@pytest.fixture(scope="session")
def stage(folder, servers):
    made = Stage(folder, servers)
    yield made
    made.clear()


@pytest.fixture(scope="session")
def proxy(folder, replica):
    """The one of all dialogues; it must outlive them."""
    running = Proxy(folder / "p", next(addresses), replica,
                    backend="retry_time = 0").start()
    yield running
    assert running.stop() == 0
    check_log(running.log())


@pytest.fixture
def make_proxy(folder, replica, request):
    """Proxies of one test alone."""
    made = []

    def make(**options):
        made.append(Proxy(folder / f"p{next(numbers)}", next(addresses),
                          replica, **options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


numbers = itertools.count(1)
