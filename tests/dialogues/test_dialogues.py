"""Each file is a dialogue; after each the next good login works."""

import pathlib

import pytest

from player import Player, log_in

FILES = sorted(pathlib.Path(__file__).parent.glob("*/*.dialogue"))


def names_of(files):
    return [f"{path.parent.name}-{path.stem}" for path in files]


# Those of one proxy for all, and those of a proxy for their service alone.
TOGETHER = ("imap", "lmtp", "smtp")
SHARED = [path for path in FILES if path.parent.name in TOGETHER]
ALONE = [path for path in FILES if path.parent.name not in TOGETHER]


@pytest.mark.parametrize("path", SHARED, ids=names_of(SHARED))
def test_dialogue(path, proxy, servers):
    Player(proxy, servers).play(path.read_text(), path.name)
    log_in(proxy, servers)


@pytest.mark.parametrize("path", ALONE, ids=names_of(ALONE))
def test_dialogue_of_a_service(path, stage, servers):
    proxy = stage.set(path.parent.name.partition("-")[0])
    Player(proxy, servers).play(path.read_text(), path.name)
    log_in(proxy, servers)


def test_there_are_dialogues():
    assert len(FILES) > 20
