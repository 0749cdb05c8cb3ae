"""Files that are written whole or not at all."""

import pytest

from coursekit.files import replacing, write_text


def test_a_file_is_replaced_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "file"
    write_text(path, "ä")
    with replacing(path) as part:
        part.write_text("second")
        assert part.parent == path.parent
        assert path.read_text(encoding="utf-8") == "ä"
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_still_there(tmp_path, error):
    path = tmp_path / "file"
    write_text(path, "old")

    def fail():
        with replacing(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
