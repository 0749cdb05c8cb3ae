"""`coursekit data`, as it is typed."""

import argparse

import pytest

from coursekit import data
from coursekit.data import DataError, commands


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path))
    return tmp_path


def run(*argv):
    parser = argparse.ArgumentParser()
    commands.add_parser(parser.add_subparsers())
    args = parser.parse_args(["data", *argv])
    return args.run(args)


def test_the_list_names_every_set_and_says_what_is_here(capsys, home):
    assert tuple(commands._WHAT) == data.NAMES
    (home / "celeba").mkdir()
    (home / "celeba" / "img_align_celeba.zip").touch()
    assert run() == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert set(data.NAMES) < set(lines)
    assert " drawn " in lines["faces"]
    assert " here " in lines["celeba"]
    assert " to download " in lines["mnist"]


def test_a_set_is_read_split_by_split(capsys):
    assert run("digits", "--size", "3", "--resolution", "20", "30") == 0
    out = capsys.readouterr().out
    for split in ("train", "validation", "test"):
        assert f"ImageSet('digits', '{split}': 3 images of 1x20x30" in out
    assert "licence:" in out


def test_damaged_files_give_one_line(home):
    path = home / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte is damaged") as caught:
        run("mnist")
    assert "\n" not in str(caught.value)


def test_unknown_names_are_refused(capsys):
    with pytest.raises(SystemExit):
        run("mnits")
    assert "invalid choice: 'mnits'" in capsys.readouterr().err
