"""Fields of dataclasses against their types and allowed ranges; what is wrong is said with what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, get_type_hints

import torch


@dataclass(frozen=True)
class Range:
    """An interval.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        ends: "[" or "(", then "]" or ")": whether they belong to it.
    """

    low: float = 1
    high: float = float("inf")
    ends: str = "[)"

    def __contains__(self, value: float) -> bool:
        above = self.low <= value if self.ends[0] == "[" else self.low < value
        return above and (value <= self.high if self.ends[1] == "]" else value < self.high)

    def __str__(self) -> str:
        return f"{self.ends[0]}{self.low:g}, {self.high:g}{self.ends[1]}"


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


# Of every kind of field: whether a value is one, the numbers in it, and what it is called.
_KINDS: dict[Any, tuple[Callable[[Any], bool], Callable[[Any], tuple[Any, ...]], str]] = {
    bool: (lambda value: isinstance(value, bool), lambda value: (), "True or False"),
    str: (lambda value: isinstance(value, str), lambda value: (), "a string"),
    int: (_whole, lambda value: (value,), "a whole number"),
    float: (
        lambda value: isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value),
        lambda value: (value,),
        "a number",
    ),
    tuple[int, ...]: (lambda value: isinstance(value, tuple) and all(map(_whole, value)), tuple, "whole numbers"),
}


def check_value(name: str, value: Any, kind: Any, allowed: Range | tuple[str, ...] | None = None) -> None:
    """Whether a value is of its kind, and it or every number in it in its range.

    Args:
        name: What the value is called.
        value: The value.
        kind: bool, str, int, float or tuple[int, ...].
        allowed: The range of a number, or the strings that there are; of either, None for any.

    Raises:
        ValueError: If it is not; names, value and what is allowed are in the message.
    """
    fits, numbers, called = _KINDS[kind]
    if isinstance(allowed, tuple):
        called = " or ".join(map(repr, allowed))
        right = isinstance(value, str) and value in allowed
    else:
        right = fits(value) and (allowed is None or all(number in allowed for number in numbers(value)))
        if allowed:
            called += f" in {allowed}"
        elif kind is float:
            called = "a finite number"
    if not right:
        raise ValueError(f"{name} must be {called}, got {value!r}")


def check_fields(record: Any, allowed: Mapping[str, Range | tuple[str, ...]]) -> None:
    """Whether every field of a dataclass is of the type that it is declared with, and in its range.

    Fields of other types than `check_value` knows, such as mappings, are left to the class.

    Raises:
        ValueError: If one is not; the first one is named.
    """
    kinds = get_type_hints(type(record))
    for field in fields(record):
        if kinds[field.name] in _KINDS:
            check_value(field.name, getattr(record, field.name), kinds[field.name], allowed.get(field.name))


def check_device(device: Any) -> None:
    """Whether tensors can be made on a device.

    Raises:
        ValueError: If torch does not know the device, or this machine does not have it.
    """
    try:
        if torch.empty(0, device=device).device.type == "meta":
            raise ValueError("it holds no numbers")
    except (RuntimeError, AssertionError, TypeError, ValueError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device {device!r} cannot be used here ({reason}); 'cpu' always can") from error
