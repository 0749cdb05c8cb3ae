import pytest
import torch
from torch import nn

from coursekit.models import ConvVAE
from coursekit.training import load_checkpoint, load_weights, save_checkpoint


def test_what_was_saved_comes_back(tmp_path):
    path = tmp_path / "new" / "last.pt"
    model = nn.Linear(3, 2)
    save_checkpoint(path, {"model": model.state_dict(), "step": 7})
    state = load_checkpoint(path)
    other = nn.Linear(3, 2)
    load_weights(other, state["model"], path)
    assert torch.equal(other.weight, model.weight)
    assert state["step"] == 7
    assert [p.name for p in path.parent.iterdir()] == ["last.pt"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"model": {}, "step": 1})

    def full_disk(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="make room on the disk"):
        save_checkpoint(path, {"model": {}, "step": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
    assert load_checkpoint(path)["step"] == 1


def test_others_may_read_what_they_may_read_of_any_file(tmp_path):
    save_checkpoint(tmp_path / "last.pt", {"model": {}})
    (tmp_path / "plain").write_bytes(b"")
    modes = {(tmp_path / name).stat().st_mode for name in ("last.pt", "plain")}
    assert len(modes) == 1


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"model": {}})

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", denied)
    with pytest.raises(PermissionError, match="Permission denied"):
        load_checkpoint(path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="choose a folder that can be written"):
        save_checkpoint(tmp_path / "file" / "last.pt", {"model": {}})


def test_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="train with checkpoints="):
        load_checkpoint(tmp_path / "last.pt")


class Hostile:
    def __reduce__(self):
        return (print, ("this must not run",))


@pytest.mark.parametrize("content", ["text", "truncated", "no model", "code"])
def test_files_that_are_no_checkpoints(tmp_path, content, capsys):
    path = tmp_path / "last.pt"
    if content == "text":
        path.write_bytes(b"hello")
    elif content == "no model":
        torch.save({"step": 1}, path)
    elif content == "code":
        torch.save({"model": Hostile()}, path)
    else:
        save_checkpoint(path, {"model": nn.Linear(50, 50).state_dict()})
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a checkpoint of coursekit"):
        load_checkpoint(path)
    assert capsys.readouterr().out == ""


def test_a_checkpoint_of_another_model(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"model": ConvVAE((1, 8, 8), 3, widths=(4,)).state_dict()})
    weights = load_checkpoint(path)["model"]
    with pytest.raises(ValueError, match=r"'to_mu.weight' is \(3, 64\) in the file and \(5, 64\)"):
        load_weights(ConvVAE((1, 8, 8), 5, widths=(4,)), weights, path)
    with pytest.raises(ValueError, match=r"'encoder.1.0.weight' is absent in the file"):
        load_weights(ConvVAE((1, 8, 8), 3, widths=(4, 4)), weights, path)
