"""What all sections share: the base class and the types of their fields."""

import sys
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainValidator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from orchestrator import spec

Positive = Annotated[int, Field(gt=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._+-]{0,63}$")]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """Base of the grid's sections: exact types, finite numbers, unknown fields refused, unchangeable."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class OneOrMore:
    """Annotates a tuple: a single item may be written without brackets."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_listed, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        whole = handler(schema)
        return {"anyOf": [whole["items"], whole]}


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


listed = OneOrMore()


def _weight(value: Any) -> spec.Weight:
    if value == "calibrated":
        return spec.Calibrated(times=1.0)
    if isinstance(value, dict) and set(value) == {"calibrated"} and _from_zero_up(value["calibrated"]):
        return spec.Calibrated(times=float(value["calibrated"]))
    if _from_zero_up(value):
        return float(value)
    raise PydanticCustomError("weight", "a finite number from 0 up, calibrated, {calibrated: NUMBER}")


def _from_zero_up(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max


WrittenWeight = float | Literal["calibrated"] | dict[Literal["calibrated"], float]
Weight = Annotated[spec.Weight, PlainValidator(_weight, json_schema_input_type=WrittenWeight)]
