"""Measures as plain values, through JSON and back."""

import json

import numpy as np
import pytest
from generators import measures

import jko
from jko.measures import from_dict
from jko.measures.taking import PARTS

GRID = jko.Grid([-1.0, 0.0], [1.0, 0.3], [3, 2], periodic=[True, False], mask=np.arange(6) > 0)
ALL = [
    measures.histogram(mass=2.0),
    measures.particles(mass=0.1),
    measures.grid_density(mass=3.0),
    jko.GridDensity(GRID, np.arange(6.0) / 3),
    measures.gaussian(mass=0.3),
    measures.mixture(),
    jko.Histogram([[-0.0], [5e-324], [1e308]], [5e-324, 0.0, 1 / 3]),
]


@pytest.mark.parametrize("mu", ALL, ids=lambda mu: type(mu).__name__)
def test_there_and_back(mu):
    """The same type and the same bits in every argument."""
    back = from_dict(json.loads(json.dumps(mu.to_dict())))
    assert type(back) is type(mu)
    for part in PARTS[type(mu)]:
        one, two = getattr(back, part), getattr(mu, part)
        if isinstance(two, np.ndarray):
            assert one.tobytes() == two.tobytes()
            assert not one.flags.writeable
        else:
            assert one == two


def test_what_is_no_measure_is_refused():
    tree = ALL[0].to_dict()
    for bad in (None, [], {}, {"type": 3}, 1.0):
        with pytest.raises(jko.InvalidType, match="to_dict"):
            from_dict(bad)
    for bad in ({**tree, "type": "Nothing"}, {**tree, "more": 1}, {"type": "Histogram"}):
        with pytest.raises(jko.InvalidMeasure, match="describes no measure"):
            from_dict(bad)
    with pytest.raises(jko.InvalidMeasure, match=r"weights\[0\] = -1"):
        from_dict({**tree, "weights": [-1.0] * len(tree["weights"])})

    class Mine(jko.Histogram):
        pass

    with pytest.raises(jko.Unsupported, match="a Mine has no plain form"):
        Mine([[0.0]], [1.0]).to_dict()
