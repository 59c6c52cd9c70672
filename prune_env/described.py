"""Values of Python as JSON that tells them apart: what decides a result is written down, or refused."""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, SimpleNamespace
from typing import Any

import numpy as np
import torch


def describe(value: Any, name: str) -> Any:
    """JSON that is the same for equal values, and another one for others.

    Numbers, strings and containers are themselves; tensors and arrays are told by the hash of their numbers, classes
    and functions by their names, dataclasses by their fields.

    Args:
        value: What to describe.
        name: What it is called, for the message.

    Raises:
        ValueError: If nothing says what the value is.
    """
    try:
        return _describe(value)
    except (_UnknownError, RecursionError) as error:
        raise ValueError(
            f"{name} = {value!r:.200} cannot be written down ({error or 'it contains itself'}), so that networks made "
            "with it could not be told apart: give its attribute a name that begins with an underscore if it does not "
            "decide what a network becomes, or override settings()"
        ) from error


class _UnknownError(Exception):
    pass


def _describe(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value if not isinstance(value, enum.Enum) else str(value)
    if isinstance(value, enum.Enum):
        return str(value)
    if isinstance(value, np.generic):
        return _describe(value.item())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _describe(item) for key, item in value.items()}
        return sorted(([_describe(key), _describe(item)] for key, item in value.items()), key=repr)
    if isinstance(value, (set, frozenset)):
        return sorted(map(_describe, value), key=repr)
    if isinstance(value, (tuple, list)):  # torch.Size and named tuples too
        return [_describe(item) for item in value]
    return _describe_object(value)


def _describe_object(value: Any) -> Any:
    if isinstance(value, (PurePath, torch.dtype, torch.device, range, slice, complex)):
        return str(value)
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()[:16]}
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu()
        content = plain.contiguous().flatten().view(torch.uint8) if plain.numel() else plain.flatten()
        return {"tensor": _hash(content.numpy().tobytes()), "shape": list(plain.shape), "dtype": str(plain.dtype)}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return {"array": _hash(value.tobytes()), "shape": list(value.shape), "dtype": str(value.dtype)}
    if isinstance(value, torch.nn.Module):
        return {"module": _name(type(value)), "text": str(value), "state": _describe(dict(value.state_dict()))}
    if isinstance(value, partial):
        return {"partial": _describe(value.func), "arguments": [_describe(value.args), _describe(value.keywords)]}
    if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
        return {"code": _name(value)}
    if isinstance(value, MethodType):
        return {"code": _name(value.__func__), "of": _describe(value.__self__)}
    if is_dataclass(value):
        named = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"type": _name(type(value)), "fields": _describe(named)}
    if isinstance(value, SimpleNamespace):
        return _describe(vars(value))
    raise _UnknownError(f"a {_name(type(value))} is neither data, nor a class or function")


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
