"""The promised WeatherNeuron runs unchanged."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent


def test_weather_example_runs_unchanged_in_a_fresh_interpreter(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-W", "error", HERE / "run_example.py", HERE / "data" / "weather.py.txt"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "<task_info>\n"
        "Task ID: task-123\n"
        "Input: Pack for a walk\n"
        "</task_info>\n\n"
        "<weather>Current weather: light rain, 12 °C</weather>\n\n"
        "<system_info>\n"
        "Current date: 2025-01-15\n"
        "Current time: 14:30:00 UTC\n"
        f"Platform: {platform.system()} {platform.release()}\n"
        "</system_info>"
    )
