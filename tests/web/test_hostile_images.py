"""Hostile files against the real program, by every way in."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from imaging.corpus import CORPUS, expected
from imaging.corpus_odd import truncations
from imgsvc.imaging.formats import ImageFormat
from standins.ghostscript import GhostscriptTrap, ghostscript_trap
from standins.hostile_caller import Answer, HostileCaller, Way, hostile_caller
from standins.pictures import picture
from standins.processes import (
    children_of,
    forget_most_resident,
    is_alive,
    most_resident,
    resident,
)
from standins.server_process import ServerProcess, server_process

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_GROWTH = 32 * 2**20  # bytes
TAKEN = Answer(200, "taken")
FEW = [name for name in CORPUS if not name.startswith("foreign-")][::6]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A server under attack."""

    server: ServerProcess
    caller: HostileCaller
    trap: GhostscriptTrap
    memory: int  # bytes, when it had edited a few good pictures

    @property
    def pid(self) -> int:
        return self.server.process.pid


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    """Start a server that finds a `gs` in its PATH, and end it when no test is left."""
    folder = tmp_path_factory.mktemp("hostile")
    with ghostscript_trap(folder) as trap:
        path = f"{trap.folder}{os.pathsep}{os.environ['PATH']}"
        async with (
            server_process(folder / "data", environment={"PATH": path}) as server,
            hostile_caller(server.url, folder / "data") as caller,
        ):
            for way in (Way.BASE64, Way.URL, Way.OBJECT):
                assert await caller.send(picture(), way) == TAKEN
            children = children_of(server.process.pid)
            assert children
            memory = resident(server.process.pid)
            forget_most_resident(server.process.pid)
            yield Target(server=server, caller=caller, trap=trap, memory=memory)
            assert len(children_of(server.process.pid)) == len(children)
            children |= children_of(server.process.pid)
        assert not [pid for pid in children if is_alive(pid)]
        assert not trap.was_run


@pytest.mark.parametrize(
    ("way", "names"),
    [
        (Way.BASE64, FEW),
        *(pytest.param(way, list(CORPUS), marks=pytest.mark.slow) for way in Way),
    ],
    ids=["few", *Way],
)
async def test_every_hostile_file_is_refused_and_the_server_stays_small(
    way: Way, names: list[str], target: Target
) -> None:
    wrong: dict[str, Answer] = {}
    for name in names:
        answer = await target.caller.send(CORPUS[name].make(), way)
        if answer.code not in expected(name, way) or (answer != TAKEN and answer.status >= 500):
            wrong[name] = answer
    assert wrong == {}
    assert most_resident(target.pid) - target.memory < MOST_GROWTH
    assert not target.trap.was_run
    assert await target.caller.send(picture(), Way.BASE64) == TAKEN


@pytest.mark.slow
async def test_pictures_cut_at_64_points_are_refused_in_every_format(target: Target) -> None:
    cut = {
        f"{image_format}-{length}.png": data
        for image_format in ImageFormat
        for length, data in truncations(image_format)
    }
    answers = await target.caller.batch(cut)
    assert set(answers) == set(cut)
    assert {each.code for each in answers.values()} <= {"not_an_image", "corrupt_image"}
    assert most_resident(target.pid) - target.memory < MOST_GROWTH


@pytest.mark.slow
async def test_a_picture_cut_short_is_refused_by_base64_and_url_too(target: Target) -> None:
    for image_format in ImageFormat:
        for length, data in list(truncations(image_format))[1::21]:
            for way in (Way.BASE64, Way.URL):
                answer = await target.caller.send(data, way)
                assert answer.code in {"not_an_image", "corrupt_image"}, (image_format, length)
