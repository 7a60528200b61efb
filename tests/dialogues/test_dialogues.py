"""Each file is a dialogue; after each the next good login works."""

import pathlib

import pytest

from player import Player, log_in

FILES = sorted(pathlib.Path(__file__).parent.glob("*/*.dialogue"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_dialogue(path, proxy, servers):
    Player(proxy, servers).play(path.read_text(), path.name)
    log_in(proxy, servers)


def test_there_are_dialogues():
    assert len(FILES) > 20
