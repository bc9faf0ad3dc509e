"""Limits that are known exactly, by code that shares nothing with the library.

- The tangent kernel's parametrisation: kernel regression with K_0 (Jacot, Gabriel & Hongler 2018),
  Gaussian averages by Gauss–Hermite products.
- μP with two hidden layers of linear neurons. A Gaussian matrix G/√n acts between the spaces of two
  layers as a free operator: on any vector it has not met, its image is of the same length and at
  right angles to all that came before. From the columns of W_1 (layer 1, U_0) and of A (layer 2,
  V_0) that makes a chain, G U_k = V_{k−1} + V_{k+1}, Gᵀ V_k = U_{k−1} + U_{k+1}, and the limit is a
  network with these few neurons; where the chain is cut does not matter for long.
"""

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import eigh
from scipy.special import erf, expit, roots_hermitenorm

QUADRATURE = 80

Function = Callable[[np.ndarray], np.ndarray]


def _gelu(z: np.ndarray) -> np.ndarray:
    return 0.5 * z * (1 + erf(z / np.sqrt(2)))


def _gelu_slope(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + erf(z / np.sqrt(2))) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "erf": (erf, lambda z: 2 / np.sqrt(np.pi) * np.exp(-(z**2))),
    "gelu": (_gelu, _gelu_slope),
    "silu": (lambda z: z * expit(z), lambda z: expit(z) * (1 + z * (1 - expit(z)))),
    "softplus": (lambda z: np.logaddexp(0, z), expit),
    "identity": (lambda z: z, np.ones_like),
}
"""Smooth activations and their slopes."""


def _average(f: Function, k: np.ndarray) -> np.ndarray:
    """E f(u) f(v) for all pairs, (u, v) Gaussian with covariances `k (point, point)`."""
    z, w = roots_hermitenorm(QUADRATURE)
    w = w / w.sum()
    size = np.sqrt(np.diag(k))
    along = k / size[:, None]  # v = along·z_1 + apart·z_2, where u = size·z_1
    apart = np.sqrt(np.maximum(np.diag(k) - along**2, 0))
    rows = []
    for one, v, s in zip(size, along, apart, strict=True):  # all pairs at once take much memory
        values = f(v[:, None, None] * z[:, None] + s[:, None, None] * z)
        rows.append(np.einsum("jab,a,b->j", values, w * f(one * z), w))
    return np.stack(rows)


def tangent_kernel(x: np.ndarray, activation: str, depth: int) -> np.ndarray:
    """K_0 at all pairs of rows of x, all laws N(0, 1) and all rates 1 at width 1."""
    phi, slope = ACTIVATIONS[activation]
    k = x @ x.T
    tangent = k
    for _ in range(depth):
        tangent = _average(phi, k) + tangent * _average(slope, k)
        k = _average(phi, k)
    return tangent


def kernel_regression(
    x: np.ndarray, y: np.ndarray, activation: str, depth: int, times: np.ndarray
) -> np.ndarray:
    """f_t(x) at the training points `(time, point)`: gradient flow of ½ mean |f − y|², f_0 = 0."""
    values, vectors = eigh(tangent_kernel(x, activation, depth) / len(x))
    along = vectors.T @ y
    return np.stack([vectors @ (-np.expm1(-values * t) * along) for t in times])


def linear_mup(x: np.ndarray, y: np.ndarray, times: np.ndarray, cut: int = 24) -> np.ndarray:
    """f_t(x) at the training points `(time, point, channel)`: two hidden layers, φ(z) = z."""
    inputs, outputs = x.shape[1], y.shape[1]
    below = [inputs if k % 2 == 0 else outputs for k in range(cut)]
    above = [outputs if k % 2 == 0 else inputs for k in range(cut)]
    u, v = np.cumsum([0, *below]), np.cumsum([0, *above])
    g = np.zeros((v[-1], u[-1]))
    for k in range(cut):
        for other in {k - 1, k + 1} & set(range(cut)):
            g[v[other] : v[other + 1], u[k] : u[k + 1]] = np.eye(below[k])
    first, last = np.eye(u[-1])[:, :inputs], np.eye(v[-1])[:, :outputs]
    shapes = [own.shape for own in (first, g, last)]
    stops = np.cumsum([0, *(a * b for a, b in shapes)])

    def parts(theta: np.ndarray) -> list[np.ndarray]:
        pieces = zip(stops, stops[1:], shapes, strict=False)
        return [theta[a:b].reshape(shape) for a, b, shape in pieces]

    def speed(_: float, theta: np.ndarray) -> np.ndarray:
        w, m, a = parts(theta)
        h = w @ x.T
        off = ((a.T @ m @ h).T - y) / len(x)
        moves = [m.T @ a @ off.T @ x, a @ off.T @ h.T, m @ h @ off]
        return -np.concatenate([own.ravel() for own in moves])

    start = np.concatenate([own.ravel() for own in (first, g, last)])
    found = solve_ivp(speed, (0, times[-1]), start, t_eval=times, rtol=1e-8, atol=1e-10)
    return np.stack([(a.T @ m @ w @ x.T).T for w, m, a in map(parts, found.y.T)])
