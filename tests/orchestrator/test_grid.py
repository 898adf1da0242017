"""A wrong grid is told in whole lines, `file:line: field: found ...; allowed ...; nearest`, never as a traceback."""

import base64
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.__main__ import main
from orchestrator.grid import GridError, load

ROOT = Path(__file__).parents[2]
Edit = Callable[..., Path]
LOSSES = "loss: [vgg-r, convnext]"
DISCRIMINATORS = "[none, {head: patch, backbone: convnext, start: pretext}]"
PRETEXT = "pretext: {steps: 3, batch: 4, crop: 32, learning_rate: 0.001}"
ONE = "allowed: each level once"
SOME = "found no level; allowed: at least one"
MISSING = "found nothing; it has no default, so it must be given"
FINITE = "allowed: a finite number"
WEIGHT = "allowed: a finite number from 0 up, calibrated, {calibrated: NUMBER}"
AXIS = "{head: ..., backbone: ..., start: ...}"
TOP = (
    "name, seeds, numerics, backbones, matrix, exclude, baselines, photographs, iqa_sets, pretext, fr_iqa, "
    "super_resolution, iqa_transfer, judges, runtime"
)


def exclude(entries: str) -> tuple[str, str]:
    return "baselines: [pixel]", f"exclude: [{entries}]\nbaselines: [pixel]"


def pretext(old: str, new: str) -> tuple[str, str]:
    return PRETEXT, PRETEXT.replace(old, new)


