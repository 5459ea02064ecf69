"""A map of the labels alone: simple kriging of damaged or not, with range and nugget by likelihood.

scikit-learn's `GaussianProcessRegressor` was looked at: it searches its hyper-parameters by gradient in hundreds of
milliseconds, and has neither priors for them nor leave-out in closed form, which a map that follows each answer needs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_LABELS = 2000
"""Labels that the map is made from; of more, as many drawn: solving grows with the third power."""

_SEARCHED_ON = 150
_USUAL_RANGE_IN_SPACINGS = 8.0
_RANGE_LOG_SD = 0.9
_RANGES = 5
_NUGGETS = (0.25, 0.5, 0.75)
_LEAST_P = 0.02
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMap:
    """A kriged map of n labels.

    Covariance of two labels: (1 - `nugget`) exp(-distance / `range_m`), 1 with itself, times their variance.
    `structure` is how surely the labels have any structure in space, 0 to 1: the posterior of that against none, less
    the half that it has without labels, doubled.
    """

    place: NDArray[np.float64]
    """[n, 2] metres."""
    residual: NDArray[np.float64]
    """[n] label minus `share`."""
    share: float
    range_m: float
    nugget: float
    structure: float
    precision: NDArray[np.float64]
    """[n, n] inverse of the covariance."""

    @property
    def solved(self) -> NDArray[np.float64]:
        """Precision times residual [n]."""
        return np.asarray(self.precision @ self.residual)

    def log_odds(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds of damaged at places [m, 2] beyond those of the labels' share; 0 far from all labels."""
        solved, found = self.solved, np.empty(len(place))
        for start in range(0, len(place), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            distance = distances(place[rows], self.place)
            found[rows] = (1 - self.nugget) * np.exp(-distance / self.range_m) @ solved
        return self._beyond_share(found)

    def left_out(self, excluded: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The same at the labels themselves, without the labels that `excluded` [n, n] names for each, itself included.

        With Q the precision, the residuals of a set E that is left out are Q_EE⁻¹ (Q r)_E (Dubrule 1983, Math. Geology
        15, eq. 9, for one; Rasmussen & Williams 2006, §5.4.2).
        """
        solved = self.solved
        found = self.residual - solved / np.diag(self.precision)
        for row in np.flatnonzero(excluded.sum(axis=1) > 1):
            out = np.flatnonzero(excluded[row] | (np.arange(len(solved)) == row))
            missed = np.linalg.solve(self.precision[np.ix_(out, out)], solved[out])
            found[row] = self.residual[row] - missed[np.searchsorted(out, row)]
        return self._beyond_share(found)

    def _beyond_share(self, residual: NDArray[np.float64]) -> NDArray[np.float64]:
        p = np.clip(self.share + residual, _LEAST_P, 1 - _LEAST_P)
        share = np.clip(self.share, _LEAST_P, 1 - _LEAST_P)
        return np.asarray(np.log(p / (1 - p)) - np.log(share / (1 - share)), dtype=np.float64)


def krige_labels(place: NDArray[np.float64], damaged: NDArray[np.bool_], spacing_m: float) -> LabelMap:
    """The map of labels at `place` [n, 2], metres; `spacing_m` is the usual distance of buildings.

    Range and nugget are those of the highest posterior: the likelihood of a Gaussian field with its variance profiled
    out (Diggle & Ribeiro 2007, *Model-based Geostatistics*, §5.4), times a log-normal prior of the range around
    `_USUAL_RANGE_IN_SPACINGS` spacings. A handful of labels bends that little, and no range is fixed in metres.
    """
    value = damaged.astype(float)
    share = float(value.mean())
    residual, distance = value - share, distances(place, place)
    ranges = spacing_m * _USUAL_RANGE_IN_SPACINGS * np.exp(_RANGE_LOG_SD * np.linspace(-2, 2, _RANGES))
    searched = np.random.default_rng(0).permutation(len(value))[:_SEARCHED_ON]
    near, part = distance[np.ix_(searched, searched)], residual[searched]
    without = -0.5 * len(part) * np.log(max(float(part @ part), 1e-12))
    scores = np.empty((_RANGES, len(_NUGGETS)))
    for row, range_m in enumerate(ranges):
        alike = np.exp(-near / range_m)
        for column, nugget in enumerate(_NUGGETS):
            scores[row, column] = _log_likelihood(_covariance(alike, nugget), part) - without
    prior = np.exp(-0.5 * np.linspace(-2, 2, _RANGES) ** 2)[:, None] * np.array([0.25, 0.5, 0.25])
    posterior = scores + np.log(prior / prior.sum())
    best = np.unravel_index(int(posterior.argmax()), posterior.shape)
    evidence = float(np.logaddexp.reduce(posterior.ravel()))
    range_m, nugget = float(ranges[best[0]]), _NUGGETS[best[1]]
    return LabelMap(
        place=place,
        residual=residual,
        share=share,
        range_m=range_m,
        nugget=nugget,
        structure=float(np.clip(np.tanh(evidence / 2), 0.0, 1.0)),
        precision=np.asarray(np.linalg.inv(_covariance(np.exp(-distance / range_m), nugget)), dtype=np.float64),
    )


def distances(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metres between places [n, 2] and [m, 2]: [n, m]."""
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(one, other), dtype=np.float64)


def _covariance(alike: NDArray[np.float64], nugget: float) -> NDArray[np.float64]:
    found = (1 - nugget) * alike
    np.fill_diagonal(found, 1.0)
    return found


def _log_likelihood(covariance: NDArray[np.float64], residual: NDArray[np.float64]) -> float:
    """Of a Gaussian field up to a constant, its variance profiled out."""
    from scipy.linalg import solve_triangular

    lower = np.linalg.cholesky(covariance)
    whitened = solve_triangular(lower, residual, lower=True, check_finite=False)
    power = max(float(whitened @ whitened), 1e-12)
    return float(-0.5 * len(residual) * np.log(power) - np.log(np.diag(lower)).sum())
