"""What every test gets: an empty home, no network but loopback (see pyproject.toml), quiet progress bars."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from paddle import nn

from hub.modules import compiled, devices

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Here and in every process that a test starts, before anything is computed: some of them are compared bit for bit.
devices.wake_mkl(Path("/proc/cpuinfo"))

# How long an example takes says something about the machine, and what else it does.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def empty_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point HOME and HUB_HOME at a fresh folder; forget every HUB_* variable and the width of the terminal."""
    home = tmp_path_factory.mktemp("home")
    for name in ("HUB_INDEX", "HUB_OFFLINE", "HUB_PADDLEHUB_SERVER", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("HUB_HOME", str(home / "hub"))
    return home


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wants_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not wants_gpu:
        return
    import paddle

    if not (paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count()):
        for item in wants_gpu:
            item.add_marker(pytest.mark.skip(reason="no GPU here"))


@pytest.fixture
def python() -> str:
    """The interpreter that runs the tests, for tests that need a fresh process."""
    return sys.executable


@pytest.fixture
def compilings(monkeypatch: pytest.MonkeyPatch) -> list[nn.Layer]:
    """The layers for which something was compiled."""
    found: list[nn.Layer] = []
    usual = compiled.forward

    def watched(layer: nn.Layer, batch: compiled.Batch, **options: Any) -> compiled.Forward:
        found.append(layer)
        return usual(layer, batch, **options)

    monkeypatch.setattr(compiled, "forward", watched)
    return found
