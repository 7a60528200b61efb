"""Each file is a dialogue; after each the next good login works."""

import pathlib

import pytest

from player import Player, log_in

FILES = sorted(pathlib.Path(__file__).parent.glob("*/*.dialogue"))


def names_of(files):
    return [f"{path.parent.name}-{path.stem}" for path in files]


# Those of hubs have many servers, which the proxy of IMAP's has beside its own.
IMAP = [path for path in FILES if path.parent.name in ("imap", "hubs")]
OTHERS = [path for path in FILES if path not in IMAP]


@pytest.mark.parametrize("path", IMAP, ids=names_of(IMAP))
def test_dialogue(path, proxy, servers):
    Player(proxy, servers).play(path.read_text(), path.name)
    log_in(proxy, servers)


@pytest.mark.parametrize("path", OTHERS, ids=names_of(OTHERS))
def test_dialogue_of_other_services(path, stage, servers):
    proxy = stage.set(path.parent.name)
    Player(proxy, servers).play(path.read_text(), path.name)
    log_in(proxy, servers)


def test_there_are_dialogues():
    assert len(FILES) > 20
