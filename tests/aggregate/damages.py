"""Ways in which the files of a finished trial can be damaged: each gives a function of the trial's folder."""

import json

import pyarrow as pa
import pyarrow.parquet as pq


def cut(name):
    """The file ends in its middle."""

    def damage(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


def text(name, content):
    """The file holds this instead."""
    return lambda folder: (folder / name).write_text(content)


def gone(name):
    """No such file."""
    return lambda folder: (folder / name).unlink()


def column(name, change):
    """`change` of the values of one column of the scores; None takes the column away."""

    def damage(folder):
        table = pq.read_table(folder / "scores.parquet")
        place = table.schema.get_field_index(name)
        values = change(table[name].to_pylist()) if change else None
        table = table.set_column(place, name, pa.array(values)) if change else table.remove_column(place)
        pq.write_table(table, folder / "scores.parquet")

    return damage


def rows(most):
    """Only so many rows of the scores are there."""

    def damage(folder):
        pq.write_table(pq.read_table(folder / "scores.parquet").slice(0, most), folder / "scores.parquet")

    return damage


def record(change):
    """A change of what record.json holds."""

    def damage(folder):
        found = json.loads((folder / "record.json").read_text())
        (folder / "record.json").write_text(json.dumps(change(found)))

    return damage


def number(name, value):
    """Another number in record.json; one that is None is absent."""

    def change(found):
        numbers = found["numbers"] | {name: value}
        return found | {"numbers": {name: number for name, number in numbers.items() if number is not None}}

    return record(change)
