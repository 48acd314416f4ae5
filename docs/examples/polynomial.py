"""A polynomial by NumPy and by numexpr, as an op of raptors-prof: docs/own-ops.md tells more.

raptors-prof --op docs/examples/polynomial.py:Polynomial
raptors-prof --op docs/examples/polynomial.py:InPlace       # without numexpr
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Polynomial:
    """NumPy makes an array for each step; numexpr makes one, block by block, on several threads."""

    def setup(self, shape: tuple[int, ...] = (1024, 1024), dtype: str = "float64", rng: Any = None) -> None:
        """Draw the input; what takes long or is not to be measured belongs here."""
        import numexpr

        self.x = rng.random(shape).astype(dtype)
        self.evaluate = numexpr.evaluate

    def baseline(self) -> Any:
        """What is compared against."""
        x = self.x
        return 2 * x**3 + 3 * x**2 - 4 * x + 1

    def candidate(self) -> Any:
        """What is judged."""
        return self.evaluate("2*x**3 + 3*x**2 - 4*x + 1", local_dict={"x": self.x})


class InPlace(Polynomial):
    """The same baseline against Horner's rule in an array that is there already."""

    def setup(self, shape: tuple[int, ...] = (1024, 1024), dtype: str = "float64", rng: Any = None) -> None:
        """Draw the input and make room for the result."""
        self.x = rng.random(shape).astype(dtype)
        self.out = np.empty_like(self.x)

    def candidate(self) -> Any:
        """What is judged."""
        x, out = self.x, self.out
        np.multiply(x, 2, out=out)
        for coefficient in (3, -4):
            np.add(out, coefficient, out=out)
            np.multiply(out, x, out=out)
        return np.add(out, 1, out=out)
