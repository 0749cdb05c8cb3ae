"""The pages that gather something from every chapter."""

import chapters
import overview
import pytest

from coursekit import exercises

each_chapter = pytest.mark.parametrize(
    "path", chapters.chapters(chapters.SOLUTIONS), ids=lambda path: path.stem
)


@pytest.mark.parametrize("name", overview.PAGES)
def test_pages_are_up_to_date(name):
    expected = overview.page(overview.PAGES[name])
    assert (chapters.BOOK / name).read_text() == expected, "run python tools/overview.py"


@each_chapter
def test_every_exercise_is_listed_with_its_effort(path):
    tasks = overview.chapter(path).tasks
    assert {task.record.id for task in tasks} == {e.id for e in exercises.chapter(path.stem)[0]}
    assert [task.record.id for task in tasks if not task.effort] == []


def test_instructors_see_mistakes_and_rubrics_and_students_do_not():
    text = overview.for_instructors()
    known, questions = exercises.chapter("vae")
    assert known[0].misconceptions[0].says in text
    assert "After [this chapter](03_vae.ipynb), students can\n\n1. say why" in text
    assert questions[0].rubric.split("\n")[0] in text
    for name in overview.PAGES:
        assert questions[0].rubric.split("\n")[0] not in (chapters.BOOK / name).read_text()
