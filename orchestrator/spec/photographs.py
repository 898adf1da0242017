"""Photographs that installed packages ship: the table of their files, and the spec of one by its name."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.spec.parts import Photograph


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The file of a photograph that an installed package ships: no download."""

    file: str
    """Path in the folder of installed packages; its first part is the package."""
    side: int
    """Its shorter side, pixels."""
    sha256: str
    content: str
    """What it shows: splits and statistics go by content. Both views of a stereo pair show the same."""


# name: (file, shorter side, SHA-256), as scikit-image 0.26 and scikit-learn 1.8 ship them.
_SKIMAGE = {
    "astronaut": ("astronaut.png", 512, "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
    "brick": ("brick.png", 512, "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf"),
    "camera": ("camera.png", 512, "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a"),
    "chelsea": ("chelsea.png", 300, "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
    "coffee": ("coffee.png", 400, "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
    "coins": ("coins.png", 303, "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba"),
    "grass": ("grass.png", 512, "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"),
    "gravel": ("gravel.png", 512, "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12"),
    "hubble_deep_field": (
        "hubble_deep_field.jpg",
        872,
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    ),
    "immunohistochemistry": ("ihc.png", 512, "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef"),
    "moon": ("moon.png", 512, "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577"),
    "motorcycle_left": ("motorcycle_left.png", 500, "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179"),
    "motorcycle_right": (
        "motorcycle_right.png",
        500,
        "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
    ),
    "retina": ("retina.jpg", 1411, "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6"),
    "rocket": ("rocket.jpg", 427, "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"),
}
_SKLEARN = {
    "china": ("china.jpg", 427, "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29"),
    "flower": ("flower.jpg", 427, "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638"),
}
PHOTOGRAPHS: dict[str, Embedded] = {
    name: Embedded(
        file=f"{folder}/{file}", side=side, sha256=sha256, content=name.removesuffix("_left").removesuffix("_right")
    )
    for folder, files in (("skimage/data", _SKIMAGE), ("sklearn/datasets/images", _SKLEARN))
    for name, (file, side, sha256) in files.items()
}


def photograph(name: str) -> Photograph:
    """The embedded photograph of that name, with its digest. Raises ValueError for a name that nobody ships."""
    if name not in PHOTOGRAPHS:
        raise unknown("photograph", name, PHOTOGRAPHS)
    return Photograph(name=name, sha256=PHOTOGRAPHS[name].sha256)


def unknown(what: str, found: str, allowed: Iterable[str]) -> ValueError:
    """The error for a name that is not among the allowed ones: says which are (the first 24), and which is nearest."""
    names = sorted(allowed)
    shown = ", ".join(names[:24]) + (f" ... ({len(names)} in all)" if len(names) > 24 else "")
    nearest = difflib.get_close_matches(found, names, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return ValueError(f"{what}: found {found!r}; allowed: {shown}{hint}")
