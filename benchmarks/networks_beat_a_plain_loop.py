"""Claim: 20 seeds of width 256 on digits train at least 5 times as fast as a plain PyTorch loop.

Both do the same updates: two hidden layers, tanh, one image a step, the mean-field multipliers.
PyTorch trains one network at a time, at its better thread count (1 or 2). Needs `torch`.
"""

import time

import numpy as np
from table import Row, lines

from widelimit import Problem, train

WIDTH, SEEDS, STEPS, TORCH_STEPS = 256, 20, 4096, 1500


def ours() -> float:
    """Updates of one network per second: a whole `train`, without compiling."""
    problem = Problem.from_dict(
        {
            "network": {"activations": ["tanh"] * 2},
            "data": {"source": "digits", "holdout": 0.2},
            "training": {"horizon": STEPS / WIDTH},
            "networks": {"widths": [WIDTH], "seeds": SEEDS},
            "observe": {"times": [0.0, STEPS / WIDTH]},
        }
    )
    train(problem, progress=False)
    started = time.perf_counter()
    train(problem, progress=False)
    return SEEDS * STEPS / (time.perf_counter() - started)


def plain_loop(threads: int) -> float:
    """Updates per second of the plain loop."""
    import torch  # pyright: ignore[reportMissingImports]
    from sklearn.datasets import load_digits

    torch.set_num_threads(threads)
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images / 16, dtype=torch.float32)
    y = torch.nn.functional.one_hot(torch.tensor(labels), 10).float()
    first = torch.randn(WIDTH, 64, requires_grad=True)
    second = (0.5 + torch.randn(WIDTH, WIDTH)).requires_grad_()
    readout = (1 + torch.randn(WIDTH, 10)).requires_grad_()
    multipliers = (WIDTH, WIDTH**2, WIDTH)
    order = np.random.default_rng(0).integers(0, len(x), TORCH_STEPS)
    started = time.perf_counter()
    for k in order:
        hidden = torch.tanh(torch.tanh(first @ x[k]) @ second / WIDTH)
        loss = 0.5 * ((hidden @ readout / WIDTH - y[k]) ** 2).sum()
        slopes = torch.autograd.grad(loss, (first, second, readout))
        with torch.no_grad():
            for theta, slope, m in zip((first, second, readout), slopes, multipliers, strict=True):
                theta.sub_(slope, alpha=m / WIDTH)
    return TORCH_STEPS / (time.perf_counter() - started)


def measure() -> list[Row]:
    """The ratio of throughputs."""
    claim, asked = "20 seeds of width 256 on digits against a plain PyTorch loop", "≥ 5 ×"
    try:
        rates = {threads: plain_loop(threads) for threads in (1, 2)}
    except ImportError:
        return [Row(claim, asked, "not measured", "PyTorch is not installed")]
    threads = max(rates, key=lambda t: rates[t])
    fast = ours()
    how = f"{fast:,.0f} against {rates[threads]:,.0f} updates/s at {threads} thread(s)"
    return [Row(claim, asked, f"{fast / rates[threads]:.1f} ×", how)]


if __name__ == "__main__":
    print(lines(measure()))
