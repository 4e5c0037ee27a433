"""Write `identities.md`: every check of `jko.verify`, with hypothesis, source, residual, failure.

Run it after adding a check: python docs/identities.py
"""

import re
from pathlib import Path

PAGE = Path(__file__).with_name("identities.md")
HEAD = """# The theory, executed

What `jko verify` checks, one line a check: its statement, the residual measured on its problem
(one digit; 0 for an inequality that holds with room) and the tolerance. Every
check takes the object it tests as an argument and fails on the wrong ones named under "fails for";
`tests/identities` runs them. This page is written by `docs/identities.py`.
"""
#: Title; beginnings of names; hypothesis; source; wrong objects that the check catches.
FAMILIES = [
    (
        "The MMD step is the inclusive-KL step",
        ("mmd-kl",),
        "a support that holds the atoms of the target and of the previous measure; equal masses on"
        " fixed mass. `mmd-kl-restricted` shows that both sides differ where an atom is missing",
        "formula M1; Gladin et al. (2024)",
        "bent weights on either side, another eta, NaN, a support with nothing missing",
    ),
    (
        "Contraction and decay in MMD",
        ("mmd-contraction", "mmd-decay", "ift-bound"),
        "common or union support; transport steps that do not increase the energy",
        "formulas M2 and M5; Gladin et al. (2024)",
        "longer or shorter steps, a support that misses atoms of the target",
    ),
    (
        "One flow, two names",
        ("same-flow", "force-norm", "kernel-force"),
        "a kernel whose Gram matrix can be inverted, equal masses",
        "formulas M3, M4 and M6; Zhu and Mielke (2024)",
        "the exclusive KL, a force with a factor too much, steps of another order, another kernel",
    ),
    (
        "Hellinger flows and decays",
        ("hellinger-flow", "hellinger-steps", "half-decay", "lojasiewicz", "decay-fails"),
        "weights positive where the energy needs them; the inequality holds for p <= 1/2 on M+ only"
        " (`decay-fails-*` shows p = 1 and 2, where no constant is left)",
        "formulas H5 and H7; Mielke and Zhu (2025)",
        "flows at another time, another p, a larger constant, p > 1/2",
    ),
    (
        "Hellinger geometry",
        ("hellinger-geodesic", "hellinger-dual", "spherical-step", "chord-arc"),
        "measures on common atoms; mass one for the arc; phi > -2 in the dual",
        "formulas H3 and H6; Laschos and Mielke (2019)",
        "scaled geometries, the geodesic of another metric, a step without the factor sinc",
    ),
    (
        "Dissipation of steps",
        ("dissipation",),
        "steps that minimise; entropic steps with the Sinkhorn divergence for the squared distance",
        "Jordan et al. (1998)",
        "steps uphill, steps nine times too long",
    ),
    (
        "Orders and limits tau -> 0",
        ("order", "limit"),
        "smooth data, fixed final time; order within 0.15",
        "{doc}`formulas`; Jordan et al. (1998)",
        "one scheme sold as another, flows that run too fast or stop early",
    ),
    (
        "Equilibria of splittings",
        ("equilibrium",),
        "one energy for all parts; with the energies split the minimiser must be lost",
        "{doc}`formulas`",
        "a step that shakes the minimiser; a step that stays put",
    ),
    (
        "Dynamic form = static form",
        ("dynamic", "action", "mmd-geodesic"),
        "equal masses for transport; grids to the accuracy of the grid (densities small at the"
        " boundary, value extrapolated), the rest to rounding",
        "formulas Y1, Y2, U1, H6 and M8; Benamou and Brenier (2000); Chizat et al. (2018b)",
        "another static value, a dual above the value, crossed plans, fast tangents, another alpha"
        " or beta, straight lines in Hellinger",
    ),
    (
        "Duals of transport",
        ("dual",),
        "equal masses for W_p; potentials at the charged atoms",
        "formulas Y2 and U2; Ambrosio et al. (2008); Liero et al. (2018)",
        "potentials that are raised, lowered or those of another cost",
    ),
    (
        "Along geodesics",
        ("continuity", "geodesic-equation", "constant-speed"),
        "times inside (0, 1); mu' + div(mu v) = mu xi is the sign of paths",
        "formulas Y1, H6 and M8; Liero et al. (2018)",
        "tangents of another curve, the law of another geometry, other constants, added drag",
    ),
    (
        "Kernels as operators",
        ("mmd-three-ways", "mmd-witness", "onsager", "kernel"),
        "positive-definite kernels; an invertible Gram matrix for the vanishing ridge",
        "formulas M4, M8 and Y3; Gretton et al. (2012); Zhu and Mielke (2024)",
        "other kernels and bandwidths, sheared weights, a reversed witness, ridges off the limit",
    ),
    (
        "Energy balance of De Giorgi",
        ("balance",),
        "exact flows with positive weights",
        "Ambrosio et al. (2008)",
        "the same curves run through two per cent too fast or too slowly",
    ),
    (
        "Evolution variational inequality",
        ("evi",),
        "the energy convex along geodesics with the constant stated; `evi-fails-*` shows KL in"
        " Hellinger on M+ and on the sphere, 1/2 MMD^2 in W2, and int x dmu, convex in W2, in"
        " Wasserstein-Fisher-Rao: none is convex there",
        "Ambrosio et al. (2008)",
        "larger constants; for the failures, energies or places where they are convex",
    ),
    (
        "Decay by convexity, inequality with transport",
        ("decay-wasserstein", "decay-kernel-transport", "decay-fails-two", "inequality-"),
        "KL to a Gaussian, convex with the inverse of the largest variance, its log-Sobolev"
        " constant; equal masses. `decay-fails-two-wells` shows a target without that constant",
        "formulas G1 and M4; Ambrosio et al. (2008); Bakry and Émery (1985)",
        "constants larger than stated, two wells",
    ),
    (
        "Units, bounds, robust values",
        ("mass", "units", "lengths", "conjugate-bound", "robust"),
        "none beyond those of the steps; tau changes with the unit as stated",
        "formulas B1, B2, R1 and H4",
        "other powers of the unit, steps with a scale of their own, conjugates without their"
        " bracket, steps of another length",
    ),
    (
        "Errata of the source talk",
        ("erratum",),
        "none",
        "the list in {doc}`concepts`",
        "the printed signs and factors",
    ),
]


def family(name):
    """Index of the family with the longest beginning that fits."""
    fits = [
        (len(stem), k) for k, row in enumerate(FAMILIES) for stem in row[1] if name.startswith(stem)
    ]
    return max(fits)[1]


def line(identity):
    """One check as an entry of a definition list."""
    statement = re.sub(r" \(measured [^)]*\)", "", identity.statement).replace("`", "'")
    size = identity.residual
    shown = "0" if size == 0 else f"{size:.0e}"
    return (
        f"`{identity.name}`\n: `{statement}`\n  Residual {shown}, tolerance"
        f" {identity.tolerance:g}.\n"
    )


def page(identities):
    """The page as text."""
    parts = [HEAD]
    for k, (title, _, hypothesis, source, failure) in enumerate(FAMILIES):
        lines = [line(i) for i in identities if family(i.name) == k]
        parts.append(
            f"## {title}\n\nHypothesis: {hypothesis}.\nSource: {source}.\nFails for: {failure}.\n"
        )
        parts += lines
    return "\n".join(parts)


if __name__ == "__main__":
    import jko

    PAGE.write_text(page(list(jko.verify.all())), encoding="utf-8")
