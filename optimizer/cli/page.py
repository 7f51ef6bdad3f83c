"""`page`: a scenario in the browser, to explore, to search, to write, and to look back on."""

from optimizer.cli.options import PageSettings
from optimizer.report.terminal import say
from optimizer.scenario import Scenario
from optimizer.settings import Command, OptionError


def run_page(_: Command, asked: PageSettings) -> int:
    """Serve the page until Ctrl-C."""
    if asked.scenario is not None:
        Scenario.load(asked.scenario)
    try:
        from optimizer.page.serve import HOST, serve
    except ModuleNotFoundError as error:
        wanted = "the extra page (pip install 'adose[page]')"
        raise OptionError(f"adose page: wanted {wanted}; got an environment without {error.name}") from None
    try:
        serve(asked.scenario, asked.port, not asked.no_browser, say)
    except OSError as error:
        raise OptionError(f"--port: wanted a free port of {HOST}; got {asked.port}: {error.strerror}") from None
    return 0
