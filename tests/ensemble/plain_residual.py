"""Residual networks as plain loops over blocks, units and data points: written from the equations.

Nothing of the library is used. Units are dictionaries of vectors, `weights` their shares.
"""

import numpy as np
from scipy.integrate import solve_ivp


def forward(units, weights, x, ends, phi, alpha=1.0):
    """Streams at all depths: `units[k]` are those of block k, as (w, b, a)."""
    h = [x @ ends["embedding"]]
    for block, shares in zip(units, weights, strict=True):
        moved = np.zeros_like(h[-1])
        for (w, b, a), p in zip(block, shares, strict=True):
            moved += p * np.outer(phi(h[-1] @ w + b), a)
        h.append(h[-1] + alpha * moved)
    return h


def slopes(units, weights, x, y, ends, phi, dphi, alpha=1.0):
    """f and, for every unit, E_π[∂_θ v · p], for the loss ½|f − y|² and equal data weights."""
    h = forward(units, weights, x, ends, phi, alpha)
    f = h[-1] @ ends["unembedding"]
    p = (f - y) @ ends["unembedding"].T / len(x)
    found = []
    for k in reversed(range(len(units))):
        block, back = [], np.zeros_like(p)
        for (w, b, a), share in zip(units[k], weights[k], strict=True):
            z = h[k] @ w + b
            s = dphi(z) * (p @ a)
            block.append((alpha * h[k].T @ s, alpha * s.sum(), alpha * p.T @ phi(z)))
            back += share * alpha * np.outer(s, w)
        p = p + back
        found.append(block)
    return f, found[::-1]


def flow(units, weights, x, y, ends, phi, dphi, horizon, alpha=1.0, tolerance=1e-11):
    """Outputs when w and a of all units have followed their flow for the time `horizon`."""
    depth, width = len(units), len(units[0])
    stream = len(units[0][0][0])

    def unpacked(flat):
        rows = flat.reshape(depth, width, 2 * stream + 1)
        return [[(r[:stream], r[stream], r[stream + 1 :]) for r in block] for block in rows]

    def packed(parts):
        return np.array(
            [[np.concatenate([w, [b], a]) for w, b, a in block] for block in parts]
        ).ravel()

    def velocity(_, flat):
        own = slopes(unpacked(flat), weights, x, y, ends, phi, dphi, alpha)[1]
        still = [[(w, 0.0, a) for w, _, a in block] for block in own]
        return -packed(still) / alpha**2

    found = solve_ivp(velocity, (0, horizon), packed(units), "DOP853", rtol=tolerance, atol=1e-13)
    return forward(unpacked(found.y[:, -1]), weights, x, ends, phi, alpha)[-1] @ ends["unembedding"]


def linear(moments, x, y, ends, horizon, tolerance=1e-12):
    """Outputs of linear units, by their second moments alone: `moments[k]` = (E aaᵀ, E awᵀ, E wwᵀ).

    With φ the identity ∂_t a = −G w and ∂_t w = −Gᵀ a, where G_k = E_π[p_{k+1} h_kᵀ].
    """
    depth, stream = len(moments), len(moments[0][0])

    def streams(parts):
        h = [x @ ends["embedding"]]
        for _, mixed, _ in parts:
            h.append(h[-1] + h[-1] @ mixed.T / depth)
        return h

    def velocity(_, flat):
        parts = flat.reshape(depth, 3, stream, stream)
        h = streams(parts)
        p = (h[-1] @ ends["unembedding"] - y) @ ends["unembedding"].T / len(x)
        found = np.zeros_like(parts)
        for k in reversed(range(depth)):
            readouts, mixed, inputs = parts[k]
            g = p.T @ h[k]
            found[k] = (
                -g @ mixed.T - mixed @ g.T,
                -g @ inputs - readouts @ g,
                -g.T @ mixed - mixed.T @ g,
            )
            p = p + p @ mixed / depth
        return found.ravel()

    start = np.array(moments).ravel()
    found = solve_ivp(velocity, (0, horizon), start, "DOP853", rtol=tolerance, atol=1e-14)
    parts = found.y[:, -1].reshape(depth, 3, stream, stream)
    return streams(parts)[-1] @ ends["unembedding"]


def head(h, theta, causal):
    """One head on the tokens `h (T, D)` of one input, token by token."""
    query, key, value, output = (theta[n] for n in ("query", "key", "value", "output"))
    found = np.zeros_like(h)
    for t in range(len(h)):
        seen = range(t + 1) if causal else range(len(h))
        scores = [h[t] @ query @ (h[s] @ key) / np.sqrt(query.shape[1]) for s in seen]
        shares = np.exp(scores) / np.sum(np.exp(scores))
        read = sum(share * (h[s] @ value) for share, s in zip(shares, seen, strict=True))
        found[t] = output @ read
    return found
