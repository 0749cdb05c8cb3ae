"""Finds submissions that share unusual code."""

import ast
import hashlib
import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from coursekit.grading.gradebook import notebook

GRAM = 12
"""Tokens in a row that are compared at once."""


EVIDENCE = 72.0
"""What a pair must share: 24 runs of tokens that 2 of 40 have, or 104 that 20 have."""


@dataclass(frozen=True)
class Group:
    """Submissions whose code is much alike."""

    names: tuple[str, ...]
    share: float
    """Of the code of two of them, the part that both have: the mean over all such pairs."""


def groups(sources: Mapping[str, str], at_least: float = 0.7) -> list[Group]:
    """Submissions that share most of what is rare in them, two or more, most alike first.

    sources: by name, the code that defines the answers. A run of tokens that k of n submissions
    have weighs log(n / k): what everyone writes weighs nothing, and a ring of half the class that
    shares a long text is still found.
    """
    grams = {name: _grams(source) for name, source in sources.items()}
    count = Counter(gram for having in grams.values() for gram in having)
    weights = {gram: math.log(len(sources) / k) for gram, k in count.items()}
    # Submissions with the same code are compared as one: a large ring costs no more than one pair.
    same: defaultdict[frozenset[int], list[str]] = defaultdict(list)
    for name, having in grams.items():
        same[frozenset(having)].append(name)
    kinds = [kind for kind in same if sum(weights[gram] for gram in kind) >= EVIDENCE]
    pairs = {(i, i): 1.0 for i, kind in enumerate(kinds) if len(same[kind]) > 1}
    pairs |= _shares(kinds, weights, at_least)
    parent = list(range(len(kinds)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, j in pairs:
        parent[root(j)] = root(i)
    shares: defaultdict[int, list[float]] = defaultdict(list)
    for (i, _), part in pairs.items():
        shares[root(i)].append(part)
    members: defaultdict[int, list[str]] = defaultdict(list)
    for i, kind in enumerate(kinds):
        members[root(i)] += same[kind]
    found = [Group(tuple(members[r]), sum(parts) / len(parts)) for r, parts in shares.items()]
    return sorted(found, key=lambda group: (-group.share, -len(group.names)))


def _shares(
    kinds: Sequence[frozenset[int]], weights: Mapping[int, float], at_least: float
) -> dict[tuple[int, int], float]:
    """By pair, the weight of the runs that both have as a part of those that one of them has."""
    owners: defaultdict[int, list[int]] = defaultdict(list)
    for i, kind in enumerate(kinds):
        for gram in kind:
            owners[gram].append(i)
    shared: defaultdict[tuple[int, int], float] = defaultdict(float)
    for gram, having in owners.items():
        if weights[gram] > 0:
            for pair in itertools.combinations(having, 2):
                shared[pair] += weights[gram]
    total = [sum(weights[gram] for gram in kind) for kind in kinds]
    found = {}
    for (i, j), both in shared.items():
        share = both / (total[i] + total[j] - both)
        if both >= EVIDENCE and share >= at_least:
            found[i, j] = share
    return found


def _grams(source: str) -> set[int]:
    """Hashes of all runs of tokens; names, numbers and strings each count as one and the same."""
    pattern = r"#[^\n]*|\"\"\".*?\"\"\"|'''.*?'''|\"[^\"\n]*\"|'[^'\n]*'|\w+|[^\w\s]"
    tokens = []
    for token in re.findall(pattern, source, re.DOTALL):
        if token.startswith("#"):
            continue
        kind = "s" if token[0] in "\"'" else "0" if token[0].isdigit() else token
        tokens.append("n" if kind.isidentifier() and kind not in _KEYWORDS else kind)
    runs = (" ".join(tokens[i : i + GRAM]) for i in range(len(tokens) - GRAM + 1))
    return {int.from_bytes(hashlib.blake2b(run.encode(), digest_size=8).digest()) for run in runs}


_KEYWORDS = frozenset(
    {"def", "return", "for", "in", "if", "else", "while", "lambda", "class", "with"}
)


def answer_code(data: bytes, names: Sequence[str]) -> str:
    """The source of the statements that define the answers, in a notebook that can be read."""
    try:
        program = notebook.program(notebook.read(data))
    except notebook.Unreadable:
        return ""
    return "\n".join(
        part
        for _, source, statements in program.needed(names)
        for part in _parts(source, statements)
    )


def _parts(source: str, statements: Sequence[int]) -> list[str]:
    body, lines = ast.parse(source).body, source.split("\n")
    chosen = [body[i] for i in statements]
    wanted = [node for node in chosen if not isinstance(node, ast.Import | ast.ImportFrom)]
    spans = dict.fromkeys((node.lineno - 1, node.end_lineno) for node in wanted)
    return ["\n".join(lines[start:end]) for start, end in spans]
