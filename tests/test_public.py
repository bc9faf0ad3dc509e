"""The list of public names."""

import widelimit


def test_public_names():
    assert sorted(widelimit.__all__) == [
        "Bias",
        "Comparison",
        "CoordinateCheck",
        "Diverged",
        "Extrapolation",
        "Fluctuations",
        "Given",
        "Layer",
        "Plan",
        "Points",
        "Problem",
        "ProblemError",
        "RunFolder",
        "RunFolderError",
        "Source",
        "Trajectory",
        "Transfer",
        "Unit",
        "WidelimitError",
        "compare",
        "coordinate_check",
        "extrapolate",
        "free_energy",
        "kept_in",
        "measure_bias",
        "optimality_gap",
        "plan_width",
        "predict_fluctuations",
        "predict_validity",
        "render_report",
        "solve",
        "sweep",
        "tangent_kernels",
        "train",
        "transfer",
    ]
    assert dir(widelimit) == sorted(widelimit.__all__)
    for name in widelimit.__all__:
        assert getattr(widelimit, name).__doc__
