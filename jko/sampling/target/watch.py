"""How far a run is: a bar, or a function of the stage and the evaluations so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jko.errors import InvalidArgument, InvalidType

Listener = Callable[[str, int], None]


class Watch:
    """Hears of every stage and every batch of evaluations; `progress` says who is told.

    Parameters
    ----------
    progress : bool or callable (stage, evaluations)
    """

    def __init__(self, progress: bool | Listener = False) -> None:
        self.stage = "start"
        self._bar: Any = None
        self._tell: Listener | None = None
        if callable(progress):
            self._tell = progress
        elif progress is True:
            self._bar = _bar()
        elif progress is not False:
            raise InvalidType(
                f"progress got {type(progress).__name__}; pass True, False, or a function of the"
                " stage and the number of evaluations"
            )

    def enter(self, stage: str) -> None:
        """A stage begins."""
        self.stage = stage
        if self._bar is not None:
            self._bar.set_description(f"jko.sample: {stage}")

    def count(self, evaluations: int) -> None:
        """So many values of the density have been taken in all."""
        if self._tell is not None:
            self._tell(self.stage, evaluations)
        if self._bar is not None:
            self._bar.update(evaluations - self._bar.n)

    def close(self) -> None:
        """The run has ended."""
        if self._bar is not None:
            self._bar.close()


def _bar() -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        raise InvalidArgument(
            "a progress bar needs tqdm; install it with pip install 'jko[demo]', or pass a function"
        ) from None
    return tqdm(unit=" values", unit_scale=True, desc="jko.sample")
