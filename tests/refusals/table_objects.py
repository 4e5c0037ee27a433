"""Bad input to measures, kernels, energies and geometries: what is called, raised and said."""

import numpy as np
from generators import measures
from scipy import sparse

import jko
from jko import kernels
from jko.errors import InvalidArgument, InvalidMeasure, InvalidType, Unsupported

X = [[0.0], [1.0], [2.0]]
HALF = [0.5, 0.3, 0.2]
HIST = jko.Histogram(X, HALF)
GRID = jko.Grid(-1.0, 1.0, 4)
K = kernels.Gaussian(1.0)
NAN, INF = float("nan"), float("inf")


class Tensor:
    """What PyTorch's tensors look like while they record gradients."""

    requires_grad = True

    def __array__(self, *args, **kwargs):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


class Unreadable:
    """An array of another library that numpy cannot read."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("lives on another device\nand has a long story")


def log_density(values):
    return jko.LogDensity(lambda x: np.full(len(x), values), dim=1)


# fmt: off
#: id, callable, exception, fragments of the message (regular expressions, all must be found)
MEASURES = [
    ("points-1d", lambda: jko.Histogram([0.0, 1.0], HALF[:2]), InvalidMeasure,
     (r"points has shape \(2,\)", r"points\[:, None\]")),
    ("points-3d", lambda: jko.Particles(np.zeros((2, 2, 2))), InvalidMeasure,
     (r"points has shape \(2, 2, 2\)", r"expected \(n, d\)")),
    ("points-empty", lambda: jko.Particles(np.zeros((0, 2))), InvalidMeasure,
     (r"points has shape \(0, 2\)", "n, d >= 1")),
    ("points-nan", lambda: jko.Particles([[0.0], [NAN]]), InvalidMeasure,
     ("points has 1 non-finite", r"index \(1, 0\)", "remove or replace")),
    ("points-text", lambda: jko.Particles([["a"], ["b"]]), InvalidType,
     ("points must be an array of real numbers", "np.asarray")),
    ("points-ragged", lambda: jko.Particles([[0.0], [1.0, 2.0]]), InvalidType,
     ("points must be an array",)),
    ("points-complex", lambda: jko.Particles([[1j]]), InvalidType,
     ("points must be an array of real numbers", "complex")),
    ("weights-masked", lambda: jko.Histogram(X, np.ma.masked_array(HALF, [0, 1, 0])), InvalidType,
     ("weights is a masked array with 1 masked", r"weights.filled\(0.0\)")),
    ("points-masked", lambda: jko.Particles(np.ma.masked_greater(X, 1.5)), InvalidType,
     ("points is a masked array with 1 masked", r"points.compressed\(\)")),
    ("raster-masked",
     lambda: jko.GridDensity(GRID, np.ma.masked_array([1.0, 2.0, 1e20, 3.0], [0, 0, 1, 0])),
     InvalidType, ("weights is a masked array with 1 masked", "no mass")),
    ("weights-sparse", lambda: jko.Histogram(X, sparse.csr_matrix([HALF])), InvalidType,
     ("weights is a sparse csr_matrix", r"pass weights.toarray\(\)")),
    ("points-sparse", lambda: jko.Particles(sparse.coo_array(np.eye(3))), InvalidType,
     ("points is a sparse coo_array", r"pass points.toarray\(\)")),
    ("points-tensor", lambda: jko.Particles(Tensor()), InvalidType,
     ("points is a Tensor that requires grad", r"points.detach\(\).cpu\(\).numpy\(\)")),
    ("weights-unreadable", lambda: jko.Histogram(X, Unreadable()), InvalidType,
     ("weights must be an array of numbers: lives on another device",)),
    ("points-endless", lambda: jko.Particles([[10**400]]), InvalidType,
     ("points must be an array of real numbers", "dtype object")),
    ("points-beyond", lambda: jko.Particles(np.full((1, 1), np.longdouble("1e400"))),
     InvalidMeasure, ("points has 1 non-finite",)),
    ("points-objects", lambda: jko.Particles(np.array([[None]])), InvalidType,
     ("points must be an array of real numbers", "dtype object")),
    ("grid-mask-masked", lambda: jko.Grid(0, 1, 3, mask=np.ma.masked_array([True] * 3, [0, 1, 0])),
     InvalidType, ("mask is a MaskedArray", "booleans")),
    ("grid-mask-ragged", lambda: jko.Grid(0, 1, 3, mask=[[True], [True, False]]), InvalidType,
     ("mask must be an array of booleans",)),
    ("grid-shape-endless", lambda: jko.Grid(0, 1, 10**400), InvalidArgument,
     (r"shape = 2\*\*1328 or more is more than",)),
    ("grid-shape-dict", lambda: jko.Grid(0, 1, {3: 4}), InvalidType,
     ("shape must be a whole number, got dict",)),
    ("gaussian-mass-endless", lambda: jko.Gaussian([0.0], 1.0, 10**400), InvalidArgument,
     (r"mass = 2\*\*1328 or more is beyond double", "1e308")),
    ("weights-shape", lambda: jko.Histogram(X, [1.0]), InvalidMeasure,
     (r"weights has shape \(1,\)", r"expected \(3,\)", "one per point")),
    ("weights-negative", lambda: jko.Histogram(X, [0.5, -0.1, 0.6]), InvalidMeasure,
     (r"weights\[1\] = -0.1 is negative", "weights >= 0")),
    ("weights-inf", lambda: jko.Histogram(X, [0.5, INF, 0.6]), InvalidMeasure,
     ("weights has 1 non-finite", r"\(1,\)", "remove or replace")),
    ("weights-zero", lambda: jko.Histogram(X, [0.0, 0.0, 0.0]), InvalidMeasure,
     ("weights sum to zero", "positive mass")),
    ("weights-none", lambda: jko.Histogram(X, None), InvalidType,
     ("weights must be an array", "NoneType")),
    ("with-weights", lambda: HIST.with_weights([1.0, 2.0]), InvalidMeasure,
     (r"weights has shape \(2,\)", r"expected \(3,\)")),
    ("with-points", lambda: HIST.with_points(X), Unsupported,
     ("points of a Histogram are fixed", "jko.Particles")),
    ("expect-shape", lambda: HIST.expect(lambda x: 1.0), InvalidMeasure,
     (r"f returned shape \(\) for 3 points", "one value")),
    ("grid-order", lambda: jko.Grid(1.0, 1.0, 4), InvalidArgument,
     (r"lower = \[1.\] must be below upper = \[1.\]",)),
    ("grid-axes", lambda: jko.Grid([0.0, 0.0], [1.0, 1.0], 4), InvalidArgument,
     (r"shape \(1,\) disagree", "one entry per axis")),
    ("grid-shape-zero", lambda: jko.Grid(0.0, 1.0, 0), InvalidArgument,
     ("shape = 0 must be at least 1",)),
    ("grid-shape-float", lambda: jko.Grid(0.0, 1.0, 4.5), InvalidType,
     ("shape must be a whole number", "4.5")),
    ("grid-density-grid", lambda: jko.GridDensity("grid", np.ones(4)), InvalidType,
     ("grid got 'grid'", r"pass a jko.Grid\(lower, upper, shape\)")),
    ("grid-density-shape", lambda: jko.GridDensity(GRID, np.ones(5)), InvalidMeasure,
     (r"weights has shape \(5,\)", r"expected \(4,\)")),
    ("grid-density-mass",
     lambda: jko.GridDensity.from_function(lambda x: np.ones(len(x)), GRID, mass=-1.0),
     InvalidArgument, ("mass = -1 must be positive",)),
    ("gaussian-cov", lambda: jko.Gaussian([0.0, 0.0], np.diag([1.0, -1.0])), InvalidMeasure,
     ("cov is not positive definite", "eigenvalue -1", "multiple of the identity")),
    ("gaussian-symmetry", lambda: jko.Gaussian([0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]]),
     InvalidMeasure, ("cov is not symmetric", r"\(cov \+ cov.T\) / 2")),
    ("gaussian-shape", lambda: jko.Gaussian([0.0, 0.0], [[1.0]]), InvalidMeasure,
     (r"cov has shape \(1, 1\)", r"expected \(2, 2\)")),
    ("gaussian-mass", lambda: jko.Gaussian([0.0], [[1.0]], mass=0.0), InvalidArgument,
     ("mass = 0 must be positive",)),
    ("mixture-shape", lambda: jko.GaussianMixture([[0.0], [1.0]], np.ones((1, 1, 1))),
     InvalidMeasure, (r"covs has shape \(1, 1, 1\)", r"\(2, 1, 1\)")),
    ("log-density", lambda: jko.LogDensity("exp"), InvalidType,
     ("log_density got str", r"\(n, d\) -> \(n,\)")),
    ("log-density-gradient", lambda: jko.LogDensity(lambda x: x, gradient=3), InvalidType,
     ("gradient got int", r"\(n, d\) -> \(n, d\)")),
    ("log-density-dim", lambda: jko.LogDensity(lambda x: x, dim=0), InvalidArgument,
     ("dim = 0 must be at least 1",)),
]

KERNELS = [
    ("bandwidth-zero", lambda: kernels.Gaussian(0.0), InvalidArgument,
     ("bandwidth = 0 must be positive",)),
    ("bandwidth-text", lambda: kernels.Gaussian("wide"), InvalidType,
     ("bandwidth must be a number", "'wide'")),
    ("bandwidth-nan", lambda: kernels.Laplace(NAN), InvalidArgument,
     ("bandwidth = nan is not finite", "pass a finite number")),
    ("nu", lambda: kernels.Matern(1.0, nu=1.0), (Unsupported, InvalidArgument), ("nu = 1",)),
    ("exponent", lambda: kernels.Energy(exponent=2.5), InvalidArgument, ("exponent = 2.5",)),
    ("factor", lambda: -1.0 * K, InvalidArgument, ("factor = -1", "no kernel")),
    ("product", lambda: K * kernels.Energy(), Unsupported,
     ("conditional", r"kernel.positive\(\)")),
    ("dimensions", lambda: K(np.zeros((2, 2)), np.zeros((2, 3))), InvalidArgument,
     ("dimension",)),
]

ENERGIES = [
    ("kl-target", lambda: jko.KL("target"), InvalidType,
     ("target got 'target'", "pass a measure", "jko.LogDensity")),
    ("kl-array", lambda: jko.KL(np.ones(3)), InvalidType, ("target got ndarray", "pass a measure")),
    ("inclusive-target", lambda: jko.InclusiveKL(None), InvalidType,
     ("target got NoneType", "pass a measure")),
    ("phi-p", lambda: jko.PhiDivergence(HIST, p="two"), InvalidType,
     ("p must be a number", "'two'")),
    ("phi-p-nan", lambda: jko.PhiDivergence(HIST, p=NAN), InvalidArgument,
     ("p = nan is not finite",)),
    ("mmd-target", lambda: jko.MMDEnergy(np.ones((3, 1)), K), InvalidType,
     ("target got ndarray", "pass a measure")),
    ("mmd-kernel", lambda: jko.MMDEnergy(HIST, "gaussian"), InvalidType,
     ("kernel got 'gaussian'", "jko.kernels.Gaussian")),
    ("mmd-swapped", lambda: jko.MMDEnergy(K, HIST), InvalidType, ("target got Gaussian",)),
    ("mmd-statistic", lambda: jko.MMDEnergy(HIST, K, statistic="W"), InvalidArgument,
     ("statistic = 'W' is unknown", "'V', 'U'")),
    ("mmd-u-single", lambda: jko.MMDEnergy(jko.Particles([[0.0]]), K, "U").value(HIST),
     InvalidMeasure, ("single atom", 'statistic="V"')),
    ("mmd-dimension", lambda: jko.MMDEnergy(measures.particles(4, 2), K).value(HIST),
     InvalidMeasure, ("dimension 2", "dimension 1", "same space")),
    ("mmd-masses",
     lambda: jko.MMDEnergy(HIST.with_weights([1, 1, 1]), kernels.Energy()).value(HIST),
     Unsupported, ("conditionally positive definite", "masses 1 and 3", "normalise")),
    ("mmd-no-closed-form",
     lambda: jko.MMDEnergy(jko.Gaussian([0.0], [[1.0]]), kernels.Laplace(1.0)).value(HIST),
     Unsupported, ("no closed-form integral", "sample the Gaussian into Particles")),
    ("potential-text", lambda: jko.Potential("x**2"), InvalidType,
     ("V must be an array of real numbers", "str")),
    ("potential-shape", lambda: jko.Potential([1.0, 2.0]).value(HIST), InvalidMeasure,
     (r"V gave shape \(2,\) for 3 atoms", "one value per atom")),
    ("potential-nan", lambda: jko.Potential([1.0, NAN, 0.0]).value(HIST), InvalidMeasure,
     ("V is nan at atom 1", r"\[1.0\]")),
    ("potential-minus-inf", lambda: jko.Potential([1.0, -INF, 0.0]).value(HIST), InvalidMeasure,
     ("V is -inf at atom 1",)),
    ("potential-gradient", lambda: jko.Potential(lambda x: x[:, 0], gradient=[1.0]), InvalidType,
     ("gradient got list", "pass a function")),
    ("potential-no-gradient", lambda: jko.Potential(lambda x: x[:, 0]).wasserstein_gradient(HIST),
     Unsupported, ("no gradient", r"Potential\(V, gradient=...\)")),
    ("potential-gradient-shape",
     lambda: jko.Potential(lambda x: x[:, 0], lambda x: x[:, 0]).wasserstein_gradient(HIST),
     InvalidMeasure, (r"gradient of V returned shape \(3,\)", r"\(3, 1\)")),
    ("infinite-mass", lambda: jko.Histogram(X, [1e308, 1e308, 0.0]), InvalidMeasure,
     ("weights sum to infinity", "rescale")),
    ("entropy-reference", lambda: jko.Entropy(reference=[1.0, 0.0, 1.0]), InvalidMeasure,
     ("reference has minimum 0", "positive")),
    ("entropy-shape", lambda: jko.Entropy(reference=[1.0]).value(HIST), InvalidMeasure,
     (r"reference has shape \(1,\)", r"expected \(3,\)")),
    ("entropy-particles", lambda: jko.Entropy().value(jko.Particles([[0.0, 1.0]])), Unsupported,
     ("Entropy of particles", "jko.GridDensity")),
    ("porous-gaussian", lambda: jko.PorousMedium(2).value(jko.Gaussian([0.0], [[1.0]])),
     Unsupported, ("no value on a Gaussian", "jko.GridDensity")),
    ("kl-no-atoms", lambda: jko.KL(jko.Gaussian([0.0], [[1.0]])).value(jko.Particles(X)),
     Unsupported, ("Gaussian has no mass on the atoms", "jko.GridDensity")),
    ("kl-other-grid",
     lambda: jko.KL(jko.GridDensity(jko.Grid(0.0, 1.0, 4), np.ones(4))).value(
         jko.GridDensity(GRID, np.ones(4))),
     InvalidArgument, ("target lives on Grid", "sample the target on the measure's grid")),
    ("kl-dimension", lambda: jko.KL(measures.histogram(4, 2)).value(HIST), InvalidArgument,
     ("target lives in dimension 2", "in dimension 1")),
    ("kl-log-density-nan", lambda: jko.KL(log_density(NAN)).value(
        jko.GridDensity(GRID, np.ones(4))), InvalidMeasure, ("log_density is nan at point",)),
    ("kl-log-density-shape",
     lambda: jko.KL(jko.LogDensity(lambda x: x, dim=1)).value(jko.GridDensity(GRID, np.ones(4))),
     InvalidMeasure, (r"log_density returned shape \(4, 1\) for 4 points", "one value per point")),
    ("inclusive-misses", lambda: jko.InclusiveKL(jko.Histogram([[5.0]], [1.0])).value(HIST),
     Unsupported, ("target has mass 1", "cannot charge", "infinite", "union")),
    ("energy-plus-number", lambda: jko.KL(HIST) + 1.0, InvalidType,
     ("energy got 1.0", "add two energies")),
    ("energy-plus-text", lambda: jko.KL(HIST) + "KL", InvalidType, ("energy got 'KL'",)),
    ("energy-times-zero", lambda: 0 * jko.KL(HIST), InvalidArgument,
     ("factor of an energy = 0 must be positive",)),
    ("energy-times-nan", lambda: NAN * jko.KL(HIST), InvalidArgument, ("factor", "nan")),
]

TWO = jko.Histogram(X, [1.0, 0.5, 0.5])
ELSEWHERE = jko.Histogram([[3.0], [4.0]], [0.5, 0.5])

GEOMETRIES = [
    ("hellinger-mass", lambda: jko.Hellinger(mass="unit"), InvalidArgument,
     ("mass = 'unit' is unknown", "'free', 'fixed'")),
    ("mmd-kernel", lambda: jko.MMD("gaussian"), InvalidType,
     ("kernel got 'gaussian'", "jko.kernels.Gaussian")),
    ("mmd-class", lambda: jko.MMD(kernels.Gaussian), InvalidType, ("kernel got",)),
    ("mmd-mass", lambda: jko.MMD(K, mass=1.0), InvalidArgument, ("mass = 1.0 is unknown",)),
    ("mmd-energy-free", lambda: jko.MMD(kernels.Energy(), mass="free"), Unsupported,
     ("only conditionally positive definite", "mass='fixed'", "another kernel")),
    ("wasserstein-masses", lambda: jko.Wasserstein().distance(HIST, TWO), InvalidMeasure,
     ("masses 1 and 2 differ", r"Wasserstein\(\) conserves mass", "normalise")),
    ("spherical-masses", lambda: jko.SphericalHellinger().distance(HIST, TWO), InvalidMeasure,
     ("masses 1 and 2 differ", "conserves mass", r"jko.Hellinger\(\)")),
    ("hellinger-masses", lambda: jko.Hellinger(mass="fixed").sqdistance(HIST, TWO),
     InvalidMeasure, ("masses 1 and 2 differ", "conserves mass")),
    ("mmd-masses", lambda: jko.MMD(K).potential(HIST, TWO), InvalidMeasure,
     ("masses 1 and 2 differ", "conserves mass")),
    ("not-a-measure", lambda: jko.Hellinger().distance(HIST, [0.5, 0.5]), InvalidType,
     ("b got list", "jko.Histogram")),
    ("dimension", lambda: jko.MMD(K).distance(measures.histogram(3, 2), HIST), InvalidMeasure,
     ("a has dimension 2", "b has dimension 1")),
    ("hellinger-support", lambda: jko.Hellinger().potential(HIST, ELSEWHERE), Unsupported,
     ("b = Histogram", "atom by atom", "union")),
    ("hellinger-gaussian",
     lambda: jko.Hellinger().distance(jko.Gaussian([0.0], [[1.0]]), HIST), Unsupported,
     ("discrete measures", "Gaussian", "jko.Grid")),
    ("hellinger-fixed-geodesic", lambda: jko.Hellinger(mass="fixed").geodesic(HIST, HIST, 0.5),
     Unsupported, ("leaves fixed mass", "jko.SphericalHellinger")),
    ("time", lambda: jko.Hellinger().geodesic(HIST, TWO, 1.5), InvalidArgument,
     ("t = 1.5", r"\[0, 1\]")),
    ("wasserstein-mixed",
     lambda: jko.Wasserstein().distance(jko.Gaussian([0.0], [[1.0]]), HIST), Unsupported,
     ("no exact Wasserstein distance between Gaussian and Histogram", "two Gaussians")),
    ("times-zero", lambda: 0.0 * jko.Hellinger(), InvalidArgument,
     ("factor of a geometry = 0 must be positive", "leave the term out")),
    ("times-text", lambda: jko.Hellinger() * "2", InvalidType,
     ("factor of a geometry must be a number", "'2'")),
    ("plus-energy", lambda: jko.Wasserstein() + jko.KL(HIST), InvalidType,
     ("geometry got KL", "add two geometries")),
    ("sum-plus-number", lambda: (jko.Wasserstein() + jko.Hellinger()) + 1, InvalidType,
     ("geometry got int", "add two geometries")),
]
# fmt: on
