"""A trial's address: the SHA-256 of its canonical JSON, in which each parent is replaced by its own address.

Values are written in full, never as differences from defaults, so that an edited default cannot change what an old key
means. Whatever has no canonical form is refused rather than guessed at.
"""

import hashlib
import json
import math
from typing import Any

from orchestrator.spec import Model, Trial, field_names

Address = tuple[str, str]
"""Kind and key of a trial: where the store has it."""
KEY_DIGITS = 16  # 64 bits: among 10^6 trials two share a name with probability 3e-8; records hold the whole digest


def key(spec: Trial) -> str:
    """The first 16 hex digits of `digest(spec)`: the name of the trial's folder."""
    return digest(spec)[:KEY_DIGITS]


def digest(spec: Trial) -> str:
    """SHA-256 (64 hex digits) of [kind, kind version, resolved spec with each parent replaced by its digest]."""
    cached: str | None = spec.__dict__.get("_digest")
    if cached is None:
        named = f'["{spec.KIND}",{spec.VERSION},{canonical_json(spec, parent_digits=64)}]'
        cached = hashlib.sha256(named.encode()).hexdigest()
        object.__setattr__(spec, "_digest", cached)  # frozen: the digest is derived, so remembering it changes nothing
    return cached


def spec_json(spec: Trial) -> str:
    """The content of `spec.json`: the resolved spec, its kind, version and key, each parent as {"key", "kind"}."""
    content = json.loads(canonical_json(spec, parent_digits=KEY_DIGITS))
    return json.dumps({"kind": spec.KIND, "kind_version": spec.VERSION, "key": key(spec), **content}, indent=1) + "\n"


def canonical_json(spec: Any, parent_digits: int) -> str:
    """JSON with sorted keys and no spaces of one spec class. Raises TypeError or ValueError, naming the field, for a
    value that has no canonical form (a set, NaN, a type that JSON does not have)."""
    items = [(name, getattr(spec, name)) for name in field_names(spec.__class__)]
    if not isinstance(spec, Trial) and hasattr(spec, "KIND"):
        items.append(("kind", spec.KIND))
    written = (
        f'"{name}":{_canonical(value, f"{type(spec).__name__}.{name}", parent_digits)}' for name, value in sorted(items)
    )
    return "{" + ",".join(written) + "}"


def _canonical(value: Any, where: str, parent_digits: int) -> str:
    if isinstance(value, Trial):
        return f'{{"key":"{digest(value)[:parent_digits]}","kind":"{value.KIND}"}}'
    if isinstance(value, Model):
        return _part(value, parent_digits)
    if isinstance(value, tuple):
        return "[" + ",".join(_canonical(item, f"{where}[{i}]", parent_digits) for i, item in enumerate(value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}: {value} has no canonical form; a setting must be a finite number")
    if type(value) in (int, float):
        return repr(value)  # as json.dumps writes it, in a tenth of the time
    if value is None or type(value) in (bool, str):
        return json.dumps(value)
    raise TypeError(
        f"{where}: {type(value).__name__} has no canonical form; use int, float, str, bool, None or a tuple"
    )


def _part(value: Model, parent_digits: int) -> str:
    """Canonical JSON of a part of a spec, remembered on it: in a large grid thousands of trials share each part."""
    slot = f"_canonical_{parent_digits}"
    cached: str | None = value.__dict__.get(slot)
    if cached is None:
        cached = canonical_json(value, parent_digits)
        object.__setattr__(value, slot, cached)
    return cached
