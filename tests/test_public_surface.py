"""The public surface only grows: names, parameters, result fields, sentences of a status."""

import json
from pathlib import Path
from typing import Any

import pytest
from data.make_public_surface import surface

FROZEN: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data" / "public_surface.json").read_text()
)


@pytest.fixture(scope="module")
def now() -> dict[str, Any]:
    return surface()


@pytest.mark.parametrize("room", sorted(FROZEN["rooms"]))
def test_no_name_and_no_parameter_went(room: str, now: dict[str, Any]) -> None:
    before, after = FROZEN["rooms"][room], now["rooms"][room]
    assert set(before) <= set(after)
    for name, parameters in before.items():
        assert set(parameters or []) <= set(after[name] or []), name


def test_solver_settings_are_read_as_before(now: dict[str, Any]) -> None:
    for name, parameters in FROZEN["solver fields"].items():
        assert set(parameters or []) <= set(now["solver fields"][name] or []), name


def test_results_keep_their_fields_and_statuses_their_sentences(now: dict[str, Any]) -> None:
    assert set(FROZEN["result"]) <= set(now["result"])
    assert set(FROZEN["trajectory"]) <= set(now["trajectory"])
    assert FROZEN["status"].items() <= now["status"].items()
