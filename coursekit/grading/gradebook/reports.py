"""What an instructor reads, all made from the rows: gradebook, feedback pages, index.

Everything that a student wrote, names of files included, is escaped or kept out.
"""

import csv
import hashlib
import html
import os
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from coursekit.exercises import Exercise, FreeText
from coursekit.grading.gradebook import notebook
from coursekit.grading.gradebook.grade import Row
from coursekit.grading.gradebook.prose import Mark, cell

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .2em .8em .2em 0;
  border-bottom: 1px solid #8886 }}
td.number, th.number {{ text-align: right }}
pre {{ white-space: pre-wrap; border-left: 4px solid #8886; padding-left: .8em }}
.pass {{ color: #2e9e5b }} .fail {{ color: #d9534f }} .note {{ color: #888 }}
.bar {{ display: inline-block; height: .8em; background: #4a90d9 }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def escape(text: object) -> str:
    return html.escape(str(text), quote=True)


def page(title: str, body: Iterable[str]) -> str:
    return PAGE.format(title=escape(title), body="\n".join(body))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already. A head that ends in `#` marks a column of numbers."""
    number = [' class="number"' if name.endswith("#") else "" for name in head]
    top = "".join(f"<th{n}>{name.rstrip('#')}</th>" for n, name in zip(number, head, strict=True))
    lines = [
        "<tr>" + "".join(f"<td{n}>{c}</td>" for n, c in zip(number, row, strict=True)) + "</tr>"
        for row in rows
    ]
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8", errors="replace")
    os.replace(temporary, path)


def file_name(name: str, ending: str) -> str:
    """A file name from any text: no path in it, and two texts never share one."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}{ending}"


def number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


# --- one student --------------------------------------------------------------------------------


def feedback(row: Row, exercises: Sequence[Exercise], marks: Mapping[str, Mark]) -> str:
    """The page for a student. Of a hidden test it shows the title and the hint, nothing else:
    what the student's code said or how long it took could tell the hidden inputs."""
    body = []
    if row["status"] == "graded":
        body.append(f"<p><b>{number(row['score'])} of {number(row['max_score'])} points</b></p>")
    elif row["status"] == "unreadable":
        body.append(
            f'<p class="fail"><b>This could not be graded:</b> {escape(row["message"])}</p>'
        )
    else:
        body.append(
            "<p><b>Not graded yet:</b> the grader had a fault of its own. No points are lost."
        )
    for exercise in exercises:
        entry = row["exercises"].get(exercise.id)
        if entry is not None:
            body += _exercise(exercise, entry)
    if row["cells"]:
        body.append("<h2>Cells that raised an error</h2>")
        body.append(
            table(["cell#", "error"], [[escape(n), escape(e)] for n, e in row["cells"].items()])
        )
    for id, mark in marks.items():
        points = "not marked yet" if mark.points is None else f"{number(mark.points)} points"
        body.append(f"<h2>{escape(id)}: {points}</h2><pre>{escape(mark.answer)}</pre>")
        body.append(f"<p>{escape(mark.comment)}</p>")
    return page(row["submission"], body)


def _exercise(exercise: Exercise, entry: Mapping[str, Any]) -> list[str]:
    score = f"{number(entry['score'])} of {number(entry['max_score'])} points"
    body = [f"<h2>{escape(exercise.id)}: {score}</h2>"]
    if entry["problem"]:
        return [*body, f'<p class="fail">{escape(entry["problem"])}</p>']
    body += [f"<p>{escape(says)}</p>" for says in sentences(exercise, entry)]
    rows = []
    for test in entry["tests"]:
        mark = '<b class="pass">✓</b>' if test["passed"] else '<b class="fail">✗</b>'
        kind = ' <span class="note">(hidden)</span>' if test["hidden"] else ""
        points = f"{number(test['score'])} / {number(test['max_score'])}"
        rows.append([mark, escape(test["name"]) + kind, points, escape(test["message"])])
    return [*body, table(["", "test: it …", "points#", ""], rows)]


def sentences(exercise: Exercise, entry: Mapping[str, Any]) -> list[str]:
    return [m.says for m in exercise.misconceptions if m.name == entry["misconception"]]


# --- all of them --------------------------------------------------------------------------------


def gradebook(
    rows: Iterable[Row],
    exercises: Sequence[Exercise],
    questions: Sequence[FreeText],
    marks: Mapping[str, Mapping[str, Mark]],
) -> str:
    """grades.csv: a line a submission. A formula in a name is kept from a spreadsheet."""
    out = StringIO()
    out.write("\ufeff")  # without it some spreadsheets do not read UTF-8
    sheet = csv.writer(out, lineterminator="\n")
    ids, prose = [e.id for e in exercises], [q.id for q in questions]
    sheet.writerow(["submission", "status", "score", "max_score", *ids, *prose, "total", "message"])
    for row in rows:
        given = [marks.get(row["submission"], {}).get(id) for id in prose]
        points = [mark.points if mark else None for mark in given]
        entries = [row["exercises"].get(id, {}).get("score", "") for id in ids]
        total = None if row["score"] is None else row["score"] + sum(p or 0 for p in points)
        sheet.writerow(
            [
                cell(row["submission"]),
                row["status"],
                number(row["score"]),
                number(row["max_score"]),
                *entries,
                *map(number, points),
                number(total),
                cell(row["message"]),
            ]
        )
    return out.getvalue()


def index(
    rows: Sequence[Row], exercises: Sequence[Exercise], alike: Sequence[tuple[str, str, float]]
) -> str:
    """The instructor's page: who, which tests, which mistakes, who wrote the same."""
    graded = [row for row in rows if row["status"] == "graded"]
    states = Counter(row["status"] for row in rows)
    body = [f"<p>{len(rows)} submissions: {', '.join(f'{n} {s}' for s, n in states.items())}.</p>"]
    if graded:
        scores = [row["score"] for row in graded]
        top = number(max(row["max_score"] for row in graded))
        body.append(
            f"<p>Score of {top}: median {number(statistics.median(scores))}, "
            f"mean {statistics.fmean(scores):.1f}, from {number(min(scores))} to "
            f"{number(max(scores))}.</p>"
        )
    levels = {row["sandbox"] for row in rows if row["sandbox"]}
    body.append(f"<p>Sandbox: {escape(', '.join(sorted(levels)) or 'not needed')}.</p>")
    for warning in sorted({w for row in rows for w in row["warnings"]}):
        body.append(f'<p class="fail">{escape(warning)}</p>')
    body += ["<h2>Tests</h2>", _pass_rates(graded), "<h2>Mistakes recognized</h2>"]
    body.append(_mistakes(graded, exercises))
    body += ["<h2>Much alike</h2>", _alike(alike), "<h2>Submissions</h2>"]
    lines = []
    for row in rows:
        link = f"feedback/{file_name(row['submission'], '.html')}"
        lines.append(
            [
                f'<a href="{link}">{escape(row["submission"])}</a>',
                escape(row["status"]),
                number(row["score"]),
                f"{row['seconds']:.2f}",
                escape(row["message"]),
            ]
        )
    body.append(table(["submission", "status", "score#", "seconds#", ""], lines))
    return page("Grades", body)


def _pass_rates(graded: Sequence[Row]) -> str:
    passed: defaultdict[tuple[str, str, bool], list[bool]] = defaultdict(list)
    for row in graded:
        for id, entry in row["exercises"].items():
            for test in entry["tests"]:
                passed[id, test["name"], test["hidden"]].append(test["passed"])
    lines = []
    for (id, name, hidden), results in passed.items():
        rate = sum(results) / len(results)
        bar = f'<span class="bar" style="width:{8 * rate:.1f}em"></span> {rate:.0%}'
        lines.append([escape(id), escape(name), "hidden" if hidden else "", bar])
    return table(["exercise", "test: it …", "", "pass rate"], lines)


def _mistakes(graded: Sequence[Row], exercises: Sequence[Exercise]) -> str:
    counts = Counter(
        (id, entry["misconception"])
        for row in graded
        for id, entry in row["exercises"].items()
        if entry["misconception"]
    )
    says = {(e.id, m.name): m.says for e in exercises for m in e.misconceptions}
    lines = [
        [str(n), escape(id), escape(says.get((id, name), name))]
        for (id, name), n in counts.most_common()
    ]
    return table(["how often#", "exercise", "what the student was told"], lines)


def _alike(alike: Sequence[tuple[str, str, float]]) -> str:
    note = (
        '<p class="note">Of the code that defines the answers, what few others wrote is shared to '
        "this part, names and layout aside. Short right answers look alike: read before you judge."
        "</p>"
    )
    lines = [[escape(a), escape(b), f"{share:.0%}"] for a, b, share in alike]
    return note + table(["", "", "shared#"], lines)


def reading(question: FreeText, marks: Mapping[str, Mark]) -> str:
    """All answers to one question, with its rubric, to read while marking."""
    body = [
        f"<p>{escape(question.question)}</p>",
        f"<h2>Rubric, {number(question.points)} points</h2><pre>{escape(question.rubric)}</pre>",
    ]
    for name, mark in marks.items():
        body.append(f"<h2>{escape(name)}: {escape(mark.entered or 'not marked yet')}</h2>")
        body.append(f"<pre>{escape(mark.answer) or '(nothing written)'}</pre>")
    return page(question.id, body)


# --- near-duplicates ----------------------------------------------------------------------------

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
    import ast

    body, lines = ast.parse(source).body, source.split("\n")
    chosen = [body[i] for i in statements]
    wanted = [node for node in chosen if not isinstance(node, ast.Import | ast.ImportFrom)]
    spans = dict.fromkeys((node.lineno - 1, node.end_lineno) for node in wanted)
    return ["\n".join(lines[start:end]) for start, end in spans]
