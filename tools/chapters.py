"""What the maintainers' scripts share: where chapters are, how they are read, run and written."""

from __future__ import annotations

import asyncio
import atexit
import base64
import copy
import hashlib
import io
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.cache.main import JupyterCacheBase
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image
from tqdm import tqdm
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
SOLUTIONS = ROOT / "solutions"
CACHE = ROOT / "_build" / ".jupyter_cache"
CELL_TIMEOUT = 900  # seconds; a chapter that hangs must not hang CI

LARGE = 60_000  # characters of base64; a picture above is stored in 256 colors

WIDGET = "application/vnd.jupyter.widget-view+json"


def read(path: Path) -> NotebookNode:
    """Read a notebook, without the metadata that editors and kernels leave in it."""
    nb = nbformat.read(path, as_version=4)
    nb.nbformat_minor = 5
    nb.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict(
            # `mystnb` holds a figure's alternative text.
            {key: cell.metadata[key] for key in ("tags", "mystnb") if cell.metadata.get(key)}
        )
    return nb


def smaller(nb: NotebookNode) -> NotebookNode:
    """The notebook with its large pictures in 256 colors, a quarter of their size.

    For dense screens a grid of color images takes up to 600,000 bytes, and a notebook may have 1.5
    million. A picture below LARGE stays as it is.
    """
    nb = copy.deepcopy(nb)
    for cell in code_cells(nb):
        for output in cell.outputs:
            data = output.get("data", {})
            if len(data.get("image/png", "")) > LARGE:
                with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as picture:
                    reduced = picture.convert("RGB").quantize(256)
                buffer = io.BytesIO()
                reduced.save(buffer, "png", optimize=True, dpi=picture.info.get("dpi", (100, 100)))
                shorter = base64.b64encode(buffer.getvalue()).decode()
                if len(shorter) < 0.7 * len(data["image/png"]):  # else it was reduced before
                    data["image/png"] = shorter
    return nb


def write(path: Path, nb: NotebookNode) -> None:
    """Write a notebook in one step: an interrupted run leaves the old file whole."""
    nbformat.validate(nb)
    temporary = path.with_suffix(".ipynb.part")
    temporary.write_text(nbformat.writes(nb) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def run(notebooks: dict[str, NotebookNode]) -> tuple[dict[str, NotebookNode], list[str]]:
    """Give every notebook the outputs of a fresh run.

    A notebook runs only if its code, or coursekit, has changed since it last ran; several run at
    once, one per core. `notebooks` maps a name for the reader to a notebook.

    Returns: the notebooks under the same names, and the names of those that failed. A notebook
    that failed has the outputs up to its error, and runs again the next time.
    """
    cache = _open_cache()
    stale = {name: nb for name, nb in notebooks.items() if _outputs(cache, nb) is None}

    def keep(name: str, ran: Run) -> None:
        bundle = CacheBundleIn(ran.notebook, name, data={"execution_seconds": ran.seconds})
        cache.cache_notebook_bundle(bundle, overwrite=True)

    try:
        ran = asyncio.run(_run_all(stale, keep)) if stale else {}
    except asyncio.CancelledError:
        sys.exit("Interrupted. The notebooks that had run to their end will not run again.")
    done = {}
    for name, nb in notebooks.items():
        cells = code_cells(ran[name].notebook) if name in ran else _outputs(cache, nb)
        done[name] = copy.deepcopy(nb)
        for cell, fresh in zip(code_cells(done[name]), cells or [], strict=True):
            cell.outputs, cell.execution_count = fresh.outputs, fresh.execution_count
    print(f"{len(stale)} of {len(notebooks)} notebooks ran, the others had not changed.")
    return done, [name for name, result in ran.items() if result.error is not None]


@dataclass
class Run:
    """What came of running a notebook once."""

    notebook: NotebookNode
    seconds: float
    error: str | None


async def execute(nb: NotebookNode, env: dict[str, str] | None = None, **options: Any) -> Run:
    """Run a copy of a notebook in a kernel and a folder of its own, up to its first error.

    env: environment variables on top of this process's. options: further ones of NotebookClient.
    """
    nb = copy.deepcopy(nb)
    # nbclient would take an interrupt for its own kernel and let all others run on. It accepts a
    # refusal, so that whoever started the event loop decides.
    asyncio.get_running_loop().add_signal_handler = _refuse  # type: ignore[method-assign]
    # One thread per kernel: with more, kernels that share the cores are slower, and sums are added
    # up in another order, so that outputs differ.
    ours = {"OMP_NUM_THREADS": "1", "COURSEKIT_PROGRESS": "off"}
    environment = {**ours, **os.environ, **(env or {})}
    start, error = time.monotonic(), None
    with tempfile.TemporaryDirectory() as folder:
        (cwd := Path(folder, "empty")).mkdir()  # no chapter may need its folder
        kernel = {"connection_file": f"{folder}/kernel.json"}
        if os.name == "posix":
            # Two kernels that start at once may choose the same free port, and one dies.
            kernel |= {"transport": "ipc", "ip": f"{folder}/socket"}
        client = NotebookClient(
            nb,
            config=Config(KernelManager=kernel),
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(cwd)}},
            shutdown_kernel="immediate",
            store_widget_state=False,
            record_timing=False,
            coalesce_streams=True,  # or diffs show how prints were cut
            **options,
        )
        try:
            await client.async_execute(env=environment)
        except Exception as problem:
            error = str(problem)
        finally:
            atexit.unregister(client._cleanup_kernel)  # it fails if it comes twice
    for cell in code_cells(nb):  # a widget is dead without its kernel
        cell.outputs = [out for out in cell.outputs if WIDGET not in out.get("data", {})]
    return Run(nb, time.monotonic() - start, error)


