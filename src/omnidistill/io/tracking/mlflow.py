"""MLflow: a file store in FOLDER/mlruns, or the store that the environment variable MLFLOW_TRACKING_URI names.

To view a file store, install the complete package `mlflow` (not only `mlflow-skinny`) and run

    MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri FOLDER/mlruns

The MLflow experiment is named "omnidistill" unless MLFLOW_EXPERIMENT_NAME is set. The MLflow run is named after FOLDER.

A resumed distillation continues the same MLflow run. In FOLDER/mlruns, its metrics are deleted and written again from
the metrics log. In a store named by MLFLOW_TRACKING_URI, only steps after the last stored step are added.

By default, MLflow sends usage data to its developers. This module turns that off: it sets MLFLOW_DISABLE_TELEMETRY to
true, unless this variable is already set.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from omnidistill.core.json_value import Json
from omnidistill.core.optional import require
from omnidistill.io.tracking.tracker import trackers

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # otherwise MLflow 3 refuses to write to a folder

_FOLDER = "omnidistill.folder"
_MOST_PENDING, _MOST_SECONDS = 500, 2.0


@trackers.register("mlflow")
class MlflowTracker:
    """Show the metrics in MLflow, and the settings as parameters of the run."""

    extra: ClassVar[str] = "mlflow"

    def __init__(self, folder: Path, settings: Mapping[str, Json]) -> None:
        self._mlflow = mlflow = require("mlflow", "mlflow")
        path, uri = folder.resolve(), os.environ.get("MLFLOW_TRACKING_URI")
        store = path / "mlruns"
        self._client: Any = mlflow.MlflowClient(uri or store.as_uri(), registry_uri=store.as_uri())
        self._pending: list[Any] = []
        self._sent_at = time.monotonic()
        experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "omnidistill"))
        digest = hashlib.sha256(str(path).encode()).hexdigest()[:16]
        earlier = self._client.search_runs([experiment], f"tags.`{_FOLDER}` = '{digest}'", max_results=1)
        if earlier:
            self._id: str = earlier[0].info.run_id
            self._client.update_run(self._id, "RUNNING")
            if uri is None:
                for file in (store / experiment / self._id / "metrics").iterdir():
                    file.unlink()
        else:
            self._id = self._client.create_run(experiment, tags={_FOLDER: digest}, run_name=path.name).info.run_id
            self._log_settings(settings)
        self.last_step = self._last_step()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of the step. Values are collected and sent together, because each request takes time.

        They are sent when there are at least 500, or when more than 2 seconds have passed since the last request.
        """
        stamp, entities = int(time.time() * 1000), self._mlflow.entities
        self._pending += [entities.Metric(_allowed(name), value, stamp, step) for name, value in values.items()]
        if len(self._pending) >= _MOST_PENDING or time.monotonic() - self._sent_at > _MOST_SECONDS:
            self._send()

    def close(self) -> None:
        """Write or send the values that are still pending, and mark the run as finished."""
        self._send()
        self._client.set_terminated(self._id)

    def _send(self) -> None:
        while self._pending:
            self._client.log_batch(self._id, metrics=self._pending[:_MOST_PENDING])
            del self._pending[:_MOST_PENDING]
        self._sent_at = time.monotonic()

    def _experiment(self, name: str) -> str:
        """Return the id of the experiment with this name. Create the experiment if it does not exist."""
        known = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if known is None else known.experiment_id)

    def _last_step(self) -> int:
        """Return the last step in the store; -1 if there is none."""
        names = self._client.get_run(self._id).data.metrics
        steps = [metric.step for name in names for metric in self._client.get_metric_history(self._id, name)]
        return max(steps, default=-1)

    def _log_settings(self, settings: Mapping[str, Json]) -> None:
        """Log the settings as parameters, with dotted names. MLflow accepts 100 of them per request."""
        texts = [self._mlflow.entities.Param(_allowed(name), text[:500]) for name, text in _flat(settings)]
        for first in range(0, len(texts), 100):
            self._client.log_batch(self._id, params=texts[first : first + 100])


def _flat(settings: Mapping[str, Json], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as (dotted name, text)."""
    flat = []
    for name, value in settings.items():
        flat += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", str(value))]
    return flat


def _allowed(name: str) -> str:
    """Replace slashes, and characters that MLflow does not accept, with dots.

    MLflow accepts slashes, but its file store cannot contain both "loss" and "loss/image".
    """
    return re.sub(r"[^\w. -]", ".", name)
