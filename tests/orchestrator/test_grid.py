"""A wrong grid is told in whole lines, `file:line: field: found ...; allowed ...; nearest`, never as a traceback.

The axes, the models and the data have files of their own: test_grid_axes.py, test_grid_backbones.py, test_grid_data.py.
"""

import base64
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Edit = Callable[..., Path]
Told = Callable[[Path], list[str]]
LOSSES = "loss: [vgg-r, convnext]"
PRETEXT = "pretext: {steps: 3, batch: 4, crop: 32, learning_rate: 0.001}"
ONE = "allowed: each level once"
SOME = "found no level; allowed: at least one"
MISSING = "found nothing; it has no default, so it must be given"
FINITE = "allowed: a finite number"
WEIGHT = "allowed: a finite number from 0 up, calibrated, {calibrated: NUMBER}"
AXIS = "{head: ..., backbone: ..., start: ...}"
TOP = (
    "name, seeds, numerics, backbones, matrix, exclude, when, zip, baselines, photographs, data, iqa_sets, pretext, "
    "fr_iqa, super_resolution, iqa_transfer, judges, claims, runtime"
)


def pretext(old: str, new: str) -> tuple[str, str]:
    return PRETEXT, PRETEXT.replace(old, new)


# (old, new) of the change, and for each line of the error: a text on the line that it must point at, and its message
WRONG: dict[str, tuple[tuple[str, str], list[tuple[str, str]]]] = {
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
        [
            (
                "modle",
                "backbones.vgg-r.modle: found an unknown field; allowed: model, weights, starts; did you mean 'model'?",
            )
        ],
    ),
    "unknown field in a list": (
        ("baselines: [pixel]", "exclude: [{los: vgg-r}]\nbaselines: [pixel]"),
        [
            (
                "exclude",
                "exclude[0].los: found an unknown field; allowed: loss, discriminator, initialization, task, seed; "
                "did you mean 'loss'?",
            )
        ],
    ),
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


@pytest.mark.parametrize(("change", "expected"), WRONG.values(), ids=WRONG)
def test_wrong_grid(change: tuple[str, str], expected: list[tuple[str, str]], refused: Callable[..., None]) -> None:
    refused(change, expected)


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
def test_names_from_long_lists_are_told_with_the_nearest(
    old: str, new: str, nearest: str, edited: Edit, told: Told
) -> None:
    file = edited(old, new)
    number = next(n for n, line in enumerate(file.read_text().splitlines(), 1) if new in line)
    for line in told(file):
        assert line.startswith(f"{file}:{number}: ")
        assert "; allowed: " in line
        assert line.endswith(f"; did you mean {nearest!r}?")


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
def test_unreadable_file_is_refused_at_once(content: bytes, expected: str, tmp_path: Path, told: Told) -> None:
    file = tmp_path / "grid.yaml"
    file.write_bytes(content)
    started = time.monotonic()
    (line,) = told(file)
    assert line.startswith(f"{file}:{expected}")
    assert time.monotonic() - started < 10  # seconds; unlimited, the bomb and the 10 MB take minutes


@pytest.mark.parametrize("name", ["nothere.yaml", "", "nofolder/grid.yaml", "x" * 300, "good.yaml/grid.yaml"])
def test_no_such_file_names_the_grids_nearby(name: str, tmp_path: Path, told: Told) -> None:
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


def test_windows_line_ends_do_not_shift_the_lines(tmp_path: Path, told: Told) -> None:
    text = (ROOT / "tests" / "micro.yaml").read_text().replace("loss: [vgg-r", "loss: [vgg-q")
    (tmp_path / "unix.yaml").write_bytes(text.encode())
    (tmp_path / "dos.yaml").write_bytes(text.replace("\n", "\r\n").encode())
    assert told(tmp_path / "dos.yaml") == [line.replace("unix", "dos") for line in told(tmp_path / "unix.yaml")]
