"""Rows of CSV and TSV as people write them: what fits the header is taken exactly, what does not is named by its line.

A row is read as RFC 4180 says, quoted cells with line breaks included, so that what Python's `csv.writer` writes comes
back as it was. Differs from Python's `csv.reader`: a row with a quote that does not close, or with text behind a
closing quote, is one bad row and neither the end of the list nor the rows up to the next quote; a cell may be of any
length within that of a row. In TSV, which is often written without quoting, such a row is taken as it stands if its
tabs fit.

A quoted cell that holds what would be rows of their own, with an address at the address's place, is taken for an
unclosed quote that met a later one. All its lines are one bad row, so that nobody's caption can bring rows in.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

MAX_ROW_CHARS = 1 << 26
ADDRESS = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a list.

    Attributes:
        number: Of its first line, from 1; of the row, where there are no lines.
        cells: Its cells; None for a row that does not fit.
        problem: Why it does not fit.
    """

    number: int
    cells: Sequence[str] | None
    problem: str = ""


class Lines:
    """Numbered lines of a file with whatever ends them, which can be given back; None for one that is too long."""

    def __init__(self, handle: TextIO) -> None:
        """The file is open with `newline=""`."""
        self.handle = handle
        self.number = 0
        self._back: deque[tuple[int, str | None]] = deque()

    def take(self) -> tuple[int, str | None] | None:
        """The next line and its number; None at the end."""
        if self._back:
            return self._back.popleft()
        line: str | None = self.handle.readline(MAX_ROW_CHARS)
        if not line:
            return None
        self.number += 1
        if len(line) == MAX_ROW_CHARS and line[-1] not in "\r\n":
            while (rest := self.handle.readline(MAX_ROW_CHARS)) and rest[-1] not in "\r\n":
                pass
            line = None
        return self.number, line

    def give_back(self, lines: Sequence[tuple[int, str | None]]) -> None:
        """Put lines before those that are still to come."""
        self._back.extendleft(reversed(lines))

    def __iter__(self) -> Iterator[tuple[int, str | None]]:
        while taken := self.take():
            yield taken


def without_end(line: str) -> str:
    """A line without what ends it."""
    return line[:-2] if line.endswith("\r\n") else line[:-1] if line.endswith(("\n", "\r")) else line


class DelimitedRows:
    """Rows of a file with a header, or with names that are given.

    Attributes:
        names: The columns, in order.
    """

    def __init__(self, handle: TextIO, delimiter: str, names: Sequence[str] = ()) -> None:
        """The first line that is not empty is read as the header where no names are given.

        Raises:
            csv.Error: It is none.
        """
        self.lines = Lines(handle)
        self.delimiter = delimiter
        self.names = tuple(names or self._header())

    def rows(self, address: int) -> Iterator[Row]:
        """All rows but empty lines; `address` is the place of the column of addresses."""
        width = len(self.names)
        for number, line in self.lines:
            if line is None:
                yield Row(number, None, f"more than {MAX_ROW_CHARS} characters")
            elif body := without_end(line):
                yield self._row(number, line, body, width, address)

    def _row(self, number: int, line: str, body: str, width: int, address: int) -> Row:
        cells = literal = body.split(self.delimiter)
        taken: list[tuple[int, str | None]] = []
        problem = ""
        if '"' in body:
            try:
                cells, taken, swallows = self._quoted(line, width, address)
                if swallows:
                    problem = f"a quoted cell that holds further rows, up to line {taken[-1][0]}"
            except csv.Error as error:
                problem = f"{type(error).__name__}: {error}"
            if self.delimiter == "\t" and len(literal) == width and (problem or len(cells) != width):
                self.lines.give_back(taken)
                return Row(number, literal)
        if not problem and len(cells) != width:
            problem = f"{len(cells)} cells, where there are {width} columns"
        return Row(number, None if problem else cells, problem)

    def _quoted(self, line: str, width: int, address: int) -> tuple[list[str], list[tuple[int, str | None]], bool]:
        """Cells of the record that starts with a line, the further lines that it took, whether it swallowed rows.

        Raises:
            csv.Error: Its quotes are none of RFC 4180; all further lines are given back.
        """
        cells: list[str] = []
        taken: list[tuple[int, str | None]] = []
        swallows, position = False, 0
        while True:
            if not line.startswith('"', position):
                end = line.find(self.delimiter, position)
                if end < 0:
                    return [*cells, without_end(line)[position:]], taken, swallows
                cells.append(line[position:end])
                position = end + 1
                continue
            before = len(taken)
            cell, line, position = self._quoted_cell(line, position + 1, taken)
            if len(taken) > before:
                swallows = swallows or self._holds_rows(cell, len(cells), width, address)
            cells.append(cell)
            if position == len(without_end(line)):
                return cells, taken, swallows
            if not line.startswith(self.delimiter, position):
                self.lines.give_back(taken)
                raise csv.Error("text behind a closing quote")
            position += 1

    def _quoted_cell(self, line: str, start: int, taken: list[tuple[int, str | None]]) -> tuple[str, str, int]:
        """A quoted cell from behind its quote on, the line on which it ends, and the place behind its end."""
        parts: list[str] = []
        scan, total = start, len(line)
        while True:
            close = line.find('"', scan)
            if close >= 0 and line.startswith('"', close + 1):
                scan = close + 2
            elif close >= 0:
                parts.append(line[start:close])
                return "".join(parts).replace('""', '"'), line, close + 1
            else:
                parts.append(line[start:])
                following = self.lines.take()
                if following is not None:
                    taken.append(following)
                if following is None or following[1] is None or total > MAX_ROW_CHARS:
                    self.lines.give_back(taken)
                    raise csv.Error("a quote that is not closed")
                line = following[1]
                start = scan = 0
                total += len(line)

    def _holds_rows(self, cell: str, place: int, width: int, address: int) -> bool:
        """Whether lines of a quoted cell are rows by themselves; the first one has the cells before it, too."""
        for number, inside in enumerate(re.split("\r\n|\r|\n", cell)):
            before = place if number == 0 else 0
            cells = inside.split(self.delimiter)
            if before + len(cells) == width and address >= before and ADDRESS.match(cells[address - before]):
                return True
        return False

    def _header(self) -> list[str]:
        for _, line in self.lines:
            if line is None:
                raise csv.Error("the first line is too long for a header")
            if without_end(line):
                cells, _, _ = self._quoted(line, 0, 0)
                return cells
        return []
