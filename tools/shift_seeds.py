"""Shift every seed of the process that imports this, by the number in SEED_SHIFT.

Imported before anything else, it stands between the code and torch's, numpy's and scikit-learn's
seeds. A claim that holds for other seeds, too, does not hang on one lucky run.
"""

import os
import sys
from typing import Any

import numpy as np
import sklearn.utils
import torch

SHIFT = int(os.environ["SEED_SHIFT"])
LIMIT = 2**32  # numpy takes no seed beyond


class Generator(torch.Generator):
    """torch.Generator, with its seeds shifted."""

    def manual_seed(self, seed: int) -> torch.Generator:
        return super().manual_seed(seed + SHIFT)


_manual_seed = torch.manual_seed
_default_rng = np.random.default_rng
_check_random_state = sklearn.utils.check_random_state


def manual_seed(seed: int) -> torch.Generator:
    return _manual_seed(seed + SHIFT)


def default_rng(seed: Any = None) -> np.random.Generator:
    return _default_rng((seed + SHIFT) % LIMIT if isinstance(seed, int) else seed)


def check_random_state(seed: Any) -> Any:
    return _check_random_state((seed + SHIFT) % LIMIT if isinstance(seed, int) else seed)


if SHIFT:
    torch.Generator = Generator  # type: ignore[misc]
    torch.manual_seed = torch.random.manual_seed = manual_seed
    np.random.default_rng = default_rng
    # scikit-learn's modules have the function under their own names.
    for name, module in list(sys.modules.items()):
        if name.startswith("sklearn") and hasattr(module, "check_random_state"):
            module.check_random_state = check_random_state  # type: ignore[attr-defined]
