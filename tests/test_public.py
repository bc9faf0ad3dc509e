"""The list of public names."""

import widelimit


def test_public_names():
    assert sorted(widelimit.__all__) == [
        "Bias",
        "Comparison",
        "Diverged",
        "Fluctuations",
        "Plan",
        "Problem",
        "ProblemError",
        "RunFolder",
        "RunFolderError",
        "Trajectory",
        "WidelimitError",
        "compare",
        "measure_bias",
        "plan_width",
        "predict_fluctuations",
        "render_report",
        "solve",
        "sweep",
        "train",
    ]
    assert dir(widelimit) == sorted(widelimit.__all__)
    for name in widelimit.__all__:
        assert getattr(widelimit, name).__doc__
