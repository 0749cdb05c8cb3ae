"""Finds submissions that share unusual code."""

import ast
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from coursekit.grading.gradebook import notebook

GRAM = 12
"""Tokens in a row that are compared at once."""


def near_duplicates(
    sources: Mapping[str, str], at_least: float = 0.7
) -> list[tuple[str, str, float]]:
    """Pairs of submissions that share most of what is rare in them, most alike first.

    sources: by name, the code that defines the answers. Runs of tokens that more than two and more
    than 5 % of all submissions have are what everyone writes, and do not count.
    """
    grams = {name: _grams(source) for name, source in sources.items()}
    owners: defaultdict[int, list[str]] = defaultdict(list)
    for name, found in grams.items():
        for gram in found:
            owners[gram].append(name)
    common = max(2, len(sources) // 20)
    rare = {n: {g for g in found if len(owners[g]) <= common} for n, found in grams.items()}
    shared: Counter[tuple[str, str]] = Counter()
    for names in owners.values():
        if len(names) <= common:
            shared.update((a, b) for i, a in enumerate(names) for b in names[i + 1 :])
    pairs = []
    for (a, b), both in shared.items():
        share = both / len(rare[a] | rare[b])
        if both >= 2 * GRAM and share >= at_least:
            pairs.append((a, b, share))
    return sorted(pairs, key=lambda pair: -pair[2])


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
