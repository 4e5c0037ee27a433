"""Recompute breast_cancer_reference.json: python tests/data/make_breast_cancer_reference.py

The posterior is Bayesian logistic regression with prior N(0, I) on the breast cancer data of
scikit-learn (30 standardised columns and an intercept, d = 31). The reference is another method
and shares no code with jko: Hamiltonian Monte Carlo, 64 chains of 6000 transitions with 12 leapfrog
steps each, preconditioned by the Hessian at the mode, the first 500 transitions dropped. The errors
stored with it come from the scatter of the chains. It takes about two minutes on one core.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

CHAINS, TRANSITIONS, DROPPED, LEAPFROG = 64, 6000, 500, 12


def posterior():
    data = load_breast_cancer()
    columns = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    table = np.column_stack([np.ones(len(columns)), columns])
    signed = ((2.0 * data.target - 1)[:, None] * table).T

    def value(b):
        return -np.logaddexp(0, -(b @ signed)).sum(axis=1) - 0.5 * (b**2).sum(axis=1)

    def slope(b):
        return (1 / (1 + np.exp(b @ signed))) @ signed.T - b

    def curvature(b):
        p = 1 / (1 + np.exp(-(b @ signed)))
        return (signed * (p * (1 - p))) @ signed.T + np.eye(len(signed))

    return value, slope, curvature, len(signed)


def mode(slope, curvature, d):
    b = np.zeros(d)
    for _ in range(50):
        b = b + np.linalg.solve(curvature(b), slope(b[None])[0])
    return b


def main(transitions=TRANSITIONS, seed=20240601):
    value, slope, curvature, d = posterior()
    rng = np.random.default_rng(seed)
    centre = mode(slope, curvature, d)
    root = np.linalg.inv(np.linalg.cholesky(curvature(centre))).T  # covariance = root root'
    u = rng.standard_normal((CHAINS, d))  # b = centre + root u

    def at(u):
        b = centre + u @ root.T
        return value(b), slope(b) @ root

    energy, force = at(u)
    total, square, kept, taken = np.zeros((CHAINS, d)), np.zeros((CHAINS, d)), 0, 0.0
    for k in range(transitions):
        step = 0.35 * rng.uniform(0.8, 1.2)
        p = rng.standard_normal(u.shape)
        v, f, q = u, force, p
        for _ in range(LEAPFROG):
            q = q + 0.5 * step * f
            v = v + step * q
            new, f = at(v)
            q = q + 0.5 * step * f
        change = new - energy - 0.5 * (q**2).sum(axis=1) + 0.5 * (p**2).sum(axis=1)
        yes = np.log(rng.random(CHAINS)) < change
        u = np.where(yes[:, None], v, u)
        force = np.where(yes[:, None], f, force)
        energy = np.where(yes, new, energy)
        if k >= DROPPED:
            b = centre + u @ root.T
            total, square, kept = total + b, square + b**2, kept + 1
            taken += yes.mean()
    own = total / kept
    mean = own.mean(axis=0)
    std = np.sqrt(square.mean(axis=0) / kept - mean**2)
    own_std = np.sqrt(square / kept - own**2)
    return {
        "mean": mean.tolist(),
        "std": std.tolist(),
        "worst_error_of_mean_in_std": float((own.std(axis=0) / std).max() / np.sqrt(CHAINS)),
        "worst_relative_error_of_std": float((own_std.std(axis=0) / std).max() / np.sqrt(CHAINS)),
        "acceptance": float(taken / kept),
        "chains": CHAINS,
        "transitions_kept": kept,
        "seed": seed,
    }


if __name__ == "__main__":
    transitions = int(sys.argv[1]) if len(sys.argv) > 1 else TRANSITIONS
    found = main(transitions)
    path = Path(__file__).with_name("breast_cancer_reference.json")
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print({k: v for k, v in found.items() if k not in ("mean", "std")})
