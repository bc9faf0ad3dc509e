"""The report page: self-contained, escaped, and alive in a real browser."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import xarray as xr

from conftest import HOSTILE_TITLE, quick_problem, small_problem
from widelimit import RunFolder, render_report, solve
from widelimit.limit.solve import solved
from widelimit.report.pictures import draw_validity

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def folder(finished_run):
    return finished_run[0]


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Every element with its attributes, as a browser's parser sees them."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag


# The page as text


def test_the_page_asks_the_network_for_nothing(text):
    tags = Tags(text).found
    assert len(tags) > 100
    for tag, attributes in tags:
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert re.findall(r"url\((?!#)", text) == []
    for call in ("fetch(", "XMLHttpRequest", "import(", "@import", "WebSocket"):
        assert call not in text


def test_the_page_is_small(folder):
    assert 10_000 < (folder / "report.html").stat().st_size < 2_000_000


def test_text_of_the_problem_file_is_escaped(text):
    assert HOSTILE_TITLE not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 3  # title, heading, problem file
    assert [tag for tag, _ in Tags(text).found].count("script") == 1


def test_a_script_in_the_data_of_the_page_cannot_close_its_element(folder, monkeypatch):
    titles = {"input": "</script><b>{}", "readout": "r"}
    monkeypatch.setattr("widelimit.report.laws._TITLES", titles)
    page = render_report(RunFolder(folder))
    assert "</script><b>" not in page
    assert page.count("</script>") == 1


def test_rendering_is_repeatable(folder, text):
    assert render_report(RunFolder(folder)) == text


# Other problems than the shared one

COLLAPSING = {
    "title": "three layers",
    "network": {
        "activations": ["tanh"] * 3,
        "initial": {
            "input": {"law": "atoms", "points": [[1.0], [-0.5]]},
            "readout": {"law": "atoms", "points": [[1.0, 0.5]]},
        },
    },
    "networks": None,
}


def test_a_limit_alone_has_a_page_with_its_notes(tmp_path):
    problem = quick_problem(**COLLAPSING)
    folder = RunFolder(tmp_path)
    folder.prepare(problem, ("limit",), overwrite=False)
    limit = solved(problem, progress=False)
    folder.save(limit, 1.0)
    page = render_report(folder)
    (note,) = [w for w in limit.warnings if "are alike" in w]
    assert f"<li>{note}</li>" in page
    assert "neurons of hidden layers 1, 2 and 3 are alike: limit.validity(widths) tells" in page
    assert "3 hidden layers (tanh)" in page
    assert "<h2>Networks</h2>" not in page
    assert "distance ∝ width" not in page


def test_layers_of_finite_width_and_functions_of_labels_have_a_page(tmp_path):
    embedding = {"law": "embedding", "family": "features", "mean": 1.0}
    for name, network in (
        ("finite", {"ensembles": ["limit", 3]}),
        ("embedded", {"initial": {"hidden": embedding}}),
    ):
        problem = small_problem(2).with_changes(network=network, limit={"nodes": [32, 16]})
        folder = RunFolder(tmp_path / name)
        folder.prepare(problem, ("limit",), overwrite=False)
        folder.save(solve(problem, progress=False), 1.0)
        page = render_report(folder)
        assert ("a finite width" in page) == (name == "finite")


def test_notes_are_escaped(folder, tmp_path):
    copy = RunFolder(shutil.copytree(folder, tmp_path / "run"))
    limit = copy.load("limit")
    limit.dataset.attrs["warnings"] = json.dumps(["watch <img src=x onerror=alert(1)> & co"])
    copy.save(limit, 1.0)
    page = render_report(copy)
    assert "<li>watch &lt;img src=x onerror=alert(1)&gt; &amp; co</li>" in page


def test_networks_that_share_a_first_width_have_rows_of_their_own(tmp_path, finished_run):
    """Widths are told apart by all their layers, and stand in the order of the comparison."""
    whole = RunFolder(finished_run[0])
    limit, networks = whole.load("limit"), whole.load("networks")
    repeated = networks.dataset.copy(deep=True).isel(width=[2, 0, 1])
    repeated = repeated.assign_coords(width=[8, 4, 8])
    repeated["widths"][:] = [[8], [4], [8]]
    repeated["risk"][:, :, -1] = [[0.5], [0.25], [0.75]]
    copy = RunFolder(shutil.copytree(whole.path, tmp_path / "run"))
    copy.save(limit, 1.0)
    copy.save(type(networks)(networks.problem, repeated, networks.states), 1.0)
    rows = re.findall(r"<tr><td>(\d+)</td><td>5</td><td>([\d.]+) ±", render_report(copy))
    assert rows == [("4", "0.25"), ("8", "0.5"), ("8", "0.75")]


def test_networks_that_stay_away_have_a_red_card(tmp_path, finished_run, text):
    assert 'class="card fails"' not in text
    copy = RunFolder(shutil.copytree(finished_run[0], tmp_path / "run"))
    limit, networks = copy.load("limit"), copy.load("networks")
    moved = networks.dataset.assign(output=networks.dataset["output"] + 5.0)
    copy.save(limit, 1.0)
    copy.save(replace(networks, dataset=moved), 1.0)
    page = render_report(copy)
    (card,) = re.findall(r'<div class="card fails">(.*)</div></div>', page)
    assert "networks close in on the limit" in card
    assert '<div class="value">no</div>' in card
    assert "Networks do not close in on the limit." in page
    assert "shrinks faster" not in page


def test_log_axes_end_where_levels_stop_to_count():
    """A departure from 1e-281 to 1e13 of networks that have left at 0.1."""
    departure = xr.DataArray([[1e-281, 1e-3, 1e13]], dims=("width", "validity_time"))
    limit = xr.Dataset(
        {
            "departure": departure,
            "band": 0 * departure + 0.01,
            "left": ("width", [0.1]),
            "widths": (("width", "layer"), [[8, 8, 8]]),
        },
        {"validity_time": [0.0, 1.0, 2.0]},
    )
    low, high = draw_validity(limit).get_ylim()
    assert low == pytest.approx(1e-7)
    assert high == pytest.approx(1e5)


# The page in a browser


@pytest.fixture(scope="module")
def opened(folder):
    """The page in headless Chromium, with what the browser complained about and asked for."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        complaints, requests = [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message) or dialog.dismiss())
        page.on("request", lambda request: requests.append(request.url))
        page.goto((folder / "report.html").as_uri())
        yield page, complaints, requests
        browser.close()


