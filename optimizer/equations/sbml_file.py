"""SBML files that may come from anywhere: what is handed to libsbml is small, shallow, plain XML without entities."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.parsers import expat

from optimizer.equations.expression import MAX_NODES
from optimizer.files.faults import DataError
from optimizer.files.run_directory import read_regular

MAX_BYTES = 8 * 2**20
_MOST_DEPTH, _MOST_ELEMENTS = 150, 400_000
# Rules of the specification about units in equations.
_UNITS = range(10501, 10600)
# Parts of SBML that may be in a file and change nothing that is simulated.
_HARMLESS = ("layout", "render", "annot", "groups", "l3v2extendedmath")


def read_document(path: Path) -> Any:
    """The SBML document of a file, by libsbml.

    Raises:
        DataError: no python-libsbml, no regular file of at most 8 MiB, no plain XML, or no valid SBML; one sentence.
    """
    if find_spec("libsbml") is None:
        raise DataError(f"{path.name}: wanted the package python-libsbml (pip install 'adose[models]'); got none")
    text = _plain(read_regular(path, MAX_BYTES, "an SBML file"), path.name)
    import libsbml

    document = libsbml.readSBMLFromString(text)
    worst = [document.getError(i) for i in range(document.getNumErrors())]
    worst = [error for error in worst if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR]
    if worst:
        said = " ".join(worst[0].getShortMessage().split())[:150]
        raise DataError(f"{path.name}: line {worst[0].getLine()}: wanted valid SBML; got a fault: {said}")
    if document.getModel() is None:
        raise DataError(f"{path.name}: wanted an SBML file with a model; got none")
    for i in range(document.getNumPlugins()):
        package = document.getPlugin(i)
        if package.getPackageName() not in _HARMLESS and document.getPackageRequired(package.getPackageName()):
            raise DataError(f"{path.name}: wanted core SBML; got the package {package.getPackageName()}")
    return document


def _is_math(tag: str) -> bool:
    return tag.rpartition(":")[2] == "math"


def _plain(data: bytes, name: str) -> str:
    """The text, checked by a parser that neither expands entities nor grows with depth."""

    def refuse(wanted: str, got: str) -> DataError:
        return DataError(f"{name}: wanted {wanted}; got {got}")

    depth, count, parts = 0, 0, -1  # of an equation, -1 outside of any

    def begin(tag: str, attributes: Any) -> None:
        nonlocal depth, count, parts
        depth, count = depth + 1, count + 1
        # A very wide equation breaks libsbml's stack when it is given up.
        parts = 0 if _is_math(tag) else parts + (parts >= 0)
        if parts > MAX_NODES:
            raise refuse(f"an equation of at most {MAX_NODES} parts", f"more at line {parser.CurrentLineNumber}")
        if depth > _MOST_DEPTH:
            raise refuse(f"elements at most {_MOST_DEPTH} deep", f"deeper ones at line {parser.CurrentLineNumber}")
        if count > _MOST_ELEMENTS:
            raise refuse(f"at most {_MOST_ELEMENTS} elements", "more")

    def end(tag: str) -> None:
        nonlocal depth, parts
        depth, parts = depth - 1, -1 if _is_math(tag) else parts

    def doctype(*declared: Any) -> None:
        raise refuse("XML without a document type, which may hold entities", "one with")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = begin, end, doctype
    try:
        text = data.decode("utf-8-sig")
        parser.Parse(text, True)
    except UnicodeDecodeError as error:
        raise refuse("UTF-8 text", f"the byte {error.object[error.start]:#04x} at place {error.start}") from None
    except expat.ExpatError as error:
        raise refuse("XML", f"a fault at line {error.lineno}: {expat.ErrorString(error.code)}") from None
    return text


def unit_faults(document: Any) -> list[int]:
    """Lines of equations whose units, as far as the file states them, do not fit together."""
    import libsbml

    names = [name for name in dir(libsbml) if name.startswith("LIBSBML_CAT_") and name.endswith("CONSISTENCY")]
    for name in (*names, "LIBSBML_CAT_OVERDETERMINED_MODEL", "LIBSBML_CAT_MODELING_PRACTICE"):
        document.setConsistencyChecks(getattr(libsbml, name), name == "LIBSBML_CAT_UNITS_CONSISTENCY")
    document.getErrorLog().clearLog()
    document.checkConsistency()
    found = [document.getError(i) for i in range(document.getNumErrors())]
    return [error.getLine() for error in found if error.getErrorId() in _UNITS]


def each(owner: Any, word: str) -> list[Any]:
    """The parts of a kind, such as "Reaction"."""
    count = getattr(owner, f"getNum{word if word == 'Species' else f'{word}s'}")()
    return [getattr(owner, f"get{word}")(i) for i in range(count)]
