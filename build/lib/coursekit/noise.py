"""torch's global generators, of the CPU and of every GPU: seeded for a while, saved, restored."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's global generators start from `seed`; afterwards they are as before."""
    # Left to itself, fork_rng of older torch forgets Apple's GPU, which manual_seed seeds.
    gpu = "mps" if torch.backends.mps.is_available() else "cuda"
    with torch.random.fork_rng(device_type=gpu):
        torch.manual_seed(seed)
        yield


def rng_state() -> dict[str, Any]:
    """Where the global generators stand."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    mps = [torch.mps.get_rng_state()] if torch.backends.mps.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda, "mps": mps}


def set_rng_state(state: dict[str, Any]) -> None:
    """Go on from where `rng_state` was taken."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    if torch.backends.mps.is_available():
        for mps in state.get("mps", []):  # absent in older checkpoints
            torch.mps.set_rng_state(mps)