@pytest.fixture(scope="module")
def limit(folder):
    with xr.open_dataset(folder / "limit.nc") as found:
        return found.load()


@pytest.fixture(scope="module")
def comparison(folder):
    return json.loads((folder / "comparison.json").read_text(encoding="utf-8"))


def test_the_browser_has_nothing_to_complain_about(opened):
    page, complaints, requests = opened
    page.wait_for_timeout(200)
    assert complaints == []
    assert len(requests) >= 1
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


def test_the_title_is_shown_as_it_was_written(opened):
    page, _, _ = opened
    assert page.inner_text("h1") == HOSTILE_TITLE
    assert page.title() == f"{HOSTILE_TITLE} · widelimit"


def test_cards_show_the_numbers_of_the_files(opened, limit, comparison):
    page, _, _ = opened
    cards = page.locator(".card")
    shown = {}
    for k in range(cards.count()):
        assert cards.nth(k).is_visible()
        card = cards.nth(k)
        shown[card.locator(".name").inner_text()] = (
            card.locator(".value").inner_text(),
            card.locator(".note").inner_text(),
        )
    end = limit.isel(time=-1)
    value, note = shown["error of the limit"]
    assert float(value) == pytest.approx(limit.attrs["error"], rel=0.05)
    assert note == "tolerance met (0.01), 95 %"
    assert float(shown["risk at t = 1"][0]) == pytest.approx(float(end.risk), rel=1e-3)
    accuracy = float(end.accuracy.sel(part="holdout"))
    assert float(shown["holdout accuracy"][0]) == pytest.approx(accuracy, abs=1e-3)
    fit = comparison["exponent"][-1]
    value, note = shown["distance ∝ width to the power"]
    if fit is None:
        assert (value, note) == ("not fitted", comparison["exponent_reason"][-1])
    else:
        assert float(value) == pytest.approx(fit["value"], abs=0.0051)
        assert note == f"95 %: {fit['low']:.2f} … {fit['high']:.2f}"


