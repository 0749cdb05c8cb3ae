"""The pages that gather something from every chapter."""

import chapters
import overview
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from coursekit import exercises

each_chapter = pytest.mark.parametrize(
    "path", chapters.chapters(chapters.SOLUTIONS), ids=lambda path: path.stem
)


def test_pages_are_up_to_date():
    assert overview.stale() == [], "run python tools/overview.py"


@each_chapter
def test_every_exercise_is_listed_with_its_effort(path):
    tasks = overview.chapter(path).tasks
    unchecked = {e.id for e in exercises.chapter(path.stem)[0]} - {t.record.id for t in tasks}
    assert unchecked == set(), "add a cell with check(...) for each"
    unrated = [task.record.id for task in tasks if not task.effort]
    assert unrated == [], "below the heading: *Difficulty 1 of 3, about 10 minutes.*"
    headings = [task.title for task in tasks]
    assert len(headings) == len(set(headings)), "each exercise has a heading: ## Exercise 1: ..."


def test_an_exercise_does_not_take_the_effort_of_the_one_before():
    texts = "## Exercise 1: a\n\n*Difficulty 1 of 3.*", "## Exercise 2: b\n\nText."
    nb = new_notebook()
    for text, id in zip(texts, ("vae.kl", "vae.elbo"), strict=True):
        nb.cells += [new_markdown_cell(text), new_code_cell(f'check("{id}", f)')]
    found = [(task.title, task.effort) for task in overview.tasks(nb)]
    assert found == [("Exercise 1: a", "Difficulty 1 of 3"), ("Exercise 2: b", "")]


def test_instructors_see_mistakes_and_rubrics_and_students_do_not():
    text = overview.for_instructors()
    known, questions = exercises.chapter("vae")
    assert known[0].misconceptions[0].says in text
    assert "After [this chapter](03_vae.ipynb), students can\n\n1. say why" in text
    assert questions[0].rubric.split("\n")[0] in text
    for name in overview.PAGES:
        assert questions[0].rubric.split("\n")[0] not in (chapters.BOOK / name).read_text()
