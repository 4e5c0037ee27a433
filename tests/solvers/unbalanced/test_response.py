"""Weights that answer a linear potential, an entropy and a kernel: where the gradient vanishes."""

import numpy as np
import pytest

import jko
from jko.forms.separable import Separable
from jko.prox.problem import ProxProblem
from jko.solvers.unbalanced.response import QuadraticResponse


@pytest.mark.parametrize("reach", [1.0, 40.0, 400.0, 4000.0])
def test_answers_to_steep_potentials(reach):
    """From weights of e^200 no step of Newton's was accepted, in sixty rounds of each iteration."""
    x = np.random.default_rng(0).random((8, 2))
    mu, energy = jko.Histogram(x, np.full(8, 1 / 8)), jko.Interaction(jko.kernels.Gaussian(2.0))
    form = ProxProblem(6.7 * energy, jko.WassersteinFisherRao(), mu, 1.0).form
    h = Separable(np.linspace(-reach / 5, reach, 8), {1.0: np.full(8, 3.8)})
    log_w = QuadraticResponse(form, np.zeros(8))(h, np.zeros(8))
    w = np.exp(log_w)
    # h' = linear + 3.8 log w, also where w underflows
    force = h.linear + 3.8 * log_w + form.quadratic_gradient(w)
    assert np.abs(force[w > 0]).max() <= 1e-9 * reach
