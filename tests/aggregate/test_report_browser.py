"""The page in a real browser, where one is installed."""

import pytest

from tests.aggregate import page_material
from tests.aggregate.page_material import HOSTILE
from tests.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")

PHONE, DESKTOP = (400, 850), (1280, 800)
DIALOG = 'document.querySelector("dialog")'
STAGE = 'document.querySelector(".flipper .stage")'
SHOWN = 'document.querySelector(".flipper img")'


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def page(filled, tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    found = page_material.evidence(filled[0])
    page_material.write(found, out)
    return out / "report.html"


def select(browser, label, value):
    """Chooses an option of a select of the flipper, as a person would."""
    of_label = f"[...document.querySelectorAll('.flipper label')].find(l => l.textContent.startsWith('{label}'))"
    chosen = f"(s => {{ s.value = '{value}'; s.dispatchEvent(new Event('change')); }})"
    browser.value(f"{chosen}({of_label}.querySelector('select'))")


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_its_window_asks_nobody_and_runs_without_an_error(browser, page, size, dark):
    browser.open(page, *size, dark=dark)
    assert browser.value("document.documentElement.scrollWidth") == size[0]
    asked = {told["request"]["url"] for told in browser.told("Network.requestWillBeSent")}
    assert {url for url in asked if not url.startswith("data:")} == {page.resolve().as_uri()}
    assert browser.told("Runtime.exceptionThrown") == []
    assert browser.told("Log.entryAdded") == []
    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(14, 18, 26)" if dark else "rgb(246, 247, 249)")
    wanted = 'querySelector("source").srcset' if dark else 'querySelector("img").src'
    figure = 'document.querySelector(".chart")'
    assert browser.value(f"{figure}.querySelector('img').currentSrc === {figure}.{wanted}")


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_three_sentences_stand_on_the_first_screen(browser, page, size, script):
    browser.open(page, *size, script=script)
    document = browser("DOM.getDocument")["root"]["nodeId"]
    answers = browser("DOM.querySelector", nodeId=document, selector=".answers")["nodeId"]
    *_, bottom = browser("DOM.getBoxModel", nodeId=answers)["model"]["border"]
    assert bottom < size[1]


def test_without_script_tables_crops_and_the_other_judges_are_there(browser, page):
    browser.open(page, script=False)
    document = browser("DOM.getDocument")["root"]["nodeId"]

    def seen(selector):
        found = browser("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        tree = browser("Accessibility.getPartialAXTree", nodeId=found, fetchRelatives=False)["nodes"]
        return not tree[0].get("ignored", False)

    assert seen("#table-asymmetry")
    assert not seen("#table-asymmetry-independent")
    assert seen(".strip img")
    assert not seen(".flipper select")
    label = browser("DOM.querySelector", nodeId=document, selector="label[for=independent-asymmetry]")["nodeId"]
    browser("DOM.scrollIntoViewIfNeeded", nodeId=label)
    x, y, *_ = browser("DOM.getBoxModel", nodeId=label)["model"]["content"]
    for kind in ("mousePressed", "mouseReleased"):
        browser("Input.dispatchMouseEvent", type=kind, x=x + 2, y=y + 2, button="left", clickCount=1)
    assert seen("#table-asymmetry-independent")
    assert not seen("#table-asymmetry")


def test_tables_sort_by_keyboard_up_down_and_back(browser, page):
    browser.open(page)
    browser.value("""window.head = [...document.querySelectorAll('#table-stability th')].find(
        th => th.textContent.startsWith('validation PSNR'))""")
    rows = "[...document.querySelectorAll('#table-stability tbody tr')]"
    cells = f"{rows}.map(row => row.cells[head.cellIndex].textContent[1])"
    browser.value("head.querySelector('button').focus()")
    assert browser.value(cells) == [*"012012"]
    found = []
    for _ in range(3):
        browser.press(" ", "Space", 32)
        found.append((browser.value("head.getAttribute('aria-sort')"), "".join(browser.value(cells))))
    assert found == [("ascending", "001122"), ("descending", "221100"), ("none", "012012")]


def test_holes_are_sorted_last_and_small_numbers_as_numbers(browser, page):
    browser.open(page)
    table = "<table class=s><thead><tr><th>p</th></tr></thead><tbody>{}</tbody></table>"
    rows = "".join(f"<tr><td class=n>{text}</td></tr>" for text in ("0.5", "–", "&lt;0.001", "−3", "1,200", "10"))
    browser.value(f"window.made = document.createElement('div'); made.innerHTML = `{table.format(rows)}`")
    texts = "[...made.querySelectorAll('td')].map(cell => cell.textContent)"
    for order, expected in (
        ("ascending", ["−3", "<0.001", "0.5", "10", "1,200", "–"]),
        ("descending", ["1,200", "10", "0.5", "<0.001", "−3", "–"]),
    ):
        browser.value(f"sortBy(made.querySelector('table'), 0, '{order}')")
        assert browser.value(texts) == expected


def test_a_number_leads_to_its_trials(browser, page):
    browser.open(page)
    browser.value("document.querySelector('#table-asymmetry a.t').click()")
    assert browser.value(f"{DIALOG}.open")
    assert browser.value(f"{DIALOG}.querySelector('h2').textContent") == "none – Asymmetry"
    assert browser.value(f"{DIALOG}.querySelector('p').textContent") == "3 trials: 3 judging"
    row = browser.value(f"[...{DIALOG}.querySelector('tbody tr').cells].map(cell => cell.textContent)")
    assert row[0].startswith("judge ")
    assert (row[1], row[2], row[4], row[5], row[6]) == ("judging", "done", "–", "0123456789ab", "2.5")
    record = browser.value(f"{DIALOG}.querySelector('tbody a').href").removeprefix("file://")
    with open(record) as file:
        assert row[3] in file.read()
    browser.press("Escape", "Escape", 27)
    assert not browser.value(f"{DIALOG}.open")


def test_the_trial_of_a_training_leads_to_mlflow(browser, page):
    browser.open(page)
    position = "data.trials.findIndex(trial => data.kinds[trial[2]] === 'super_resolution')"
    browser.value(f"window.row = trialRow(data.trials[{position}])")
    assert browser.value("row.cells[4].firstChild.href").startswith("http://127.0.0.1:5000/#/experiments/1/runs/")


def test_crops_flip_by_button_by_key_and_by_holding(browser, page):
    browser.open(page)
    browser.value(f"{STAGE}.scrollIntoView()")
    select(browser, "discriminator", "patch-vgg-pretext")
    select(browser, "A", "vgg-r")
    select(browser, "B", "HR")
    said = "document.querySelector('.flipper output').textContent"
    crop = 'document.querySelector(\'img[data-image=brick][data-row="{}"][data-column="{}"]\').src'
    first = browser.value(crop.format("patch-vgg-pretext", "vgg-r"))
    second = browser.value(crop.format("without a loss network", "HR"))
    select(browser, "A", "vgg-r")
    assert browser.value(f"[{said}, {SHOWN}.src]") == ["A: vgg-r", first]
    browser.value("document.querySelector('.flipper button[aria-pressed]').click()")
    assert browser.value(f"[{said}, {SHOWN}.src]") == ["B: HR", second]
    browser.value(f"{STAGE}.focus()")
    browser.press(" ", "Space", 32)
    assert browser.value(said) == "A: vgg-r"
    box = browser.value(f"(r => [r.x + 5, r.y + 5])({SHOWN}.getBoundingClientRect())")
    where = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
    browser("Input.dispatchMouseEvent", type="mousePressed", **where)
    assert browser.value(said) == "B: HR"
    browser("Input.dispatchMouseEvent", type="mouseReleased", **where)
    assert browser.value(said) == "A: vgg-r"


@pytest.mark.parametrize("zoom", [1, 2, 3, 4])
def test_zoom_is_by_whole_factors_without_interpolation(browser, page, zoom):
    browser.open(page)
    select(browser, "zoom", zoom)
    assert browser.value(f"[{SHOWN}.clientWidth, {SHOWN}.clientHeight]") == [64 * zoom, 64 * zoom]
    assert browser.value(f"getComputedStyle({SHOWN}).imageRendering") == "pixelated"


def test_names_do_not_run(browser, filled, tmp_path):
    found = page_material.evidence(filled[0])
    found.trials["name"] = HOSTILE
    page_material.write(found, tmp_path)
    browser.open(tmp_path / "report.html")
    browser.value("document.querySelector('#table-asymmetry a.t').click()")
    assert browser.value(f"{DIALOG}.querySelector('tbody th').textContent") == HOSTILE
    assert browser.value("window.hacked ?? 'no'") == "no"
    assert browser.value("document.querySelectorAll('img[onerror]').length") == 0
