"""CelebA on a small archive of drawn faces in exactly its format, served over HTTP."""

import functools
import hashlib
import http.server
import io
import shutil
import threading
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from coursekit import data
from coursekit.data import DataError, celeba

COUNTS = {"train": 50, "validation": 9, "test": 11}
COUNT = sum(COUNTS.values())
BLOCK = 16  # images decoded at a time, here
ATTRIBUTES = ("Bald", "Eyeglasses", "Smiling")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The five files; returns their folder, the pictures and the drawn set."""
    folder = tmp_path_factory.mktemp("celeba")
    drawn = data.load("faces", size=COUNT, resolution=celeba.SIZE)
    names = [f"{i + 1:06d}.jpg" for i in range(COUNT)]
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("img_align_celeba/", "")
        for name, pixels in zip(names, drawn.images, strict=True):
            file = io.BytesIO()
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=90)
            archive.writestr(f"img_align_celeba/{name}", file.getvalue())

    def write(name, lines):
        (folder / name).write_text("".join(f"{line}\n" for line in lines))

    splits = [i for i, count in enumerate(COUNTS.values()) for _ in range(count)]
    signs = torch.stack([drawn.attributes[a] for a in ATTRIBUTES], 1).int() * 2 - 1
    write("list_eval_partition.txt", [f"{n} {s}" for n, s in zip(names, splits, strict=True)])
    write("identity_CelebA.txt", [f"{n} {7 * i + 3}" for i, n in enumerate(names)])
    write(
        "list_attr_celeba.txt",
        [COUNT, " ".join(ATTRIBUTES) + " "]
        + [
            f"{n} " + " ".join(f"{v:2d}" for v in row)
            for n, row in zip(names, signs.tolist(), strict=True)
        ],
    )
    write(
        "list_landmarks_align_celeba.txt",
        [COUNT, "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y "
         "rightmouth_x rightmouth_y"]
        + [f"{n} 69 109 106 113 {i} 142 73 152 108 154" for i, n in enumerate(names)],
    )  # fmt: skip
    return folder, drawn


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path))
    monkeypatch.setattr(celeba, "_BLOCK", BLOCK)
    return tmp_path


@pytest.fixture
def local(made, home):
    """The files, where the package looks for them."""
    shutil.copytree(made[0], home / "celeba")
    return home / "celeba"


@pytest.fixture
def decoded(monkeypatch):
    """The names of the images that are decoded, as they are."""
    names = []
    original = celeba._read

    def read(archive, name, resolution):
        names.append(name)
        return original(archive, name, resolution)

    monkeypatch.setattr(celeba, "_read", read)
    return names


def test_downloaded_over_http_past_a_mirror_with_faults(made, home, monkeypatch):
    folder, drawn = made
    known = {
        path.name: (hashlib.md5(path.read_bytes()).hexdigest(), path.stat().st_size)
        for path in folder.iterdir()
    }
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            asked.append(self.path)
            if not self.path.startswith("/faulty/"):
                super().do_GET()
                return
            content = (folder / self.path.split("/")[-1]).read_bytes()
            if self.path.endswith("zip"):  # the connection ends after half of it
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
            elif "attr" in self.path:  # a page that says no
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"<html>quota exceeded</html>")
            else:  # the right size, one byte wrong
                self.send_response(200)
                self.end_headers()
                self.wfile.write(content[:-2] + b"9\n")

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(celeba, "_FILES", known)
        monkeypatch.setattr(celeba, "_MIRRORS", (address + "faulty/", address))
        faces = data.load("celeba", resolution=celeba.SIZE)
        server.shutdown()
    assert len(asked) == 2 * len(known)
    assert len(faces) == COUNTS["train"]
    # JPEG at quality 90 stays close to the pictures that were drawn.
    assert (faces.images.float() - drawn.images[: len(faces)].float()).abs().mean() < 2.5
    left = {path.name for path in (home / "celeba").iterdir() if path.suffix != ".lock"}
    assert left == {*known, "cache"}
    again = data.load("celeba", resolution=celeba.SIZE)  # offline now
    assert torch.equal(again.images, faces.images)


def test_splits_attributes_identities_landmarks(made, local):
    _, drawn = made
    start = 0
    for split, count in COUNTS.items():
        faces = data.load("celeba", split)
        assert faces.images.shape == (count, 3, 64, 64)
        chosen = slice(start, start + count)
        assert set(faces.attributes) == set(ATTRIBUTES)
        for name in ATTRIBUTES:
            assert torch.equal(faces.attributes[name], drawn.attributes[name][chosen])
        assert faces.labels.tolist() == [7 * i + 3 for i in range(start, start + count)]
        assert faces.annotations["landmarks"].shape == (count, 5, 2)
        start += count
    assert faces.citation
    assert "non-commercial" in faces.licence
    some = faces.subset([0, 2])
    assert some.annotations["landmarks"].shape == (2, 5, 2)
    with pytest.raises(ValueError, match="split is 'valid', but one of train, validation, test is"):
        data.load("celeba", "valid")
    with pytest.raises(ValueError, match="size is 12, but 'celeba' has only 11 test"):
        data.load("celeba", "test", size=12)


def test_the_middle_is_cut_out_and_scaled(made, local):
    _, drawn = made
    faces = data.load("celeba", size=8)
    middle = drawn.images[:8, :, 20:198].float()
    expected = torch.nn.functional.interpolate(
        middle, size=(64, 64), mode="bilinear", antialias=True
    )
    assert (faces.images.float() - expected).abs().mean() < 2
    wide = data.load("celeba", size=8, resolution=(30, 60))  # 178x89 in the middle
    expected = torch.nn.functional.interpolate(
        drawn.images[:8, :, 64:153].float(), size=(30, 60), mode="bilinear", antialias=True
    )
    assert (wide.images.float() - expected).abs().mean() < 4


def test_landmarks_follow_the_cut(local):
    whole = data.load("celeba", size=2, resolution=celeba.SIZE).annotations["landmarks"]
    assert whole[0].tolist() == [[69, 109], [106, 113], [0, 142], [73, 152], [108, 154]]
    square = data.load("celeba", size=2, resolution=(89, 89)).annotations["landmarks"]
    assert torch.allclose(square[0, 0], torch.tensor([69.0, 109 - 20]) / 2)


def test_only_what_is_asked_for_is_decoded_and_only_once(local, decoded):
    for _ in range(2):
        data.load("celeba", size=10)
        assert sorted(decoded) == [f"{i + 1:06d}.jpg" for i in range(10)]
    decoded.clear()
    for _ in range(2):
        for split in COUNTS:
            data.load("celeba", split)
        assert sorted(decoded) == [f"{i + 1:06d}.jpg" for i in range(COUNT)]
    decoded.clear()
    data.load("celeba", size=3, resolution=(32, 32))
    assert len(decoded) == 3


def test_an_interrupted_decoding_leaves_nothing(local, decoded, monkeypatch):
    counted = celeba._read

    def interrupt(archive, name, resolution):
        if len(decoded) == 2 * BLOCK + 3:
            raise KeyboardInterrupt
        return counted(archive, name, resolution)

    with monkeypatch.context() as patch:
        patch.setattr(celeba, "_processors", lambda: 1)
        patch.setattr(celeba, "_read", interrupt)
        with pytest.raises(KeyboardInterrupt):
            data.load("celeba")
    assert list((local / "cache").iterdir()) == []
    assert len(data.load("celeba")) == COUNTS["train"]


def test_a_cache_of_the_wrong_length_is_made_anew(local):
    whole = data.load("celeba").images.clone()
    (path,) = (local / "cache").iterdir()
    for damage in (path.unlink, lambda: path.write_bytes(b"short")):
        damage()
        assert torch.equal(data.load("celeba").images, whole)


def test_another_archive_has_another_cache(made, local):
    before = data.load("celeba", size=4).images.clone()
    with zipfile.ZipFile(local / "img_align_celeba.zip") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    second, third = "img_align_celeba/000002.jpg", "img_align_celeba/000003.jpg"
    contents[second], contents[third] = contents[third], contents[second]
    with zipfile.ZipFile(local / "img_align_celeba.zip", "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    after = data.load("celeba", size=4).images
    assert torch.equal(after, before[[0, 2, 1, 3]])


def test_changes_to_the_images_do_not_reach_the_cache(local):
    first = data.load("celeba", size=4)
    before = first.images.clone()
    first.images.zero_()
    assert torch.equal(data.load("celeba", size=4).images, before)


def test_a_complete_cache_may_be_read_only(local, monkeypatch):
    whole = data.load("celeba").images.clone()

    def refuse(*args):
        raise AssertionError("nothing may be written")

    for name in ("make_folder", "replacing"):
        monkeypatch.setattr(celeba, name, refuse)
    assert torch.equal(data.load("celeba").images, whole)


def test_disk_full(local, monkeypatch):
    usage = type(shutil.disk_usage("."))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6, 0))
        with pytest.raises(OSError, match=r"0\.6 MB are needed for decoded images, but only 0\.0"):
            data.load("celeba")


def swap(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("list_eval_partition.txt", b"000003.jpg 0", b"000003.jpg 3", "a split is not 0, 1 or 2"),
        ("list_eval_partition.txt", b"000003.jpg 0", b"000002.jpg 0", "a name occurs twice"),
        ("list_eval_partition.txt", b"000003.jpg 0", b"000003.jpg", "a name and a number on every"),
        ("list_eval_partition.txt", b"000003.jpg 0", b"000003.jpg x", "is damaged"),
        ("list_attr_celeba.txt", b"70\n", b"71\n", "announces 71 images"),
        ("list_attr_celeba.txt", b"000003.jpg", b"000004.jpg", "one line of 3 numbers for each"),
        ("list_attr_celeba.txt", b"Bald ", b"", "one line of 2 numbers for each"),
        ("list_attr_celeba.txt", b"000003.jpg", b"000003.jpg 1", "one line of 3 numbers for each"),
        ("list_attr_celeba.txt", b" -1", b" 99", "should hold only 1 and -1"),
        ("list_attr_celeba.txt", b"Bald", b"\xff\xfe", "is not a text file"),
        ("identity_CelebA.txt", b"000070.jpg 486", b"000070.jpg", "one line of 1 numbers"),
        ("identity_CelebA.txt", b" 17\n", b" 99999999999999999999\n", "is damaged"),
        ("list_landmarks_align_celeba.txt", b" nose_x", b"", "one line of 9 numbers"),
    ],
)
def test_damaged_lists(local, name, old, new, message):
    swap(local / name, old, new)
    with pytest.raises(DataError, match=message) as caught:
        data.load("celeba")
    assert name in str(caught.value)


def rewrite(local, change):
    """The archive with `change` (name, content) -> content or None applied to every member."""
    path = local / "img_align_celeba.zip"
    with zipfile.ZipFile(path) as archive:
        contents = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents:
            new = change(name, content)
            if new is not None:
                archive.writestr(name, new)


def picture(size=(178, 218), form="JPEG"):
    file = io.BytesIO()
    Image.new("RGB", size).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: None, r"lacks img_align_celeba/000003\.jpg"),
        (lambda content: content[:2000], r"000003\.jpg is damaged \(.*truncated"),
        (lambda content: b"", r"000003\.jpg is damaged \(cannot identify"),
        (lambda content: b"<html>", r"000003\.jpg is damaged \(cannot identify"),
        (lambda content: picture((64, 64)), r"000003\.jpg is damaged \(it is 64x64, not 178x218"),
        (lambda content: picture(form="PNG"), r"000003\.jpg is damaged \(cannot identify"),
        (lambda content: bytes(2_000_000), r"000003\.jpg is damaged \(it has 2000000 bytes"),
    ],
)
def test_damaged_pictures(local, change, message):
    rewrite(local, lambda name, content: change(content) if "000003" in name else content)
    with pytest.raises(DataError, match=message):
        data.load("celeba")
    with pytest.raises(DataError, match=message):  # and it stays undone
        data.load("celeba")


def test_damaged_archives(local, monkeypatch):
    path = local / "img_align_celeba.zip"
    good = path.read_bytes()
    for bad in (b"", b"<html>quota</html>", good[: len(good) // 2], good[-1000:]):
        path.write_bytes(bad)
        with pytest.raises(
            DataError, match=r"img_align_celeba\.zip is not a whole zip|lacks|damaged"
        ):
            data.load("celeba")
        assert path.read_bytes() == bad
    bad = bytearray(good)
    bad[5000] ^= 0xFF  # inside of a picture: the zip's own checksum finds it
    path.write_bytes(bad)
    with pytest.raises(DataError, match=r"0000\d\d\.jpg is damaged"):
        data.load("celeba")


def test_members_with_other_paths_are_never_touched(local, home):
    with zipfile.ZipFile(local / "img_align_celeba.zip", "a") as archive:
        archive.writestr("../../escaped.txt", "x")
        archive.writestr("/tmp/escaped-from-celeba.txt", "x")
    assert len(data.load("celeba")) == COUNTS["train"]
    assert not list(home.parent.glob("**/escaped*"))


def test_offline(home, monkeypatch):
    monkeypatch.setattr(celeba, "_MIRRORS", ("http://127.0.0.1:9/",))
    with pytest.raises(FileNotFoundError, match=r'data\.load\("faces"\) needs no file'):
        data.load("celeba")


fuzzed = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LINES = b"2\nBald Smiling\na.jpg 1 -1\nb.jpg -1 -1\n"


@fuzzed
@given(
    content=st.one_of(
        st.binary(max_size=80),
        st.lists(
            st.sampled_from([*LINES.split(), b"\n", b"3", b"c.jpg", b"\xc3"]), max_size=14
        ).map(b" ".join),
    )
)
@example(content=LINES)
def test_fuzz_lists(home, content):
    path = home / "list"
    path.write_bytes(content)
    for header in (True, False):
        try:
            columns, numbers = celeba._table(path, ["a.jpg", "b.jpg"], header)
        except DataError:
            continue
        assert numbers.shape == (2, len(columns) if header else 1)
        assert content.split()[-len(numbers[1]) - 1] == b"b.jpg"
    try:
        names, places = celeba._partition(path)
    except DataError:
        return
    assert len(names) == len(places)


@fuzzed
@given(
    at=st.floats(0, 1), how=st.sampled_from(["set", "cut", "truncate"]), byte=st.integers(0, 255)
)
def test_fuzz_archive_and_pictures(home, made, at, how, byte):
    small = home / "small.zip"
    if not small.exists():
        with zipfile.ZipFile(made[0] / "img_align_celeba.zip") as archive:
            content = archive.read("img_align_celeba/000001.jpg")
        with zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("img_align_celeba/000001.jpg", content)
        (home / "picture").write_bytes(content)
    for source, inside in ((small, False), (home / "picture", True)):
        content = bytearray(source.read_bytes())
        place = int(at * (len(content) - 1))
        if how == "set":
            content[place] = byte
        elif how == "cut":
            del content[place : place + 1 + byte]
        else:
            del content[place:]
        if inside:  # a picture that is damaged under a checksum that is right
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("img_align_celeba/000001.jpg", bytes(content))
            content = file.getvalue()
        path = home / "fuzzed.zip"
        path.write_bytes(content)
        try:
            with celeba._open(path) as archive:
                pixels = celeba._read(archive, "000001.jpg", (64, 64))
        except DataError:
            continue
        assert pixels.shape == (3, 64, 64)
        assert pixels.dtype == np.uint8