def cells(page, heading):
    """The rows of the table under a heading, as texts."""
    table = page.locator(f"h2:text-is('{heading}') + div table")
    assert table.is_visible()
    rows = table.locator("tr")
    return [rows.nth(k).locator("th, td").all_inner_texts() for k in range(rows.count())]


def test_network_table_shows_the_numbers_of_the_files(opened, folder, comparison):
    page, _, _ = opened
    _, *rows = cells(page, "Networks")
    assert [row[0] for row in rows] == ["4", "8", "16"]
    with xr.open_dataset(folder / "networks.nc") as networks:
        end = networks.isel(time=-1).load()
    for k, row in enumerate(rows):
        at = end.sel(width=int(row[0]))
        assert int(row[1]) == end.sizes["seed"] == 5
        assert float(row[2].split(" ± ")[0]) == pytest.approx(float(at.risk.mean()), rel=1e-3)
        accuracy = float(at.accuracy.sel(part="holdout").mean())
        assert float(row[3]) == pytest.approx(accuracy, abs=6e-4)
        assert float(row[4].split(" ± ")[0]) == pytest.approx(comparison["rms"][-1][k], rel=6e-3)
        assert float(row[5]) == pytest.approx(comparison["spread"][-1][k], rel=6e-3)
        assert float(row[6].split(" ± ")[0]) == pytest.approx(
            comparison["offset"][-1][k], rel=0.06, abs=1e-12
        )


def test_limit_table_shows_the_numbers_of_the_file(opened, limit):
    page, _, _ = opened
    rows = dict(cells(page, "How accurate the limit is"))
    assert rows["quadrature nodes by layer"] == "3 (all atoms)"
    assert rows["independent replicates"] == "1"
    assert float(rows["… from time integration"]) == pytest.approx(
        limit.attrs["time_error"], rel=0.01
    )
    assert rows["… from quadrature (95 % half-width)"] == "0.00e+00"


def test_pictures_are_there_and_visible(opened):
    page, _, _ = opened
    figures = page.locator("figure")
    captions = figures.locator("figcaption").all_inner_texts()
    assert [caption.split(" ")[0] for caption in captions] == ["Risk", "Accuracy", "Distance"]
    for k in range(figures.count()):
        box = figures.nth(k).locator("svg").bounding_box()
        assert min(box["width"], box["height"]) > 100


def paths(page, kind):
    drawn = page.locator(f"#laws path.{kind}")
    return [drawn.nth(k).get_attribute("d") for k in range(drawn.count())]


def move(page, position):
    slider = page.locator("#time")
    slider.evaluate("(node, value) => { node.value = value; }", position)
    slider.dispatch_event("input")


def test_the_slider_moves_the_laws_through_time(opened):
    page, complaints, _ = opened
    slider = page.locator("#time")
    assert slider.get_attribute("max") == "2"
    assert page.locator("#laws svg").count() == 2  # first-layer weights and readouts
    seen = {}
    for position, label in ((0, "t = 0"), (1, "t = 0.5"), (2, "t = 1")):
        move(page, position)
        assert page.inner_text("#shown") == label
        seen[position] = (paths(page, "curve"), paths(page, "bar"))
        for curve in (*seen[position][0], *seen[position][1]):
            assert re.fullmatch(r"M0 180(L[\d.e+-]+ [\d.e+-]+)+", curve)
    for law in range(2):
        assert seen[0][0][law] != seen[2][0][law]
        assert seen[0][1][law] != seen[2][1][law]
    move(page, 0)
    assert (paths(page, "curve"), paths(page, "bar")) == seen[0]
    assert complaints == []


def test_the_slider_obeys_the_keyboard(opened):
    page, _, _ = opened
    move(page, 0)
    page.focus("#time")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#shown") == "t = 0.5"


def test_the_page_fits_a_narrow_window(opened):
    page, _, _ = opened
    page.set_viewport_size({"width": 380, "height": 800})
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    page.set_viewport_size({"width": 1200, "height": 900})
    assert wide <= 0


def test_the_problem_file_can_be_unfolded(opened, folder):
    page, _, _ = opened
    details = page.locator("details", has_text="The problem file")
    assert not details.locator("pre").is_visible()
    details.locator("summary").click()
    shown = details.locator("pre").inner_text()
    assert shown.strip() == (folder / "problem.toml").read_text(encoding="utf-8").strip()
