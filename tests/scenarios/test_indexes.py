"""What becomes of indexes where a user is on two servers, and where not.

Each server has an index directory of its own over one store of sdbox, which
does not bear a second server: what one of them did the others do not know.
Nothing fails here, nobody is moved. With affinity no server has an error to
tell; without, they break at once.
"""

import os
import time

import pytest

import dovecot
from proof import proving

NET = os.environ.get("POSTCELL_INDEX_NET", "127.0.38")
LOAD = 10  # s


@pytest.fixture(scope="module")
def proof(build, tmp_path_factory):
    before = dovecot.MAIL_LOCATION
    dovecot.MAIL_LOCATION = "sdbox:~/sdbox:INDEX={mail}/{name}-index/%u"
    try:
        with proving(build / "indexes", NET, build,
                     tmp_path_factory.mktemp("indexes")) as made:
            yield made
    finally:
        dovecot.MAIL_LOCATION = before


def load(proof):
    proof.start()
    try:
        time.sleep(LOAD)
    finally:
        proof.stop()
    return proof.damage()


def test_with_affinity_there_is_no_error(proof):
    damage = load(proof)
    assert proof.happened("stored")
    assert not damage, "\n".join(damage[:20])


def test_without_affinity_there_are_many(proof):
    """The control; what it breaks stays broken."""
    proof.set_pool("postcellAffinity", "none")
    damage = load(proof)
    print(f"\nerrors without affinity: {len(damage)}")
    assert len(damage) > 20
