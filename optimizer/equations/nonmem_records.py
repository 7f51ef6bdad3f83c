"""Records of a NONMEM control stream, with the lines that they stand in; numbers of $THETA and $OMEGA."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from optimizer.files.faults import DataError

# Records that say how a model is fitted or shown, and change nothing that is simulated of a typical patient.
_SILENT = ("PROBLEM", "INPUT", "DATA", "SIGMA", "ESTIMATION", "ESTM", "COVARIANCE", "TABLE", "SCATTERPLOT", "SIZES")
_SILENT += ("SIMULATION", "SIMULATE", "SUBROUTINES", "MODEL", "PK", "DES", "ERROR", "THETA", "OMEGA")
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][+-]?\d+)?"
_MOST = 400


class Record(NamedTuple):
    """A record: its full name, and its lines (number, text without comment)."""

    name: str
    lines: list[tuple[int, str]]

    @property
    def line(self) -> int:
        return self.lines[0][0]

    @property
    def text(self) -> str:
        return " ".join(text for _, text in self.lines)

    def statements(self) -> Iterator[tuple[int, str]]:
        """Statements in upper case, continued lines joined."""
        begun, held = 0, ""
        for line, text in self.lines:
            text = text.strip()
            begun, held = begun if held else line, held + text.removesuffix("&")
            if text.endswith("&"):
                continue
            if held:
                yield begun, held.upper()
            held = ""


def refuse(file: str, line: int, wanted: str, got: str) -> DataError:
    """The fault of a line."""
    short = got if len(got) <= 60 else f"{got[:57]}..."
    shown = short if short.isprintable() else ascii(short)[1:-1]
    return DataError(f"{file}: line {line}: wanted {wanted}; got {shown}")


def records(text: str, file: str) -> list[Record]:
    """The records of a stream.

    Raises:
        DataError: a record that is not supported, or text that is none; one sentence with the line.
    """
    found: list[Record] = []
    for number, line in enumerate(text.splitlines(), 1):
        plain = line.partition(";")[0]
        if plain.lstrip().startswith("$"):
            _, word, rest = re.split(r"\$([A-Za-z]*)", plain, maxsplit=1)
            found.append(Record(_name(word.upper(), file, number), [(number, rest)]))
        elif plain.lstrip().startswith('"'):
            raise refuse(file, number, "no verbatim code", plain.strip())
        elif plain.strip():
            if not found:
                raise refuse(
                    file, number, "a control stream, which begins with a record such as $PROBLEM", plain.strip()
                )
            found[-1].lines.append((number, plain))
    return found


def _name(word: str, file: str, line: int) -> str:
    word = "SUBROUTINES" if word == "SUBS" else word
    for name in _SILENT:
        if word == name or (len(word) >= 3 and name.startswith(word)):
            return name
    raise refuse(file, line, f"one of the records ${', $'.join(_SILENT)}", f"${word}")


def thetas(found: list[Record], file: str) -> list[float]:
    """Values at the start of $THETA, which the typical patient has."""
    out: list[float] = []
    for record in found:
        for line, text in record.lines:
            left = text
            pattern = rf"\s*(?:\(([^()]*)\)(?:\s*[xX]\s*(\d+))?|({_NUMBER}))(?:\s+FIX(?:ED)?)?(?=\s|,|\(|$),?"
            while left.strip():
                match = re.match(pattern, left, re.IGNORECASE)
                if match is None:
                    raise refuse(file, line, "numbers of $THETA, such as (0, 5, 10) or 5 FIX", left.strip())
                left = left[match.end() :]
                value = _middle(match[1], file, line) if match[1] is not None else _number(match[3])
                out += [value] * min(int(match[2] or 1), _MOST + 1)
    if len(out) > _MOST:
        raise refuse(file, found[0].line, f"at most {_MOST} numbers of $THETA", str(len(out)))
    return out


def _middle(inside: str, file: str, line: int) -> float:
    """Of (value), (low, value) or (low, value, high)."""
    words = [word for word in re.split(r"[\s,]+", inside.strip()) if not re.fullmatch("FIX(ED)?", word, re.IGNORECASE)]
    numbers = [word for word in words if re.fullmatch(f"{_NUMBER}|[+-]?INF(INITY)?", word, re.IGNORECASE)]
    chosen = numbers[0 if len(numbers) == 1 else 1] if 0 < len(numbers) == len(words) <= 3 else "INF"
    if "INF" in chosen.upper() or ",," in inside.replace(" ", ""):
        raise refuse(file, line, "(value), (low, value) or (low, value, high) in $THETA", f"({inside})")
    return _number(chosen)


def _number(text: str) -> float:
    return float(re.sub("[dD]", "E", text))


def omegas(found: list[Record], file: str) -> np.ndarray:
    """Covariances of the ETAs [n, n].

    Raises:
        DataError: numbers in another form than variances and covariances; one sentence with the line.
    """
    blocks: list[np.ndarray] = []
    for record in found:
        text = re.sub(r"BLOCK\s*\(\s*(\d+)\s*\)", r"BLOCK\1", record.text.upper())
        text = re.sub(r"DIAG(?:ONAL)?\s*\(\s*\d+\s*\)", " ", text)
        words = [word for word in re.split(r"[\s,()]+", text) if word and word not in ("FIX", "FIXED")]
        numbers = [_number(word) for word in words if re.fullmatch(_NUMBER, word)]
        options = [word for word in words if not re.fullmatch(_NUMBER, word)]
        size = next((int(word[5:]) for word in options if re.fullmatch(r"BLOCK\d{1,3}", word)), 0)
        if options == ["BLOCK", "SAME"] or options == [f"BLOCK{size}", "SAME"]:
            if not blocks or numbers:
                raise refuse(file, record.line, "SAME behind a block", "none before")
            blocks.append(blocks[-1])
        elif options not in ([], [f"BLOCK{size}"]):
            raise refuse(file, record.line, "variances and covariances in $OMEGA", " ".join(options))
        elif size:
            if len(numbers) != size * (size + 1) // 2:
                raise refuse(file, record.line, f"{size * (size + 1) // 2} numbers of BLOCK({size})", str(len(numbers)))
            block = np.zeros((size, size))
            block[np.tril_indices(size)] = numbers
            blocks.append(block + np.tril(block, -1).T)
        else:
            blocks += [np.array([[value]]) for value in numbers]
    count = sum(len(block) for block in blocks)
    if count > _MOST or any(np.any(np.diag(block) < 0.0) for block in blocks):
        raise refuse(file, found[0].line, f"at most {_MOST} variances in $OMEGA, none below 0", "others")
    out, at = np.zeros((count, count)), 0
    for block in blocks:
        out[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    return out


def behind_bracket(text: str, start: int) -> int:
    """Behind the bracket that closes the one at a place; 0 where none does."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if not depth:
            return i + 1
    return 0
