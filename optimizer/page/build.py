"""The tab Build: a scenario as text, begun from a template, with the words it may use and what our checker says."""

from collections.abc import Callable
from pathlib import Path

from nicegui import run, ui

from optimizer.files.faults import DataError
from optimizer.files.run_directory import DirectoryError, write_whole
from optimizer.page.form import Form, snippet
from optimizer.page.tables import table
from optimizer.page.values import tables_of
from optimizer.scenario import Scenario, ScenarioError
from optimizer.scenario.faults import with_lines
from optimizer.scenario.files import shipped
from optimizer.scenario.resolved import in_words
from optimizer.scenario.words import catalog, keys


def build_tab(file: Path | None, opened: Callable[[Path], None]) -> None:
    """Fill the tab; `opened` is told of the file that was saved."""
    ui.html("<h2>Build</h2>", sanitize=False)
    templates = {path.stem: path for path in shipped("templates")}
    begun = file.read_text(encoding="utf-8", errors="replace") if file else _template(templates["one_drug"])
    with ui.element("div").classes("split"):
        with ui.element("div").classes("side"):
            template = ui.select(list(templates), label="Begin with a template of adose new").classes("full")
            fields = ui.element("div").classes("full")
            with ui.expansion("Other words of a scenario").classes("full"):
                _words(lambda text: area.set_value(f"{area.value}\n{text}"))
        with ui.element("div").classes("wide"):
            area = ui.textarea("Scenario (TOML)", value=begun).props('input-class="toml" outlined').classes("full")
            place = ui.input("Save as", value=str(file or "one_drug.toml")).classes("full")
            said = ui.label("").classes("said").props('role="status" tabindex="0"')

            def begin() -> None:
                area.set_value(_template(templates[template.value]))
                place.set_value(f"{template.value}.toml")

            async def check() -> None:
                said.set_text(await run.io_bound(checked, area.value or "", Path(place.value or "")) or "")

            async def save() -> None:
                target = Path(place.value or "")
                said.set_text(await run.io_bound(checked, area.value or "", target) or "")
                try:
                    write_whole(target, (area.value or "").encode())
                except (DirectoryError, OSError) as error:
                    said.set_text(str(error))
                    return
                opened(target)

            template.on_value_change(begin)
            ui.button("Check", on_click=check)
            ui.button("Save and open", on_click=save)
    with fields:
        Form(area, lambda: str(place.value or "text"), said.set_text).show()


def _template(path: Path) -> str:
    """The text behind the line that names the schema, which lies beside the template alone."""
    return path.read_text(encoding="utf-8").partition("\n")[2]


def checked(text: str, place: Path) -> str:
    """What our checker says of a text that is to be saved at a place: faults, or the scenario in words."""
    try:
        data = tables_of(text, str(place))
        scenario = Scenario.from_tables(data, place.stem, folder=place.parent, text=text, file=str(place))
        scenario.problem()
    except ScenarioError as error:
        return "\n".join(with_lines(error.faults, str(place), text))
    except DataError as error:
        return str(error)
    return f"Good.\n\n{in_words(scenario.resolved())}"


def _words(insert: Callable[[str], object]) -> None:
    """The words of a scenario by family, with the keys of one of them."""
    found = catalog()
    family = ui.select(list(found), label="Words of a scenario").classes("full")
    kind = ui.select([], label="One of them").classes("full")
    shown = ui.html("", sanitize=False)
    button = ui.button("Insert", on_click=lambda: insert(snippet(family.value, kind.value)))
    button.bind_visibility_from(kind, "value", backward=bool)

    def choose() -> None:
        kind.set_options(list(found[family.value]), value=None)
        shown.set_content("")

    def show() -> None:
        if kind.value:
            rows = [
                [k.name, k.unit, "required" if k.required else k.default, k.allowed, k.meaning]
                for k in keys(family.value, kind.value)
            ]
            shown.set_content(
                table(found[family.value][kind.value], ["key", "unit", "default", "allowed", "meaning"], rows)
            )

    family.on_value_change(choose)
    kind.on_value_change(show)
