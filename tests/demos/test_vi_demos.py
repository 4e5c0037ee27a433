"""The demos of variational inference run, and their figures are right."""

import re

import numpy as np


def test_banana(demo):
    """Seeking is narrower than covering; covering has the target's spread; the mixture fits."""
    printed = demo("banana", "--components", "4")
    evidence = [float(e) for e in re.findall(r"log evidence (\S+)", printed)]
    for part, limit, close in zip(printed.split("log evidence")[1:], evidence, (0.25, 2e-3),
                                  strict=True):  # fmt: skip
        sds = {k: np.array([float(a), float(b)]) for k, a, b in re.findall(
            r"^(\w+) .*? (\d+\.\d{4}) +(\d+\.\d{4})(?: |$)", part, re.M)}  # fmt: skip
        elbo = {k: float(v) for k, v in re.findall(r"^(\w+) +(-?\d+\.\d{4}) +\d", part, re.M)}
        assert (sds["exclusive"] < sds["inclusive"] * [1, 1.2]).all()
        assert sds["exclusive"][0] < 0.7 * sds["target"][0]
        np.testing.assert_allclose(sds["inclusive"], sds["target"], rtol=0.03)
        assert elbo["inclusive"] < elbo["exclusive"] < elbo["mixture"] <= limit + 1e-3
        assert limit - elbo["mixture"] < close
        assert float(re.search(r"off by at most (\S+)", part).group(1)) < 4


def test_logistic_vi(demo):
    """The variational Gaussian is nearer to the chain than Laplace, in means and in spread."""
    printed = demo("logistic_vi", "--chain", "1500")
    rows = {
        name: [float(v) for v in values]
        for name, *values in re.findall(
            r"^(Laplace|variational) +(\S+) +(\S+) +(\S+) \.\. (\S+)$", printed, re.M
        )
    }
    laplace, fit = rows["Laplace"], rows["variational"]
    assert fit[0] > laplace[0] + 0.2  # the bound
    assert fit[1] < 0.1 < laplace[1]  # means, in posterior standard deviations
    assert laplace[2] < fit[2] < fit[3] < 1.03
    assert float(re.search(r"error of its means (\S+) sd", printed).group(1)) < 0.02
