"""The Markdown of a part of a piece: what is copied when a selection takes only some of a block."""

from __future__ import annotations

from desktop.ui.markdown.pieces import (
    BOLD,
    CODE,
    ITALIC,
    LIST_STEP,
    STRIKE,
    FormulaPiece,
    ImagePiece,
    Piece,
    RulePiece,
    Run,
    Runs,
    TablePiece,
    TextPiece,
    line_text,
)


def part_of(piece: Piece, start: int, end: int) -> str:
    """Markdown of the characters from start to before end, as a box counts them."""
    if isinstance(piece, TextPiece):
        return _prefixed(_lines_part(piece, start, end), len(piece.place.bars))
    if isinstance(piece, TablePiece):
        return _table_part(piece, start, end)
    if isinstance(piece, FormulaPiece):
        return piece.verbatim if end > start else ""
    if isinstance(piece, ImagePiece):
        return f"![{piece.words}]({piece.address})" if end > start else ""
    if isinstance(piece, RulePiece):
        return "---" if end > start else ""
    part = piece.code[start:end]
    if start == 0 and end >= len(piece.code):
        longest = 2
        for line in part.split("\n"):
            mark = line.lstrip(" ")
            longest = max(longest, len(mark) - len(mark.lstrip("`")))
        fence = "`" * (longest + 1)
        return f"{fence}{piece.language}\n{part}\n{fence}"
    return part


def shown_part(piece: Piece, start: int, end: int) -> str:
    """The same as plain text: words without marks, a table's cells with tabs between them."""
    if isinstance(piece, TextPiece):
        parts, at = [], 0
        for line in piece.lines:
            length = len(line_text(line))
            if start <= at + length and end > at:
                parts.append(_shown(line.runs, start - at, end - at))
            at += length + 1
        return "\n".join(parts)
    if isinstance(piece, TablePiece):
        rows: dict[int, list[str]] = {}
        for row, column, first, last in cell_spans(piece):
            if first < end and last >= start:
                rows.setdefault(row, []).append(_shown(piece.rows[row][column], start - first, end - first))
        return "\n".join("\t".join(cells) for cells in rows.values())
    if isinstance(piece, FormulaPiece):
        return piece.source
    if isinstance(piece, ImagePiece):
        return piece.words
    return "" if isinstance(piece, RulePiece) else piece.code[start:end]


def _shown(runs: Runs, start: int, end: int) -> str:
    parts, at = [], 0
    for run in runs:
        length = 1 if run.formula else len(run.text)
        first, last = max(start - at, 0), min(end - at, length)
        if first < last:
            parts.append(run.text if run.formula else run.text[first:last])
        at += length
    return "".join(parts)


def runs_part(runs: Runs, start: int, end: int) -> str:
    """Markdown of the characters from start to before end of a line."""
    parts, at = [], 0
    for run in runs:
        length = 1 if run.formula else len(run.text)
        first, last = max(start - at, 0), min(end - at, length)
        if first < last:
            parts.append(run.text if run.formula else _marked(run, run.text[first:last]))
        at += length
    return "".join(parts)


def cell_spans(piece: TablePiece) -> list[tuple[int, int, int, int]]:
    """Row, column, start and end of each cell, as a table counts its characters: one more after each cell."""
    spans, at = [], 0
    for row, cells in enumerate(piece.rows):
        for column, runs in enumerate(cells):
            length = sum(1 if run.formula else len(run.text) for run in runs)
            spans.append((row, column, at, at + length))
            at += length + 1
    return spans


def _marked(run: Run, text: str) -> str:
    body = text.strip(" \n")
    if not body:
        return text
    lead, tail = text[: text.index(body)], text[text.index(body) + len(body) :]
    if run.style & CODE:
        fence = "``" if "`" in body else "`"
        pad = " " if body.startswith("`") or body.endswith("`") else ""
        body = f"{fence}{pad}{body}{pad}{fence}"
    for mark, style in (("*", ITALIC), ("**", BOLD), ("~~", STRIKE)):
        if run.style & style:
            body = f"{mark}{body}{mark}"
    if run.href and body != run.href:
        body = f"[{body}]({run.href})"
    return lead + body + tail


def _lines_part(piece: TextPiece, start: int, end: int) -> str:
    parts: list[str] = []
    at = 0
    for line in piece.lines:
        length = len(line_text(line))
        first, last = max(start - at, 0), min(end - at, length)
        if first < last or (line.marker and start <= at < end):
            text = runs_part(line.runs, first, last)
            if first == 0:
                depth = max(0, line.left // LIST_STEP - (1 if line.marker else 0))
                marker = {"•": "- ", "[ ]": "- [ ] ", "[x]": "- [x] "}.get(
                    line.marker, line.marker and line.marker + " "
                )
                text = "   " * depth + "#" * line.heading + (" " if line.heading else "") + marker + text
            if parts:
                parts.append("\n" if line.marker else "\n\n")
            parts.append(text)
        at += length + 1
    return "".join(parts)


def _table_part(piece: TablePiece, start: int, end: int) -> str:
    rows: dict[int, list[str]] = {}
    spans = cell_spans(piece)
    taken = [span for span in spans if span[2] < end and span[3] >= start]
    if len(taken) == 1:
        row, column, first, _ = taken[0]
        return runs_part(piece.rows[row][column], start - first, end - first)
    for row, column, first, _ in taken:
        rows.setdefault(row, []).append(
            runs_part(piece.rows[row][column], start - first, end - first).replace("|", "\\|")
        )
    lines = [f"| {' | '.join(cells)} |" for cells in rows.values()]
    if 0 in rows:
        marks = {"left": ":---", "center": ":---:", "right": "---:", "": "---"}
        lines.insert(1, f"| {' | '.join(marks[align] for align in piece.aligns[: len(rows[0])])} |")
    return "\n".join(lines)


def _prefixed(text: str, quotes: int) -> str:
    if not quotes:
        return text
    return "\n".join(("> " * quotes + line).rstrip() for line in text.split("\n"))
