"""A user's penalty form, compared with the squared distance that it stands for."""

from __future__ import annotations

from jko.errors import InvalidArgument
from jko.geometries.base import Geometry
from jko.measures.base import Discrete


def check_penalty(geometry: Geometry, nu: Discrete, previous: Discrete) -> None:
    """Refuse a form whose value at `nu` is not half the squared distance to `previous`.

    Of geometries of the user's: those of the library are tested.
    """
    if type(geometry).__module__.split(".")[0] == "jko":
        return
    form = geometry.penalty_form(previous)
    assert form is not None
    found = form.value(nu.weights)
    wanted = 0.5 * geometry.sqdistance(nu, previous) * geometry.rate
    # No rounding of sums, whichever way they are ordered.
    rounding = 1e-7 * max(abs(found), abs(wanted)) + 1e-13 * form.sizes(nu.weights, False).raw
    if not abs(found - wanted) <= rounding:
        raise InvalidArgument(
            f"penalty_form of {type(geometry).__name__} is {found:.6g} at the answer, and half of"
            f" _sqdistance is {wanted:.6g}; return the form of D^2(., previous) / 2"
        )
