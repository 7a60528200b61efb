"""One user, one server, always: the proof, on real servers.

Forty users with sessions all the time, mail and fetches for them through both
proxies, while servers are killed, stopped, drained, returned and reweighted,
proxies and directories restarted. What the servers' own logs say of who was
where is counted: nobody at two servers at one moment, no index error, no mail
lost. The same without affinity shows overlaps: the count can fail.

POSTCELL_PROOF_TIME: s of trouble, 60 unless told otherwise.
"""

import os
import time

import pytest

import presence
from proof import proving

NET = os.environ.get("POSTCELL_PROOF_NET", "127.0.37")
CONTROL = 12  # s without affinity


@pytest.fixture(scope="module")
def proof(build, tmp_path_factory):
    with proving(build / "proof", NET, build,
                 tmp_path_factory.mktemp("proof")) as made:
        yield made


def test_nobody_is_on_two_servers(proof):
    proof.start()
    try:
        proof.trouble()
    finally:
        proof.stop()
    found = proof.presences()
    pairs = presence.overlaps(found)
    lost, odd, twice, stored = proof.check_mail()
    damage = proof.damage()
    proof.report(found, pairs, twice, stored)
    assert len({each.user for each in found}) >= len(proof.people)
    assert not pairs, f"{len(pairs)} overlaps:\n{proof.told(pairs)}"
    assert not lost, lost[:20]
    assert not odd, odd[:20]
    assert not damage, "\n".join(damage[:20])
    assert not proof.happened("given_up")


def test_without_affinity_the_count_fails(proof):
    """The control."""
    proof.calm()
    proof.set_pool("postcellAffinity", "none")
    try:
        proof.start()
        time.sleep(CONTROL)
        proof.stop()
    finally:
        proof.set_pool("postcellAffinity", "user")
    pairs = presence.overlaps(proof.presences())
    print(f"\noverlaps without affinity: {len(pairs)}")
    assert len(pairs) > 20