# (old, new) of the change, and for each line of the error: a text on the line that it must point at, and its message
WRONG: dict[str, tuple[tuple[str, str], list[tuple[str, str]]]] = {
    # names of fields
    "unknown field at the top": (
        ("seeds:", "sedes: [0]\nseeds:"),
        [("sedes", f"sedes: found an unknown field; allowed: {TOP}; did you mean 'seeds'?")],
    ),
    "unknown field below": (
        pretext("steps", "step"),
        [
            ("pretext: {", f"pretext.steps: {MISSING}"),
            (
                "pretext: {",
                "pretext.step: found an unknown field; allowed: steps, batch, crop, learning_rate; "
                "did you mean 'steps'?",
            ),
        ],
    ),
    "unknown field in a mapping of names": (
        ("  vgg-r: {", "  vgg-r: {modle: x, "),
        [("modle", "backbones.vgg-r.modle: found an unknown field; allowed: model, weights; did you mean 'model'?")],
    ),
    "unknown field in a list": (
        exclude("{los: vgg-r}"),
        [
            (
                "exclude",
                "exclude[0].los: found an unknown field; allowed: loss, discriminator, initialization, task, seed; "
                "did you mean 'loss'?",
            )
        ],
    ),
    "unknown field of a discriminator": (
        ("{head: patch", "{haed: patch, head: patch"),
        [
            (
                "haed",
                "matrix.discriminator[1].haed: found an unknown field; allowed: head, backbone, start; "
                "did you mean 'head'?",
            )
        ],
    ),
    "unknown field of the generator": (
        ("{channels: 8", "{chanels: 8, channels: 8"),
        [
            (
                "chanels",
                "super_resolution.generator.chanels: found an unknown field; allowed: channels, depths, heads, window, "
                "mlp_ratio, upsampler; did you mean 'channels'?",
            )
        ],
    ),
    # what YAML reads differently from what is meant
    "1e-4": (
        pretext("0.001", "1e-4"),
        [
            (
                "1e-4",
                "pretext.learning_rate: found '1e-4'; allowed: a valid number; YAML reads this as text: write 0.0001",
            )
        ],
    ),
    "1e-9": (
        pretext("0.001", "1e-9"),
        [
            (
                "1e-9",
                "pretext.learning_rate: found '1e-9'; allowed: a valid number; YAML reads this as text: write 1.0e-9",
            )
        ],
    ),
    "1e3 steps": (
        pretext("steps: 3", "steps: 1e3"),
        [("1e3", "pretext.steps: found '1e3'; allowed: a valid integer; YAML reads this as text: write 1000")],
    ),
    "1e-2 as a weight": (
        ("pixel: 0.01", "pixel: 1e-2"),
        [("1e-2", f"super_resolution.weights.pixel: found '1e-2'; {WEIGHT}; YAML reads this as text: write 0.01")],
    ),
    "off": (
        ("[none,", "[off,"),
        [
            (
                "[off,",
                "matrix.discriminator[0]: found false; allowed: none (YAML reads off, no, on and yes without quotes as "
                f"booleans), {AXIS}",
            )
        ],
    ),
    "date": (
        ("name: micro", "name: 2026-11-23"),
        [("name", "found '2026-11-23', which YAML reads as a date; if text is meant, put it in quotes")],
    ),
    "impossible date": (
        ("name: micro", "name: 2026-99-99"),
        [("name", "found '2026-99-99', which is no timestamp; put text in quotes")],
    ),
    "date in a number": (
        pretext("0.001", "2026-11-23 10:00:00"),
        [("2026", "found '2026-11-23 10:00:00', which YAML reads as a datetime; if text is meant, put it in quotes")],
    ),
    "nan": (pretext("0.001", ".nan"), [(".nan", f"pretext.learning_rate: found NaN; {FINITE}")]),
    "inf": (pretext("0.001", ".inf"), [(".inf", f"pretext.learning_rate: found Infinity; {FINITE}")]),
    "nan of a spec": (
        ("mlp_ratio: 2.0", "mlp_ratio: .nan"),
        [(".nan", f"super_resolution.generator.mlp_ratio: found NaN; {FINITE}")],
    ),
    "inf as a weight": (
        ("pixel: 0.01", "pixel: .inf"),
        [(".inf", f"super_resolution.weights.pixel: found Infinity; {WEIGHT}")],
    ),
    "nan as a calibrated weight": (
        ("calibrated: 0.1", "calibrated: .nan"),
        [(".nan", f'super_resolution.weights.adversarial: found {{"calibrated": NaN}}; {WEIGHT}')],
    ),
    "a line break in a name": (
        (LOSSES, 'loss: ["vgg\\nr"]'),
        [("loss:", "found 'vgg\\nr'; allowed: text of printable characters on one line")],
    ),
    "half a surrogate pair": (
        ("name: micro", 'name: "\\ud800"'),
        [("name", "found '\\ud800'; allowed: text of printable characters on one line")],
    ),
    "an integer that Python refuses": (
        ("seeds: [0]", f"seeds: [{'9' * 5000}]"),
        [("seeds", f"found '{'9' * 60}', which is no int; put text in quotes")],
    ),
    "a seed that no generator takes": (
        ("seeds: [0]", f"seeds: [{2**32}]"),
        [("seeds", f"seeds[0]: found {2**32}; allowed: less than {2**32}")],
    ),
    "a tag": (
        ("name: micro", "name: !!python/name:os.system x"),
        [
            (
                "name",
                "not readable as YAML: could not determine a constructor for the tag "
                "'tag:yaml.org,2002:python/name:os.system'",
            )
        ],
    ),
    "merge key": (
        pretext("{steps", "{<<: {}, steps"),
        [("<<", "<< is not supported: write the fields out, so that the file says what runs")],
    ),
    "a number as a name": (
        ("    natural:", "    12:"),
        [("    12:", "the key 12 is read as int, not as a name: put it in quotes")],
    ),
    # axes
    "empty losses": ((LOSSES, "loss: []"), [("loss:", f"matrix.loss: {SOME}")]),
    "empty discriminators": ((DISCRIMINATORS, "[]"), [("discriminator:", f"matrix.discriminator: {SOME}")]),
    "empty heads": (("head: patch", "head: []"), [("head:", f"matrix.discriminator[1].head: {SOME}")]),
    "empty initializations": (("[random, gan]", "[]"), [("initialization", f"matrix.initialization: {SOME}")]),
    "empty tasks": (("task: [fr, nr]", "task: []"), [("task", f"matrix.task: {SOME}")]),
    "empty seeds": (("seeds: [0]", "seeds: []"), [("seeds", f"seeds: {SOME}")]),
    "second seed": (("seeds: [0]", "seeds: [0, 1, 0]"), [("seeds", f"seeds[2]: found 0 a second time; {ONE}")]),
    "second loss": (
        (LOSSES, "loss: [vgg-r, vgg-r]"),
        [("loss:", f"matrix.loss[1]: found 'vgg-r' a second time; {ONE}")],
    ),
    "second discriminator": (
        ("[none,", "[none, none,"),
        [("[none,", f"matrix.discriminator[1]: found 'none' a second time; {ONE}")],
    ),
    "second discriminator by a product": (
        ("start: pretext}]", "start: pretext}, {head: [vanilla, patch], backbone: convnext, start: pretext}]"),
        [("[none,", f"matrix.discriminator[2]: found patch-convnext-pretext a second time; {ONE}")],
    ),
    "second initialization": (
        ("[random, gan]", "[random, gan, random]"),
        [("initialization", f"matrix.initialization[2]: found 'random' a second time; {ONE}")],
    ),
    "second task": (("[fr, nr]", "[fr, nr, fr]"), [("task:", f"matrix.task[2]: found 'fr' a second time; {ONE}")]),
    "second baseline": (
        ("[pixel]", "[pixel, pixel]"),
        [("baselines", f"baselines[1]: found 'pixel' a second time; {ONE}")],
    ),
    "second photograph": (
        ("train: [coffee, rocket]", "train: [coffee, rocket, coffee]"),
        [("train:", f"photographs.train[2]: found 'coffee' a second time; {ONE}")],
    ),
    "second judge": (
        ("beside: [psnr]", "beside: [psnr, piqe]"),
        [
            (
                "beside:",
                "judges.beside[1]: found 'piqe' a second time; allowed: each judge once, in one family or beside",
            )
        ],
    ),
    "second key": (
        ("seeds: [0]", "seeds: [0]\nseeds: [1]"),
        [("seeds: [1]", "seeds is given twice: remove one of them")],
    ),
    # names of things
    "unknown loss": (
        (LOSSES, "loss: [vgg-q, convnext]"),
        [("loss:", "matrix.loss[0]: found 'vgg-q'; allowed: vgg-r, convnext; did you mean 'vgg-r'?")],
    ),
    "unknown backbone of a discriminator": (
        ("backbone: convnext", "backbone: [convnext, convnxt]"),
        [
            (
                "convnxt",
                "matrix.discriminator[1].backbone: found 'convnxt'; allowed: vgg-r, convnext; did you mean 'convnext'?",
            )
        ],
    ),
    "unknown backbone of the IQA models": (
        ("iqa_transfer:\n", "iqa_transfer:\n  backbones: [convnex, convnext]\n"),
        [
            (
                "  backbones:",
                "iqa_transfer.backbones[0]: found 'convnex'; allowed: vgg-r, convnext; did you mean 'convnext'?",
            ),
            (
                "initialization:",
                "matrix.initialization[1]: found 'gan', but no discriminator has the backbone 'convnex' of "
                "iqa_transfer.backbones; allowed: convnext",
            ),
        ],
    ),
    "unknown reference loss": (
        ("reference_loss: vgg-r", "reference_loss: vgg"),
        [
            (
                "reference_loss",
                "super_resolution.reference_loss: found 'vgg'; allowed: vgg-r, convnext; did you mean 'vgg-r'?",
            )
        ],
    ),
    "unknown model": (
        ("model: small/vgg,", "model: small/vgg16,"),
        [
            (
                "vgg16",
                "backbones.vgg-r.model: found 'small/vgg16'; allowed: small/vgg, small/resnet, small/convnext, "
                "small/vit, small/swin; did you mean 'small/vgg'?",
            )
        ],
    ),
    "a backbone named as a baseline": (
        ("  vgg-r: {", "  pixel: {model: small/vgg, weights: random}\n  vgg-r: {"),
        [("  pixel: {", "backbones.pixel: found 'pixel'; allowed: any name but pixel, warm-up, bicubic, none")],
    ),
    "a name that cannot be part of a path": (
        ("    natural:", "    ../natural:"),
        [
            (
                "../natural",
                "super_resolution.tests.../natural: found '../natural'; allowed: a to z, 0 to 9 and . _ + - "
                "(at most 64, the first a letter or digit)",
            )
        ],
    ),
    "unknown discriminator": (
        ("[none,", "[nonee,"),
        [("[nonee", f"matrix.discriminator[0]: found 'nonee'; allowed: none, {AXIS}; did you mean 'none'?")],
    ),
    "exclude with an unknown level": (
        exclude("{loss: vggr}"),
        [("exclude", "exclude[0].loss: found 'vggr'; allowed: vgg-r, convnext; did you mean 'vgg-r'?")],
    ),
    "exclude with levels that never meet": (
        exclude("{discriminator: none, initialization: gan}"),
        [
            (
                "exclude",
                "exclude[0]: found {'discriminator': 'none', 'initialization': 'gan'}, which matches no cell; "
                "allowed: levels that meet",
            )
        ],
    ),
    "exclude without any level": (
        exclude("{}"),
        [("exclude", "exclude[0]: found no level; allowed: at least one (without any it would leave nothing)")],
    ),
    "exclude of everything": (
        exclude("{task: fr}, {task: nr}"),
        [("exclude", "exclude: found entries that together match every cell; allowed: those that leave some")],
    ),
    # what fits together
    "gan without any discriminator": (
        (DISCRIMINATORS, "[none]"),
        [
            (
                "initialization",
                "matrix.initialization[1]: found 'gan', but the matrix has no discriminator to start from; add one or "
                "leave gan out",
            )
        ],
    ),
    "gan without a discriminator of that backbone": (
        ("iqa_transfer:\n", "iqa_transfer:\n  backbones: [vgg-r, convnext]\n"),
        [
            (
                "initialization",
                "matrix.initialization[1]: found 'gan', but no discriminator has the backbone 'vgg-r' of "
                "iqa_transfer.backbones; allowed: convnext",
            )
        ],
    ),
    "photograph in two splits": (
        ("validation: [flower]", "validation: [flower, coffee]"),
        [
            (
                "validation:",
                "photographs.validation[1]: found 'coffee', whose content is in train too; allowed: one split",
            )
        ],
    ),
    "test photograph that is not in test": (
        ("natural: [chelsea, retina]", "natural: [chelsea, coffee]"),
        [
            (
                "natural:",
                "super_resolution.tests.natural[1]: found 'coffee'; allowed: the test photographs: chelsea, retina",
            )
        ],
    ),
    "heads that do not divide channels": (
        ("heads: [1]", "heads: [3]"),
        [("heads", "super_resolution.generator.heads: found 3 heads; allowed: divisors of channels = 8")],
    ),
    "heads for other blocks": (
        ("heads: [1]", "heads: [1, 2]"),
        [("heads", "super_resolution.generator.heads: found 2; allowed: one for each of 1 depths")],
    ),
    "no layer": (
        ("depths: [1]", "depths: [0]"),
        [("depths", "super_resolution.generator.depths: found [0]; allowed: numbers above 0")],
    ),
    "crop that is no multiple": (
        ("scale: 2", "scale: 3"),
        [("  crop: 64", "super_resolution.crop: found 64; allowed: a multiple of scale = 3")],
    ),
    # types
    "list for a scalar": (
        pretext("batch: 4", "batch: [4]"),
        [("batch: [4]", "pretext.batch: found [4]; allowed: a valid integer")],
    ),
    "scalar for a list": ((LOSSES, "loss: vgg-r"), [("loss: vgg-r", "matrix.loss: found 'vgg-r'; allowed: a list")]),
    "null": (
        pretext("batch: 4", "batch: null"),
        [("batch: null", "pretext.batch: found null; allowed: a valid integer")],
    ),
    "negative": (
        pretext("batch: 4", "batch: -4"),
        [("batch: -4", "pretext.batch: found -4; allowed: a number above 0")],
    ),
    "negative seed": (
        ("seeds: [0]", "seeds: [-1]"),
        [("seeds", "seeds[0]: found -1; allowed: greater than or equal to 0")],
    ),
    "fraction for an integer": (
        ("window: 8", "window: 8.0"),
        [("window: 8.0", "super_resolution.generator.window: found 8.0; allowed: a valid integer")],
    ),
    "several faults": (
        ("seeds: [0]", "seeds: []\nsedes: 1\nbackbone: 2"),
        [
            ("seeds: []", f"seeds: {SOME}"),
            ("sedes: 1", f"sedes: found an unknown field; allowed: {TOP}; did you mean 'seeds'?"),
            ("backbone: 2", f"backbone: found an unknown field; allowed: {TOP}; did you mean 'backbones'?"),
        ],
    ),
}


