"""What the maintainers' scripts share: where chapters are, how they are read, run and written."""

from __future__ import annotations

import asyncio
import atexit
import copy
import hashlib
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import joblib
import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.cache.main import JupyterCacheBase
from nbclient import NotebookClient
from nbformat import NotebookNode
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
SOLUTIONS = ROOT / "solutions"
CACHE = ROOT / "_build" / ".jupyter_cache"
CELL_TIMEOUT = 900  # seconds; a chapter that hangs must not hang CI

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


def write(path: Path, nb: NotebookNode) -> None:
    """Write a notebook in one step: an interrupted run leaves the old file whole."""
    nbformat.validate(nb)
    temporary = path.with_suffix(".ipynb.part")
    temporary.write_text(nbformat.writes(nb) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def run(notebooks: dict[str, NotebookNode]) -> dict[str, NotebookNode]:
    """Give every notebook the outputs of a fresh run.

    A notebook runs only if its code, or coursekit, has changed since it last ran; several run at
    once, one a core. `notebooks` maps a name for the reader to a notebook; the result has the same
    keys. Chapters that fail are reported, all of them, and end the program with status 1.
    """
    cache = _open_cache()
    stale = {name: nb for name, nb in notebooks.items() if _outputs(cache, nb) is None}
    if stale:
        try:
            failed = asyncio.run(_run_all(stale, cache))
        except asyncio.CancelledError:
            sys.exit("Interrupted; what had run to its end is kept.")
        if failed:
            sys.exit(f"{len(failed)} of {len(notebooks)} notebooks failed: {', '.join(failed)}")
    done = {}
    for name, nb in notebooks.items():
        done[name] = copy.deepcopy(nb)
        for cell, ran in zip(code_cells(done[name]), _outputs(cache, nb) or [], strict=True):
            cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
    print(f"{len(stale)} of {len(notebooks)} notebooks ran, the others had not changed.")
    return done


async def _run_all(notebooks: dict[str, NotebookNode], cache: JupyterCacheBase) -> list[str]:
    # One thread a kernel: with more, kernels that share the cores are slower, and their sums are
    # added up in another order, so that outputs differ.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cores = asyncio.Semaphore(joblib.cpu_count())
    failed: list[str] = []
    everything = asyncio.current_task()
    assert everything is not None
    loop = asyncio.get_running_loop()

    def listen(**_: object) -> None:
        # Each client that starts or ends takes the signals for itself, so take them back: an
        # interrupt ends all kernels.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, everything.cancel)

    cells = sum(len(code_cells(nb)) for nb in notebooks.values())
    pause = 0.1 if sys.stderr.isatty() else 15  # seconds between two states of the bar
    with tqdm(total=cells, unit="cell", desc="running", mininterval=pause) as bar:

        async def one(name: str, nb: NotebookNode) -> None:
            nb = copy.deepcopy(nb)
            async with cores:
                with tempfile.TemporaryDirectory() as folder:  # no chapter may need its folder
                    client = NotebookClient(
                        nb,
                        timeout=CELL_TIMEOUT,
                        kernel_name="python3",
                        extra_arguments=["--log-level=ERROR"],
                        resources={"metadata": {"path": folder}},
                        shutdown_kernel="immediate",
                        store_widget_state=False,
                        record_timing=False,
                        coalesce_streams=True,  # or diffs show how prints were cut
                        on_cell_start=listen,
                        on_cell_executed=lambda **_: bar.update(),
                    )
                    start = loop.time()
                    try:
                        await client.async_execute()
                    except Exception as error:
                        if everything.cancelling():
                            return
                        failed.append(name)
                        bar.write(f"{name} FAILED\n{error}")
                        return
                    finally:
                        atexit.unregister(client._cleanup_kernel)  # it fails if it comes twice
                seconds = loop.time() - start
            for cell in code_cells(nb):  # a widget is dead without its kernel
                cell.outputs = [out for out in cell.outputs if WIDGET not in out.get("data", {})]
            bundle = CacheBundleIn(nb, name, data={"execution_seconds": seconds})
            cache.cache_notebook_bundle(bundle, overwrite=True)
            bar.write(f"{name} ran in {seconds:.0f} s")

        await asyncio.gather(*(one(name, nb) for name, nb in notebooks.items()))
    return failed


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
    for path in sorted((ROOT / "coursekit").rglob("*.py")):
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
