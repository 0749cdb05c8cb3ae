"""What check() remembers: a small file, a line under each check, a command."""

import json

import pytest

from coursekit.cli import main
from coursekit.exercises import chapter, exercise
from coursekit.grading import check
from coursekit.grading.checks import progress

KL = exercise("vae.kl").solve
ALL = len(chapter("vae")[0])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_PROGRESS", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wrong(mu, logvar):
    return mu.sum(dim=1)


def test_a_check_that_passes_is_remembered(folder, capsys):
    check("vae.kl", wrong)
    assert f"Solved in this chapter: none (0 of {ALL}).\n" in capsys.readouterr().out
    assert list(folder.iterdir()) == []
    check("vae.kl", KL)
    assert f"Solved in this chapter: kl (1 of {ALL}).\n" in capsys.readouterr().out
    kept = json.loads((folder / progress.NAME).read_text())["solved"]
    assert list(kept) == ["vae.kl"]
    check("vae.kl", wrong)  # a later mistake takes nothing back
    assert f"kl (1 of {ALL}).\n" in capsys.readouterr().out


def test_the_command_lists_every_chapter(folder, capsys):
    check("vae.kl", KL)
    capsys.readouterr()
    assert main(["progress"]) == 0
    out = capsys.readouterr().out
    assert f"vae: 1 of {ALL}\n  solved vae.kl (20" in out
    assert "  open   vae.elbo\n" in out
    assert main(["progress", "nowhere"]) == 2
    assert "give the folder of your notebooks" in capsys.readouterr().err


def test_off_and_elsewhere(folder, monkeypatch, capsys):
    monkeypatch.setenv("COURSEKIT_PROGRESS", "off")
    check("vae.kl", KL)
    assert "Solved in" not in capsys.readouterr().out
    monkeypatch.setenv("COURSEKIT_PROGRESS", str(folder / "deep" / "mine.json"))
    check("vae.kl", KL)
    assert list((folder / "deep").iterdir()) == [folder / "deep" / "mine.json"]
    assert not (folder / progress.NAME).exists()


def test_google_drive_keeps_it_where_it_is_mounted(folder, monkeypatch, capsys):
    drive = folder / "MyDrive"
    drive.mkdir()
    monkeypatch.setattr(progress, "_DRIVE", drive)
    check("vae.kl", KL)
    assert (drive / progress.NAME).exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"solved": 3}', "\0"])
def test_a_damaged_file_counts_as_empty(folder, capsys, text):
    (folder / progress.NAME).write_text(text)
    check("vae.kl", KL)
    assert f"kl (1 of {ALL}).\n" in capsys.readouterr().out


def test_a_place_that_cannot_be_written_stops_nothing(folder, monkeypatch, capsys):
    (folder / "file").write_text("")
    monkeypatch.setenv("COURSEKIT_PROGRESS", str(folder / "file" / "x.json"))
    assert check("vae.kl", KL)
    assert f"none (0 of {ALL}).\n" in capsys.readouterr().out