def told(file: Path) -> list[str]:
    """The lines of the error that `file` raises; each is one whole printable line."""
    with pytest.raises(GridError) as error:
        load(file)
    lines = str(error.value).split("\n")
    assert all(line.isprintable() for line in lines)
    return lines


@pytest.mark.parametrize(("change", "expected"), WRONG.values(), ids=WRONG)
def test_wrong_grid(
    change: tuple[str, str],
    expected: list[tuple[str, str]],
    edited: Edit,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = edited(*change)
    numbered = list(enumerate(file.read_text().split("\n"), 1))
    lines = [
        f"{file}:{next(n for n, text in numbered if mark in text and not text.startswith('#'))}: {message}"
        for mark, message in expected
    ]
    assert told(file) == lines
    monkeypatch.setattr(sys, "argv", ["orchestrator", "plan", str(file)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr() == ("", "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("old", "new", "nearest"),
    [
        ("distortions: [gaussian_blur", "distortions: [gausian_blur", "gaussian_blur"),
        ("train: [coffee", "train: [cofee", "coffee"),
        ("[piqe]", "[piqqe]", "piqe"),
        ("beside: [psnr]", "beside: [psnrr]", "psnr"),
        ("numerics: reference", "numerics: referense", "reference"),
    ],
)
def test_names_from_long_lists_are_told_with_the_nearest(old: str, new: str, nearest: str, edited: Edit) -> None:
    file = edited(old, new)
    number = next(n for n, line in enumerate(file.read_text().splitlines(), 1) if new in line)
    for line in told(file):
        assert line.startswith(f"{file}:{number}: ")
        assert "; allowed: " in line
        assert line.endswith(f"; did you mean {nearest!r}?")


def test_both_views_of_a_stereo_pair_are_one_content(edited: Edit) -> None:
    old = "train: [coffee, rocket]\n  validation: [flower]"
    file = edited(old, "train: [coffee, motorcycle_left]\n  validation: [flower, motorcycle_right]")
    assert told(file)[0].endswith(
        "photographs.validation[1]: found 'motorcycle_right', whose content is in train too; allowed: one split"
    )


DEEP = "[" * 5000 + "]" * 5000
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
RANDOM = base64.encodebytes(random.Random(0).randbytes(7_500_000))  # 10 MB of text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "1: the grid: found null; allowed: a mapping of names to values"),
        (b"# only a comment\n", "1: the grid: found null; allowed: a mapping of names to values"),
        (b"- a\n- b\n", '1: the grid: found ["a", "b"]; allowed: a mapping of names to values'),
        (b"name: a\nx:\n\ty: 1\n", "3: not readable as YAML: found character '\\t' that cannot start any token"),
        (b"name: a\nseeds: [0\nb: c\n", "3: not readable as YAML: expected ',' or ']', but got ':'"),
        (b"name: caf\xe9\n", "1: not UTF-8 text: byte 9 is 0xe9"),
        ("name: a".encode("utf-16"), "1: not UTF-8 text: byte 0 is 0xff"),
        (b"a: b\nname: a\0b\n", "1: not readable as YAML: unacceptable character #x0000"),
        (b"a: *b\n", "1: not readable as YAML: found undefined alias 'b'"),
        (b"a: b\n---\nc: d\n", "2: not readable as YAML: but found another document"),
        (b"[a, b]: c\n", "1: the key a list or mapping is read as list, not as a name: put it in quotes"),
        (b"a: &a [*a]\n", "1: nested more than 20 deep"),
        (DEEP.encode(), "1: nested too deeply, or an alias that contains itself"),
        (BOMB.encode(), "1: more than 20,000 values: write the grid with axes instead of aliases"),
        (RANDOM, "1: more than 200,000 bytes: this is no grid; see grids/demo.yaml for one"),
    ],
    ids=[
        "empty",
        "comment",
        "list",
        "tab",
        "bracket",
        "latin-1",
        "utf-16",
        "nul",
        "alias",
        "documents",
        "key",
        "self",
        "deep",
        "bomb",
        "10MB",
    ],
)
def test_unreadable_file_is_refused_at_once(content: bytes, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_bytes(content)
    started = time.monotonic()
    (line,) = told(file)
    assert line.startswith(f"{file}:{expected}")
    assert time.monotonic() - started < 10  # seconds; unlimited, the bomb and the 10 MB take minutes


@pytest.mark.parametrize("name", ["nothere.yaml", "", "nofolder/grid.yaml", "x" * 300, "good.yaml/grid.yaml"])
def test_no_such_file_names_the_grids_nearby(name: str, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").touch()
    (line,) = told(tmp_path / name)
    nearby = "none" if "/" in name else str(tmp_path / "good.yaml")
    assert line.startswith(f"{tmp_path / name}: ")
    assert line.endswith(f"; grids in that folder: {nearby}")


@pytest.mark.parametrize("verb", ["plan", "sweep"])
def test_command_line_ends_with_2_and_only_the_message(verb: str, edited: Edit) -> None:
    file = edited("seeds: [0]", "seeds: [0, 0]")
    command = [sys.executable, "-W", "error", "-m", "orchestrator", verb, str(file)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"{file}:3: seeds[1]: found 0 a second time; {ONE}\n"


def test_windows_line_ends_do_not_shift_the_lines(tmp_path: Path) -> None:
    text = (ROOT / "tests" / "micro.yaml").read_text().replace("loss: [vgg-r", "loss: [vgg-q")
    (tmp_path / "unix.yaml").write_bytes(text.encode())
    (tmp_path / "dos.yaml").write_bytes(text.replace("\n", "\r\n").encode())
    assert told(tmp_path / "dos.yaml") == [line.replace("unix", "dos") for line in told(tmp_path / "unix.yaml")]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crop: 32, learning_rate", "crop: 8, learning_rate", "pretext.crop: found 8; allowed: 16 (what backbones"),
        ("crop: 32, learning_rate", "crop: 401, learning_rate", "to 400 (the side of coffee)"),
        ("\n  crop: 64", "\n  crop: 302", "super_resolution.crop: found 302; allowed: 16 (what backbones need) to 300"),
        ("batch: 2, patch: 16", "batch: 2, patch: 201", "training.patch: found 201; allowed: 8 (what backbones need)"),
        ("batch: 2, patch: 8", "batch: 2, patch: 7", "warmup.patch: found 7; allowed: 8 (what backbones need) to 200"),
        (
            "    crop: 32\n",
            "    crop: 4000\n",
            "iqa_sets.fr.crop: found 4000; allowed: 16 (what backbones need) to 300",
        ),
    ],
)
def test_crops_must_fit_photographs_and_backbones(old: str, new: str, message: str, edited: Edit) -> None:
    assert message in told(edited(old, new))[0]
