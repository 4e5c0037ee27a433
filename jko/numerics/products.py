r"""Products with kernels: no denormal numbers on any processor, bands where entries fall off.

Numbers below 2.2e-308 are denormal, and many processors take ten to a hundred times as long over a
product with one. So kernels keep no entry below TINY, what they are applied to is scaled up to LIFT
and keeps none below FAINT, and TINY * FAINT is still normal: every product and every sum is. With n
sources what is left out is at most n (LIFT * TINY + FAINT), so that results above SAFE * LIFT are
right to rounding.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from jko.validation import Array

#: The largest scaled value; sums of 10^12 of them do not overflow.
LIFT = 1e295
#: The least entry of a kernel, and of what it is applied to.
TINY = 1e-295
FAINT = 1e-10
#: Results above this share of LIFT lost nothing that matters.
SAFE = 1e-280
#: log(FAINT / LIFT).
LEAST_LOG = float(np.log(FAINT) - np.log(LIFT))
#: Columns of a block, where few rows and where many are needed: smaller blocks leave a dense
#: product's speed unused, larger ones take more rows than they need (measured on 128 to 1024).
NARROW = 32
WIDE = 64
#: Blocks are worth it where the rows that they need are less than this share of all.
WORTH = 0.7


def keep_freed_memory() -> None:
    """Have the allocator keep what loops over cells free and ask for again.

    glibc hands the end of its heap back to the system when more is free there than twice the
    largest block of its own kind that was ever freed, 256 kB at first: on 64^2 cells the pages that
    came anew were a sixth of a step. To free one block just below the most that counts, 32 MB,
    settles it; the block is never written to. Other allocators do not notice.
    """
    with suppress(MemoryError):  # of a process whose memory is bounded
        np.empty(2**22 - 2**12)


keep_freed_memory()


def without_tiny(kernel: Array) -> Array:
    """A kernel without entries that cannot matter, in place."""
    kernel[np.abs(kernel) < TINY] = 0.0
    return kernel


def falling(exponents: Array) -> Array:
    """e^-exponents without entries that cannot matter: exponentials that underflow are slow."""
    out = np.negative(exponents)
    np.maximum(out, float(np.log(TINY)) - 1, out=out)
    return without_tiny(np.exp(out, out=out))


def without_faint(values: Array) -> Array:
    """Scaled values without those that cannot matter, in place."""
    if not values.size or float(values.min()) >= FAINT:  # the usual case: one look, no masks
        return values
    sizes = np.abs(values)
    if float(sizes.min()) < FAINT:
        values *= sizes >= FAINT
    return values


def exp_scaled(v: Array, top: Array | float = 0.0) -> Array:
    """LIFT e^(v - top) for v <= top, entries -inf allowed; those that cannot matter are 0."""
    out = np.subtract(v, top)
    if not out.size or float(out.min()) >= LEAST_LOG:
        np.exp(out, out=out)
        out *= LIFT
        return out
    matters = ~(out < LEAST_LOG)  # NaN stays what it is
    np.maximum(out, LEAST_LOG, out=out)
    np.exp(out, out=out)
    out *= LIFT
    out *= matters
    return out


def log_scaled(results: Array, shift: float = 0.0) -> Array:
    """log(results / LIFT) + shift, without the rounding of log LIFT; -inf at 0."""
    out = np.multiply(results, 1 / LIFT)
    with np.errstate(divide="ignore"):
        np.log(out, out=out)
    if shift:
        out += shift
    return out


def lifted(values: Array) -> tuple[Array, float]:
    """Values of any sign as scaled ones, and what a result is to be multiplied with."""
    top = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
    if not 0 < top < np.inf:
        return np.zeros_like(values), top
    scaled = values * (1 / top) if 1 / top < np.inf else values / top
    scaled *= LIFT
    return without_faint(scaled), top


def lowered(results: Array, top: float) -> Array:
    """Results from scaled ones."""
    out = results * (1 / LIFT)
    out *= top
    return np.asarray(out)


def product(left: Array, right: Array, out: Array | None = None) -> Array:
    """left @ right: every product of kernels with scaled values, so that tests see them all."""
    return np.asarray(np.matmul(left, right, out=out))


class Bands:
    """rows -> rows' K for a square K (n, n) whose entries far from the diagonal may be left out.

    Blocks of columns take only the rows near them.

    Parameters
    ----------
    kernel : (n, n) array
    """

    def __init__(self, kernel: Array) -> None:
        self.kernel = kernel

    def pays(self, reach: float) -> bool:
        """Whether blocks of this reach are worth it."""
        return _block(reach) + 2 * reach <= WORTH * len(self.kernel)

    def contract(self, rows: Array, reach: float) -> Array:
        """rows' K (m, n) for rows (n, m); entries further than `reach` from the diagonal may go."""
        if not self.pays(reach):
            return product(rows.T, self.kernel)
        n, block = len(self.kernel), _block(reach)
        far, out = int(np.ceil(reach)), np.empty((rows.shape[1], n))
        for first in range(0, n, block):
            last = min(first + block, n)
            low, high = max(0, first - far), min(n, last + far)
            near = self.kernel[low:high, first:last]
            product(rows[low:high].T, near, out=out[:, first:last])
        return out


def _block(reach: float) -> int:
    return NARROW if reach <= NARROW else WIDE
