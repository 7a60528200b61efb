"""postcell-zoned against real Knot and BIND 9."""

import pytest

from directory import SUFFIX, wait_until
from nameservers import Bind, DOMAIN, Knot
from replicad import Replicad
from zoned import CellFile, Zoned, address

MAIL = f"mail.{DOMAIN}"


@pytest.fixture
def replica(tmp_path):
    """A replica that follows a file; .cell is the file."""
    cell = CellFile(tmp_path / "cell.ldif")
    replicad = Replicad(tmp_path / "replica", options={
        "source": "ldif", "ldif_file": str(cell.path)})
    replicad.start(wait="connected")
    replicad.cell = cell
    yield replicad
    replicad.stop()


@pytest.fixture(params=[Knot, Bind], ids=["knot", "bind"])
def server(request, tmp_path):
    running = request.param(tmp_path / "dns", "127.0.60.1", 16001).start()
    yield running
    running.stop()


@pytest.fixture
def zoned(replica, server, tmp_path):
    publisher = Zoned(tmp_path / "zoned", replica.path, [server.endpoint])
    yield publisher
    publisher.stop()


def test_publishes_the_cell(zoned, server):
    before = server.foreign()
    zoned.start().wait_settled()
    assert server.addresses(MAIL) == {address(i) for i in (1, 2, 3)}
    assert server.foreign() == before
    print(server.records())
    assert 0
