"""Normal forms of functions of weights: what solvers on a fixed support look at."""

from jko.forms.form import Quadratic, WeightForm
from jko.forms.separable import Separable

__all__ = ["Quadratic", "Separable", "WeightForm"]
