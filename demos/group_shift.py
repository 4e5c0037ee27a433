"""Digits under a group shift: rare in training, common afterwards.

A linear classifier tells odd digits from even ones. Eights and nines are scarce in the training
data, and their share grows at test time. The atoms of the measure are the ten digits; the ball is
KL, of the radius that just holds equal shares, so that the robust loss bounds every such mixture.
"""

import numpy as np
from _options import Options, script

import jko
from jko import plot

RARE = (8, 9)
PENALTY = 1e-3


class Groups:
    """The mean logistic loss of each digit, as a function of theta."""

    def __init__(self, images: np.ndarray, digits: np.ndarray) -> None:
        self.x = np.column_stack([images / 16 - 0.5, np.ones(len(digits))])
        self.sign = np.where(digits % 2 == 1, 1.0, -1.0)
        member = digits[:, None] == np.arange(10)
        self.share, self.mean = member.mean(axis=0), member / member.sum(axis=0)

    def loss(self, theta: np.ndarray, atoms: np.ndarray | None = None) -> np.ndarray:
        """Of each digit (10,); the atoms are the digits themselves."""
        return np.logaddexp(0, -self.sign * (self.x @ theta)) @ self.mean

    def gradient(self, theta: np.ndarray, atoms: np.ndarray) -> np.ndarray:
        """(10, p)."""
        steep = -self.sign / (1 + np.exp(self.sign * (self.x @ theta)))
        return self.mean.T @ (steep[:, None] * self.x)


def data(seed: int) -> tuple[Groups, Groups]:
    """Training digits with few eights and nines; as many test digits as scikit-learn has left."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise jko.InvalidArgument(
            "the digits come with scikit-learn; run pip install 'jko[demo]'"
        ) from None
    images, digits = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(digits))
    train, test = order[:900], order[900:]
    train = train[~np.isin(digits[train], RARE) | (rng.random(900) < 0.15)]
    return Groups(images[train], digits[train]), Groups(images[test], digits[test])


def mixture(share: np.ndarray, rare: float) -> np.ndarray:
    """Shares of the digits when eights and nines together make up `rare`."""
    inside = np.isin(np.arange(10), RARE)
    return np.where(inside, rare / len(RARE), (1 - rare) * share / share[~inside].sum())


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("group_shift", "Odd or even digits, when rare digits become common.")
    parser.whole("--seed", 0, least=0)
    chosen = parser.parse_args(argv)

    train, test = data(chosen.seed)
    nominal = jko.Histogram(np.arange(10.0)[:, None], train.share)
    kl = jko.Divergence(p=1)
    radius = jko.KL(nominal).value(nominal.with_weights(np.full(10, 0.1)))
    print(f"Eights and nines: {train.share[list(RARE)].sum():.1%} of the training data.")
    print(f"KL from its shares to equal ones, the radius: {radius:.3f}\n")
    fits = {
        name: jko.dro.minimise(
            train.loss, np.zeros(65), nominal, kl,
            gradient=train.gradient, radius=size, penalty=PENALTY,
        )
        for name, size in (("ERM", 0.0), ("robust", radius))
    }  # fmt: skip
    worst = {
        name: jko.dro.worst_case(train.loss(fit.theta), nominal, kl, radius=radius)
        for name, fit in fits.items()
    }
    for name, found in worst.items():
        print(f"{name:>6}: gap of the fit {fits[name].gap:.1e}; {found}")
    rares = np.linspace(0, 0.6, 7)
    lost = {
        name: [mixture(test.share, r) @ test.loss(fit.theta) for r in rares]
        for name, fit in fits.items()
    }
    print("\nrare at test   loss of ERM   loss of the robust fit   change")
    for r, a, b in zip(rares, lost["ERM"], lost["robust"], strict=True):
        print(f"{r:12.0%} {a:13.4f} {b:24.4f} {100 * (b / a - 1):+8.0f} %")
    print()

    fig, ax = plot.figure([["loss", "measure"]], (10.0, 4.0), width_ratios=[1, 1.3])
    for name, color in zip(fits, plot.COLORS[1::-1], strict=True):
        ax["loss"].plot(100 * rares, lost[name], "o-", color=color, label=name)
    ax["loss"].set_ylim(0)
    plot.finish(
        ax["loss"], xlabel="share of eights and nines at test time (%)", ylabel="test loss",
        title="odd or even", legend="upper left",
    )  # fmt: skip
    bars = {
        "training data": (train.share, plot.FAINT),
        "worst case for ERM": (worst["ERM"].measure.weights, plot.COLORS[1]),
        "worst case for the robust fit": (worst["robust"].measure.weights, plot.COLORS[0]),
    }
    for k, (label, (height, color)) in enumerate(bars.items()):
        ax["measure"].bar(np.arange(10) + 0.27 * (k - 1), height, 0.27, color=color, label=label)
    top = max(height.max() for height, _ in bars.values())
    ax["measure"].set(xticks=range(10), ylim=(0, 1.35 * top))
    plot.finish(
        ax["measure"], xlabel="digit", ylabel="share", title="where the mass goes",
        legend="upper left",
    )  # fmt: skip
    print(f"Figure: {plot.save(fig, plot.folder(chosen.out) / 'group_shift.png')}")
    return 0


if __name__ == "__main__":
    script(main)
