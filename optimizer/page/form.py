"""The form of the tab Build: each value of a scenario's text in a field, both ways."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nicegui import events, ui

from optimizer.page.values import Steps, key_of, replaced, shown, tables_of, values, written
from optimizer.scenario import ScenarioError


class Form:
    """The fields of a text; a text that is no TOML leaves them as they were.

    Attributes:
        area: that holds the text.
        name: says what messages call the file.
        say: shows a message.
    """

    def __init__(self, area: ui.textarea, name: Callable[[], str], say: Callable[[str], object]):
        self.area, self.name, self.say = area, name, say
        self._told: dict[Steps, Any] = {}
        self._fields: dict[Steps, ui.input] = {}

    def show(self) -> None:
        """Draw the fields, and follow the text from now on."""
        self._draw()
        self.area.on_value_change(self._read)
        self._read()

    @ui.refreshable_method
    def _draw(self) -> None:
        self._fields = {}
        for steps, value in self._told.items():
            field = ui.input(key_of(steps), value=shown(value), on_change=partial(self._typed, steps))
            self._fields[steps] = field.props("dense debounce=300").classes("full")

    def _read(self) -> None:
        """Take the values of the text; only fields that say something else are touched."""
        try:
            told = dict(values(tables_of(self.area.value or "", self.name())))
        except ScenarioError as error:
            self.say(str(error))
            return
        self.say("")
        known, self._told = list(self._told), told
        if list(told) != known:
            self._draw.refresh()
            return
        for steps, value in told.items():
            if written(value, self._fields[steps].value or "")[0] != value:
                self._fields[steps].set_value(shown(value))

    def _typed(self, steps: Steps, event: events.ValueChangeEventArguments) -> None:
        """Write a value that was typed into the text."""
        if steps not in self._told or written(self._told[steps], event.value or "")[0] == self._told[steps]:
            return
        try:
            self.area.set_value(replaced(self.area.value or "", steps, event.value or "", self.name()))
        except (ScenarioError, LookupError) as error:
            self.say(str(error))
