"""What variances for unit noise are multiplied by: how much noise networks have of each source."""

import numpy as np
import xarray as xr

from widelimit.problem.problem import Problem


def factors(problem: Problem) -> tuple[xr.DataArray, list[str]]:
    """What the variance for unit noise is multiplied by, `(width, source)`; and what to know.

    Layers: 1/n_l. SGD with step ε and batch b: ε/b for independent draws, (ε/b)(n − b)/(n − 1) for
    batches of distinct points among n, and 0 for epochs, whose noise vanishes to leading order
    (dynamics.md). A data set of so many samples: 1/samples.
    """
    settings, network = problem.networks, problem.network
    assert settings is not None
    shapes, notes = settings.layer_widths(network), []
    fixed = network.by_space(network.finite_widths)  # the same neurons in all networks
    sizes = [network.by_space(widths) for widths in shapes]
    columns = {
        name: [0.0 if fixed[k] else 1 / widths[k] for widths in sizes]
        for k, name in enumerate(network.space_names)
    }
    if settings.method == "sgd":
        rows, batch = len(problem.dataset.inputs), settings.batch
        draw = {
            "independent": 1.0,
            "distinct": (rows - batch) / max(1, rows - 1),
            "epochs": 0.0,
        }[settings.draw]
        columns["sgd"] = [draw / batch * settings.step_size(network, w) for w in shapes]
        if settings.draw == "epochs":
            notes.append("with draw = 'epochs' the noise of SGD vanishes to leading order")
    if problem.data.samples is not None:
        columns["data"] = [1 / problem.data.samples] * len(shapes)
    factor = xr.DataArray(
        np.array(list(columns.values())).T, dims=("width", "source"),
        coords={
            "source": list(columns),
            "width": [network.growing_width(w) for w in shapes],
        },
    )  # fmt: skip
    return factor, notes
