"""Plain text as LaTeX, with what the fonts of every LaTeX can set."""

import re
import unicodedata

MAY_BREAK = "\u200b"
"""In plain text, where a line may be broken."""
SPECIAL = {
    MAY_BREAK: r"\allowbreak{}",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\ttfamily\char34}",
    "`": r"\`{}",
    "[": "{[}",  # a [ or * that begins a row is an argument of the command that ended the row before
    "]": "{]}",
    "*": "{*}",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\dots{}",
    "·": r"$\cdot$",
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "→": r"$\to$",
    "∞": r"$\infty$",
    "√": r"$\surd$",
    "°": r"$^{\circ}$",
    "\N{MICRO SIGN}": r"$\mu$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
} | {letter: f"\\{letter}" for letter in "{}$&#_%"}
GREEK = frozenset("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ")
"""Letters with a command of their own; the others look like Latin ones."""
ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0308\u0304\u0306\u0307\u030a\u030b\u030c\u0323\u0327", "`'^~\"=u.rHvdc", strict=True)
)
"""Combining marks and their commands."""
DOTLESS = {"i": r"\i", "j": r"\j"}


def escape(words: str) -> str:
    """Plain text as LaTeX that typesets it with the fonts that every LaTeX has. A character that these lack becomes its
    code, U+4E2D; control characters and line breaks become spaces."""
    apart = re.sub(r"([-'])(?=\1)", rf"\1{MAY_BREAK}", words)  # no ligatures: a-name--v2 keeps its hyphens
    return "".join(_letter(letter) for letter in unicodedata.normalize("NFC", apart))


def _letter(letter: str) -> str:
    if letter in SPECIAL:
        return SPECIAL[letter]
    if letter in GREEK:
        word = unicodedata.name(letter).split()[-1].lower().replace("lamda", "lambda")
        return rf"$\{word.capitalize() if letter.isupper() else word}$"
    if letter.isspace() or unicodedata.category(letter) == "Cc":
        return " "
    if letter.isascii():
        return letter
    base, marks = (apart := unicodedata.normalize("NFD", letter))[0], apart[1:]
    if base.isascii() and marks in ACCENTS:
        return rf"\{ACCENTS[marks]}{{{DOTLESS.get(base, base)}}}"
    return rf"\texttt{{U+{ord(letter):04X}}}"


def points(words: str) -> float:
    """About how wide plain text is in \\footnotesize of a 10 pt document, which is Computer Modern at 8 pt."""
    return sum(map(_points, words))


def _points(letter: str) -> float:
    if letter == MAY_BREAK:
        return 0.0
    if letter in " .,:;|!'iljft()/-":
        return 2.7
    if letter.isascii():
        return 6.5 if letter in "mw" or letter.isupper() else 4.3
    return 26.0 if "texttt" in _letter(letter) else 6.6
