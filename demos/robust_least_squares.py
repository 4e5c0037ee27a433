"""Robust least squares under shift: ten draws of an uncertain matrix, tested far beyond them.

min over theta of E |A(xi) theta - b|^2 with A(xi) = A0 + xi A1 and ten draws of xi in [-1/2, 1/2].
The worst case in a kernel ball around the draws may charge certification points in [-3, 3]; it is
the proximal step of minus the loss (formula R1), and theta is trained against it.
"""

import numpy as np
from _options import Options, script

import jko
from jko import plot

RADIUS, REACH = 0.3, 3.0
SHIFTS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)


class Problem:
    """A0, A1, b and the draws of one seed."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.a0, self.a1 = rng.normal(size=(10, 10)), rng.normal(size=(10, 10))
        self.b, self.xi = rng.normal(size=10), rng.uniform(-0.5, 0.5, size=(10, 1))

    def residual(self, theta: np.ndarray, xi: np.ndarray) -> np.ndarray:
        """A(xi) theta - b, a row per xi."""
        return self.a0 @ theta + xi * (self.a1 @ theta) - self.b

    def loss(self, theta: np.ndarray, xi: np.ndarray) -> np.ndarray:
        """|A(xi) theta - b|^2."""
        return (self.residual(theta, xi) ** 2).sum(axis=1)

    def gradient(self, theta: np.ndarray, xi: np.ndarray) -> np.ndarray:
        """Of the loss in theta, a row per xi."""
        r = self.residual(theta, xi)
        return 2 * (r @ self.a0 + xi * (r @ self.a1))

    def fit(self, radius: float, points: np.ndarray) -> jko.dro.RobustFit:
        """theta against the ball of this radius; radius 0 is empirical risk minimisation."""
        return jko.dro.minimise(
            self.loss, np.zeros(10), jko.Particles(self.xi), jko.MMD(jko.kernels.Gaussian(1.0)),
            gradient=self.gradient, radius=radius, support="union", points=points,
        )  # fmt: skip

    def shifted(self, theta: np.ndarray, shift: float) -> float:
        """Mean loss over xi uniform on [-1/2 - shift, 1/2 + shift] (Gauss-Legendre: exact)."""
        nodes, weights = np.polynomial.legendre.leggauss(4)
        return float(weights / 2 @ self.loss(theta, (0.5 + shift) * nodes[:, None]))


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("robust_least_squares", "Least squares that survive a shift of their matrix.")
    parser.whole("--seeds", 10, text="problems to average over")
    parser.whole("--points", 13, least=2, text="certification points in [-3, 3]")
    chosen = parser.parse_args(argv)

    points = np.linspace(-REACH, REACH, chosen.points)[:, None]
    problems = [Problem(seed) for seed in range(chosen.seeds)]
    erm = [p.fit(0.0, points) for p in problems]
    robust = [p.fit(RADIUS, points) for p in problems]
    print(f"Worst gap of a fit: {max(f.gap / max(1, f.value) for f in robust):.1e}\n")
    print("shift   loss of ERM   loss of the robust fit   change")
    curves = np.array([
        [[p.shifted(f.theta, s) for s in SHIFTS] for p, f in zip(problems, fits, strict=True)]
        for fits in (erm, robust)
    ])  # fmt: skip
    for shift, a, b in zip(SHIFTS, *curves.mean(axis=1), strict=True):
        print(f"{shift:5.1f} {a:13.3f} {b:24.3f} {100 * (b / a - 1):+8.0f} %")

    first, fit = problems[0], robust[0]
    print(f"\nFirst problem, against its own worst case: {fit.worst}")
    fig, ax = plot.figure([["loss", "measure"]], (10.0, 4.0), width_ratios=[1, 1.2])
    for curve, label, color in zip(curves, ("ERM", "robust"), plot.COLORS[1::-1], strict=True):
        ax["loss"].plot(SHIFTS, curve.mean(axis=0), "o-", color=color, label=label)
    ax["loss"].axhline(
        np.mean([f.value for f in robust]),
        ls="--",
        color=plot.MUTED,
        label="worst case, robust fit",
    )
    ax["loss"].set(yscale="log")
    plot.finish(
        ax["loss"], xlabel="shift beyond the training range", ylabel="test loss",
        title=f"mean of {chosen.seeds} problems", legend="upper left",
    )  # fmt: skip
    worst, x = fit.worst.measure, np.linspace(-REACH, REACH, 301)[:, None]
    axis = ax["measure"]
    lines = []
    for theta, color, label in (
        (erm[0].theta, plot.COLORS[1], "loss of ERM"),
        (fit.theta, plot.COLORS[0], "loss of the robust fit"),
    ):
        lines += axis.plot(x, first.loss(theta, x), color=color, label=label)
    axis.set(yscale="log")
    mass = axis.twinx()
    bars = [
        mass.bar(first.xi[:, 0], np.full(10, 0.1), 0.04, color=plot.FAINT, label="ten draws"),
        mass.bar(worst.points[:, 0], worst.weights, 0.08, color=plot.COLORS[2], label="worst case"),
    ]
    mass.set(ylim=(0, 1.0), ylabel="mass")
    mass.legend(handles=[*lines, *bars], loc="upper center", frameon=False)
    plot.finish(axis, xlabel="xi", ylabel="loss", title="first problem: where the mass goes")
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'robust_least_squares.png')}")
    return 0


if __name__ == "__main__":
    script(main)
