"""Keep the page of a run or comparison up to date while another process works on it.

This never disturbs the run, because its files are only read. A process that works on a run locks the run folder. The
result and the lock (`io.artifacts.in_use`) show the state of the run:

    complete result                    the run has finished: the page becomes the report
    incomplete result, locked          the run continues
    incomplete result, not locked      the process has stopped before the run was complete
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from omnidistill.core.arguments import argument
from omnidistill.core.errors import InputError
from omnidistill.data.datasets import Data
from omnidistill.encoding.manifests.manifest import Manifest
from omnidistill.experiments.inspection.inspect import COMPARISON
from omnidistill.experiments.live.live_comparison import LiveComparison
from omnidistill.experiments.live.live_run import live_run
from omnidistill.experiments.paper.paper_result import NAME as PAPER
from omnidistill.experiments.run import open_run
from omnidistill.experiments.run.run_folder import RUN
from omnidistill.experiments.run_page import PAGE, report_file, stored_view
from omnidistill.io.artifacts import in_use, write_output
from omnidistill.io.tracking.progress_file import RUNNING
from omnidistill.report.live_page import LiveView, render_live
from omnidistill.report.page import render_page

_LEAST_INTERVAL, _START_SECONDS = 1.0, 60


@dataclass(frozen=True)
class Followed:
    """How a followed run or comparison ended.

    Attributes:
        output: path of the page.
        finished: whether the run is complete. False if its process stopped before that.
        status: one sentence about the last state of the run.
    """

    output: Path
    finished: bool
    status: str


def follow_report(
    folder: Path,
    output: Path | None = None,
    *,
    interval: float = 10.0,
    media: Manifest | None = None,
    data: Data | None = None,
    force: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Followed:
    """Keep the page of a run or comparison up to date while another process works on it.

    Args:
        folder: folder of the run or comparison. If it does not exist, the function waits for up to a minute.
        output: the HTML file, which reloads itself in a browser; None writes report.html in the folder.
        interval: time between two updates, in seconds.
        media: manifest of the original items, for the report on the finished run.
        data: the data of the run, if they were moved or were only in memory.
        force: whether to replace an existing file. The page report.html in the folder is always replaced.
        sleep: function that waits for a number of seconds.

    Returns:
        Whether the run finished, and its last state.

    Raises:
        InputError: the folder is neither a run nor a comparison, the page exists and `force` is False, or the report on
            the finished run cannot be written.
        KeyboardInterrupt: the user interrupted the function; the page then says that it is not updated any more.
    """
    if interval < _LEAST_INTERVAL:
        raise InputError(
            f"{argument('interval', interval)}: pass at least {_LEAST_INTERVAL:g} s, because every update reads the "
            "files of the run"
        )
    page = output or folder / PAGE
    report_file(page, folder, force)
    _wait_for(folder, sleep)
    source = _Run(folder, page, media, data) if (folder / RUN).is_file() else _Comparison(folder)

    def write(html: str) -> None:
        write_output(page, html.encode(), force=True)

    try:
        while True:
            running = in_use(folder)  # before `finished`, because the run may end in between
            if source.finished():
                return Followed(page, True, source.write_last(write))
            view = source.view()
            if not running:
                status = f"It is not finished, and no process is working on it any more. Last state: {view.status}."
                write(render_live(replace(view, status=status), None))
                return Followed(page, False, status)
            write(render_live(replace(view, status=f"Running: {view.status}."), interval))
            _wait(folder, interval, sleep)
    except KeyboardInterrupt:
        status = f"Last state: {source.view().status}. The page is not updated any more: 'report' was interrupted."
        write(render_live(replace(source.view(), status=status), None))
        raise


class _Run:
    """A run of `distill`."""

    def __init__(self, folder: Path, page: Path, media: Manifest | None, data: Data | None) -> None:
        self._run, self._page, self._media, self._data = open_run(folder), page, media, data

    def finished(self) -> bool:
        return self._run.finished

    def view(self) -> LiveView:
        return live_run(self._run)

    def write_last(self, write: Callable[[str], None]) -> str:
        """Write the report on the finished run to the page, and return a sentence about the state of the run.

        Raises:
            InputError: the report cannot be written. The page then shows this error.
        """
        status = "The run has finished."
        try:
            write(render_page([stored_view(self._run.folder, self._page, self._data, self._media)]))
        except InputError as error:
            write(render_live(replace(self.view(), status=f"{status} Its report could not be written: {error}"), None))
            raise
        return status


class _Comparison:
    """A comparison, crossed table or `paper`, whose folder has the file `running.json` until it is finished."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._live = folder, LiveComparison(folder)

    def finished(self) -> bool:
        return not in_use(self._folder) and not (self._folder / RUNNING).exists()

    def view(self) -> LiveView:
        return self._live.view()

    def write_last(self, write: Callable[[str], None]) -> str:
        tables = ", ".join(path.name for path in sorted(self._folder.glob("*.md")))
        status = f"The comparison has finished. Its tables are in the folder: {tables}."
        write(render_live(replace(self.view(), status=status), None))
        return status


def _wait_for(folder: Path, sleep: Callable[[float], None]) -> None:
    """Wait until a run or comparison has started in the folder.

    Raises:
        InputError: the folder contains something else, or nothing has started within a minute.
    """
    for _ in range(_START_SECONDS):
        if any((folder / name).is_file() for name in (RUN, COMPARISON, RUNNING, f"{PAPER}.json")):
            return
        if folder.exists() and not in_use(folder) and any(entry.name != ".lock" for entry in folder.iterdir()):
            break
        sleep(1.0)
    raise InputError(
        f"{folder}: neither a run nor a comparison (no {RUN} or {COMPARISON}); pass the output folder of 'omnidistill "
        "distill', 'compare' or 'paper'"
    )


def _wait(folder: Path, seconds: float, sleep: Callable[[float], None]) -> None:
    """Wait for a number of seconds, or until no process works in the folder any more."""
    while seconds > 0 and in_use(folder):
        sleep(min(1.0, seconds))
        seconds -= 1.0
