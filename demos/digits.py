"""From noise to handwritten digits: MMD flows in a feature space, and who copies the data.

The scikit-learn digits (8 x 8 pixels) are flowed onto in their leading principal components: in the
64 raw pixels a kernel sees mostly the noise of single pixels. The kernel is a Gaussian of half the
median distance: wider ones see mean and spread only, and narrow ones hold each particle to the
nearest picture. Both runs move particles explicitly with momentum; they differ in the weights:

  (a) MMD flow              weights stay; particles come as close to the data as the kernel asks
  (b) IFT, support united   an MMD step lets the data's own atoms in: it copies them

The distance to the nearest training picture shows which is which. Digits held back are as far from
the training pictures as the last row says; mass at less than a third of that counts as copied.
"""

import time
from dataclasses import dataclass

import numpy as np
from _options import Options, script

import jko
from jko import plot
from jko.solvers import Euler, SimplexQP
from jko.thinning import copied_mass, nearest_distances

ETA = 0.5  # the MMD step of (b)


@dataclass(frozen=True)
class Digits:
    """Training and held-back pictures as points in feature space, and the way back to pixels."""

    train: jko.Particles
    held: jko.Particles
    mean: np.ndarray
    axes: np.ndarray
    explained: float

    @classmethod
    def load(cls, features: int, count: int, rng: np.random.Generator) -> "Digits":
        """`count` pictures to train on; principal components are those of the training set."""
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise jko.InvalidArgument(
                "the digits come with scikit-learn; run pip install 'jko[demo]'"
            ) from None
        pixels = load_digits().data[rng.permutation(1797)] / 16
        train, held = pixels[:count], pixels[count : count + 500]
        mean = train.mean(axis=0)
        _, s, axes = np.linalg.svd(train - mean, full_matrices=False)
        axes = axes[:features]
        shares = s**2 / (s @ s)
        clouds = [jko.Particles((part - mean) @ axes.T) for part in (train, held)]
        return cls(clouds[0], clouds[1], mean, axes, float(shares[:features].sum()))

    def pictures(self, points: np.ndarray) -> np.ndarray:
        """Points of feature space as 8 x 8 pictures."""
        return (self.mean + points @ self.axes).reshape(-1, 8, 8)


def flows(
    digits: Digits, start: jko.Particles, kernel: jko.kernels.Kernel, steps: int
) -> tuple[jko.Trajectory, jko.Trajectory]:
    """The MMD flow, and IFT with united support (a tenth of the steps: each copies)."""
    first = kernel.bandwidth**2
    flow = jko.match(
        start, digits.train, kernel, steps=steps, weights="fixed", accelerate=True, first_step=first
    )
    united = SimplexQP(support="union", budget=start.n)
    ift = jko.flow(
        start,
        jko.MMDEnergy(digits.train, kernel),
        first * jko.Wasserstein() + ETA * jko.MMD(kernel),
        tau=1.0,
        steps=max(1, steps // 10),
        solver=(Euler(), united),
    )
    return flow, ift


def rows(name: str, sol: jko.Trajectory, digits: Digits, kernel: jko.kernels.Kernel) -> list[str]:
    """MMD to the training and the held-back set, mass on and near training pictures, distances."""
    usual = np.median(nearest_distances(digits.held, digits.train))
    last = len(sol.measures) - 1
    lines = []
    for k in sorted({0, last // 10, last // 3, last}):
        mu = sol.measures[k]
        distance = nearest_distances(mu, digits.train)
        near = np.median(distance[mu.weights > 0])
        copies = mu.weights[distance < usual / 3].sum() / mu.mass
        held = np.sqrt(kernel.mmd2(mu, digits.held))
        lines.append(
            f"{name}  {k:5d} {np.sqrt(2 * sol.energies[k]):9.2e} {held:9.2e}"
            f" {copied_mass(mu, digits.train):6.0%} {copies:7.0%} {near:9.3f} {mu.ess:6.0f}"
        )
    return lines


def draw(digits: Digits, sols: tuple[jko.Trajectory, ...], out: str) -> str:
    """Pictures along the flow, at its end with the nearest training picture, and of (b)."""
    flow, ift = sols
    last = len(flow.measures) - 1
    shown = [(f"(a) step {k}", flow.measures[k]) for k in (0, last // 10, last // 3, last)]
    train = digits.train.points
    end = flow.final.points[:10]
    nearest = train[((end[:, None] - train) ** 2).sum(axis=2).argmin(axis=1)]
    lines = [(label, mu.points[:10]) for label, mu in shown]
    lines += [("nearest to (a)", nearest)]
    heavy = np.argsort(-ift.final.weights, kind="stable")[:10]
    lines += [(f"(b) step {len(ift.steps)}", ift.final.points[heavy])]
    fig, ax = plot.figure([[str(i)] for i in range(len(lines))], (8.0, 1.0 * len(lines)))
    for i, (label, points) in enumerate(lines):
        strip = np.concatenate(list(digits.pictures(points)), axis=1)
        ax[str(i)].imshow(strip, cmap="gray_r", vmin=0, vmax=1)
        ax[str(i)].set(xticks=[], yticks=[])
        ax[str(i)].set_ylabel(label, rotation=0, ha="right", va="center")
    return str(plot.save(fig, plot.folder(out) / "digits.png"))


def main(argv: list[str] | None = None) -> int:
    """Run the demo."""
    parser = Options("digits", "From noise to handwritten digits by MMD flow and by IFT.")
    parser.whole("--features", 20, least=2, text="principal components")
    parser.whole("--train", 600, least=20, text="pictures to flow onto")
    parser.whole("--particles", 150, least=10)
    parser.whole("--steps", 150, least=10, text="of the MMD flow")
    parser.whole("--seed", 0, least=0)
    chosen = parser.parse_args(argv)
    if chosen.features > 60 or chosen.train > 1200:
        raise jko.InvalidArgument("pass at most --features 60 and --train 1200")
    rng = np.random.default_rng(chosen.seed)
    digits = Digits.load(chosen.features, chosen.train, rng)
    spread = np.sqrt(digits.train.points.var(axis=0).mean())
    start = jko.Particles(spread * rng.standard_normal((chosen.particles, chosen.features)))
    width = 0.5 * jko.kernels.median_bandwidth(digits.train.points)
    kernel = jko.kernels.Gaussian(width)
    print(
        f"Feature space: {chosen.features} principal components of {digits.train.n} digits,"
        f" {digits.explained:.0%} of their variance.\n"
        f"Kernel: Gaussian, bandwidth {width:.2f}, half the median distance.\n"
    )
    started = time.perf_counter()
    sols = flows(digits, start, kernel, chosen.steps)
    print(
        f"step, MMD (V-statistic) to {digits.train.n} training and {digits.held.n} held-back"
        " digits, mass on a training\npicture now, mass copied, median distance to the nearest,"
        " effective sample size\n\n       step     train      held     on  copied   nearest    ESS"
    )
    print("\n".join(rows("(a)", sols[0], digits, kernel) + rows("(b)", sols[1], digits, kernel)))
    between = np.sqrt(kernel.mmd2(digits.train, digits.held))
    near = np.median(nearest_distances(digits.held, digits.train))
    print(f"held back  {between:9.2e} {0:9.2e} {0:6.0%} {0:7.0%} {near:9.3f} {digits.held.n:6d}")
    print(f"\nTwo flows in {time.perf_counter() - started:.1f} s.")
    print(f"Figure: {draw(digits, sols, chosen.out)}")
    return 0


if __name__ == "__main__":
    script(main)
