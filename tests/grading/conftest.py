"""What the grader's tests share: the hostile submissions beside them, and one sandbox."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def server() -> Iterator[object]:
    """A server in the best sandbox that works here. Starting one costs seconds, forking none."""
    from coursekit.exercises import chapter, chapters
    from coursekit.grading.sandbox.levels import Walls, start
    from coursekit.grading.sandbox.server import Limits

    if os.name != "posix":
        pytest.skip("grading needs processes that fork")
    os.environ["TOKEN_OF_THE_GRADER"] = "not for students"
    every = [exercise for name in chapters() for exercise in chapter(name)[0]]
    own = {name for exercise in every for name in exercise.forbids}
    walls = Walls(limits=Limits(submission=60.0), refuse=tuple(sorted(own)))
    server = start(walls)
    yield server
    server.close()
    del os.environ["TOKEN_OF_THE_GRADER"]


@pytest.fixture
def shared(server, monkeypatch: pytest.MonkeyPatch):
    """Graders of this test use the session's server and leave it running."""
    monkeypatch.setattr("coursekit.grading.gradebook.grade.start", lambda walls: server)
    monkeypatch.setattr(type(server), "close", lambda self: None)
    yield server
    monkeypatch.undo()
