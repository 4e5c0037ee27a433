"""Callers that judge a whole flow get Ctrl-C as an exception, not half a flow."""

from __future__ import annotations

import numpy as np
import pytest

import jko
from jko.flows.driver import interrupts_passed_on


def _interrupt(event: jko.callbacks.Event) -> None:
    if event.index == 2:
        raise KeyboardInterrupt


def _run(**options) -> jko.Trajectory:
    mu = jko.Histogram(np.arange(3.0)[:, None], [0.2, 0.3, 0.5])
    energy = jko.KL(mu.with_weights([0.4, 0.4, 0.2]))
    return jko.flow(mu, energy, jko.Hellinger(), tau=0.1, steps=5, callbacks=_interrupt, **options)


def test_interrupts_pass_through_where_asked(tmp_path) -> None:
    path = tmp_path / "run.npz"
    with interrupts_passed_on(), pytest.raises(KeyboardInterrupt):
        _run(checkpoint=path)
    assert path.exists()
    with pytest.warns(RuntimeWarning, match="interrupted"):
        assert _run().status == "interrupted"


def test_a_check_that_is_interrupted_gives_no_verdict(monkeypatch) -> None:
    from jko.verify import report

    monkeypatch.setitem(report.CHECKS, "mmd-contraction", _run)
    with pytest.raises(KeyboardInterrupt):
        jko.verify.all("mmd_contraction")