def _refuse(*_: object) -> None:
    raise RuntimeError("nbclient is not to handle signals")


async def _run_all(
    notebooks: dict[str, NotebookNode], keep: Callable[[str, Run], None]
) -> dict[str, Run]:
    """Run notebooks, as many at once as there are cores, and `keep` each that ran to its end."""
    cores = asyncio.Semaphore(joblib.cpu_count())
    everything = asyncio.current_task()
    assert everything is not None
    loop = asyncio.get_running_loop()

    def listen() -> None:
        # An interrupt ends all kernels. Windows has no such handlers; there it ends the program.
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):
                type(loop).add_signal_handler(loop, number, everything.cancel)

    listen()

    cells = sum(len(code_cells(nb)) for nb in notebooks.values())
    pause = 0.1 if sys.stderr.isatty() else 15  # seconds between two states of the bar
    with tqdm(total=cells, unit="cell", desc="running", mininterval=pause) as bar:

        async def one(name: str, nb: NotebookNode) -> tuple[str, Run]:
            async with cores:
                ran = await execute(nb, on_cell_executed=lambda **_: bar.update())
            listen()  # a client that ends removes the handlers
            if ran.error is None:
                keep(name, ran)
                bar.write(f"{name} ran in {ran.seconds:.0f} s")
            elif not everything.cancelling():
                bar.write(f"{name} FAILED\n{ran.error}")
            return name, ran

        return dict(await asyncio.gather(*(one(name, nb) for name, nb in notebooks.items())))


def _outputs(cache: JupyterCacheBase, nb: NotebookNode) -> list[NotebookNode] | None:
    """The code cells of an earlier run of the same code, or None."""
    try:
        record = cache.match_cache_notebook(nb)
    except KeyError:
        return None
    return code_cells(cache.get_cache_bundle(record.pk).nb)


def _open_cache() -> JupyterCacheBase:
    """jupyter-cache knows a chapter by its own code; start anew when the code under it changed."""
    fingerprint = hashlib.sha256()
    for part in (platform.python_version(), version("torch"), version("matplotlib")):
        fingerprint.update(part.encode())
    for path in sorted((ROOT / "coursekit").rglob("*")):  # figures' scripts and weights, too
        if path.is_file() and path.suffix != ".pyc":
            fingerprint.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    stamp = CACHE / "made-with"
    cache = get_cache(CACHE)
    if not stamp.exists() or stamp.read_text() != fingerprint.hexdigest():
        cache.clear_cache()
    CACHE.mkdir(parents=True, exist_ok=True)
    stamp.write_text(fingerprint.hexdigest())
    return cache


def chapters(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of `folder`, or those named; a name nobody knows is an error."""
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    unknown = set(names) - {path.stem for path in paths}
    if unknown:
        sys.exit(
            f"No chapter {', '.join(sorted(unknown))} in {folder.name}/; "
            f"there are: {', '.join(path.stem for path in paths) or 'none'}"
        )
    return [path for path in paths if not names or path.stem in names]
