"""Plain NumPy re-derivations that share no code with the library.

`Network` follows the papers' sums neuron by neuron with explicit weights p; `rk4` is the
classical Runge–Kutta method with a fixed step, `by_spans` SciPy's with stops.
"""

import numpy as np
from scipy.integrate import solve_ivp


def tanh(z):
    return np.tanh(z), 1 - np.tanh(z) ** 2


def speeds(theta, p, x, y, w, rates, biased):
    """dθ/dt of particle gradient flow for ½|f − y|², written with loops over data points.

    theta: list [W_1 (n_1, d), W_2 (n_1, n_2), …, A (n_L, o)] (+ [b_1, …, b_L] when biased).
    """
    depth = len(p)
    weights, biases = theta[: depth + 1], theta[depth + 1 :]
    moves = [np.zeros_like(t) for t in theta]
    for xi, yi, wi in zip(x, y, w, strict=True):
        h, slope = [], []
        for layer in range(depth):
            if layer == 0:
                z = weights[0] @ xi
            else:
                z = np.array(
                    [
                        sum(
                            p[layer - 1][j] * weights[layer][j, i] * h[-1][j]
                            for j in range(len(h[-1]))
                        )
                        for i in range(len(p[layer]))
                    ]
                )
            if biased:
                z = z + biases[layer]
            value, derivative = tanh(z)
            h.append(value)
            slope.append(derivative)
        f = sum(p[-1][i] * weights[-1][i] * h[-1][i] for i in range(len(p[-1])))
        residual = f - yi
        delta = (weights[-1] @ residual) * slope[-1]
        moves[depth] -= wi * rates["readout"] * np.outer(h[-1], residual)
        for layer in range(depth - 1, -1, -1):
            rate = rates["input"] if layer == 0 else rates["hidden"][layer - 1]
            before = xi if layer == 0 else h[layer - 1]
            step = np.outer(delta, before) if layer == 0 else np.outer(before, delta)
            moves[layer] -= wi * rate * step
            if biased:
                moves[depth + 1 + layer] -= wi * rate * delta
            if layer > 0:
                delta = (weights[layer] @ (p[layer] * delta)) * slope[layer - 1]
    return moves


def outputs(theta, p, x, biased):
    """f at the rows of x."""
    depth = len(p)
    h = np.asarray(x) @ theta[0].T
    for layer in range(depth):
        if layer > 0:
            h = (h * p[layer - 1]) @ theta[layer]
        if biased:
            h = h + theta[depth + 1 + layer]
        h = np.tanh(h)
    return (h * p[-1]) @ theta[depth]


def rk4(theta, field, horizon, steps):
    """Classical Runge–Kutta with a fixed step."""
    h = horizon / steps
    add = lambda a, k, s: [u + s * v for u, v in zip(a, k, strict=True)]  # noqa: E731
    for _ in range(steps):
        k1 = field(theta)
        k2 = field(add(theta, k1, h / 2))
        k3 = field(add(theta, k2, h / 2))
        k4 = field(add(theta, k3, h))
        theta = [
            t + h / 6 * (a + 2 * b + 2 * c + d)
            for t, a, b, c, d in zip(theta, k1, k2, k3, k4, strict=True)
        ]
    return theta


def by_spans(theta, field, stops):
    """Where arrays are at the last of `stops`, by DOP853 started anew at 0 and at each of them.

    `field(t, theta, middle)` is told the middle of the span it is in, to know which side of a jump.
    """
    shapes = [t.shape for t in theta]
    ends = np.cumsum([t.size for t in theta])[:-1]

    def arrays(flat):
        parts = np.split(flat, ends)
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    state, start = np.concatenate([t.ravel() for t in theta]), 0.0
    for stop in stops:
        middle = (start + stop) / 2

        def moved(t, flat, middle=middle):
            return np.concatenate([v.ravel() for v in field(t, arrays(flat), middle)])

        path = solve_ivp(moved, (start, stop), state, "DOP853", rtol=1e-12, atol=1e-14)
        assert path.success
        state, start = path.y[:, -1], stop
    return arrays(state)
