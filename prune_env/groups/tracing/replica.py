"""Copy a model, whatever it holds, so that nothing that is done to the copy reaches the original.

`copy.deepcopy` refuses activations that a module keeps, takes functions for constants (a lambda that holds `self` would
still run the original), and separates parameters that share their memory. Here activations are detached wherever they
lie, functions are bound to the copy, and memory that is shared stays shared.
"""

from __future__ import annotations

import copy
import gc
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from prune_env.groups.tracing.stored import REGISTERS, place_of

_T = TypeVar("_T")

_MOST_REFUSALS = 1000  # objects that cannot be copied
_MOST_SEARCHED = 10_000  # objects that are searched for a reference to the model
_BACKWARD = ("_backward_hooks", "_backward_pre_hooks")
_CONTAINERS = (list, dict, set, nn.Module)
_CODE = copy.deepcopy.__code__
_DISPATCH: dict[type, Callable[[Any, dict[int, Any]], Any]] = copy._deepcopy_dispatch  # type: ignore[attr-defined]


def replicate(model: nn.Module, function: _T) -> tuple[nn.Module, _T]:
    """A copy of a model, and a function (a trace) that runs the copy wherever it ran the original.

    Objects that cannot be copied, such as locks and open files, are shared with the original. Backward hooks are left
    out: they are for the user's own gradients.

    Args:
        model: The model; it is left as it was.
        function: A callable that may hold the model in its closure; it is the same object if it does not.

    Raises:
        Exception: Whatever a module or tensor raises that cannot be copied.
    """
    own = _own(model)
    shared: dict[int, Any] = {}
    for _ in range(_MOST_REFUSALS):
        memo = _Memo(own, shared)
        try:
            with _rules():
                replica = copy.deepcopy(model, memo)
                memo.copies_containers = False
                bound = copy.deepcopy(function, memo) if memo.concerns(function) else function
            break
        except Exception as error:
            refused = _refused(error)
            if refused is None or id(refused) in shared or isinstance(refused, (nn.Module, Tensor)):
                raise
            shared[id(refused)] = refused
    for module in replica.modules():
        for name in _BACKWARD:
            vars(module).get(name, {}).clear()
    _tie(replica)
    return replica, bound


def copied(model: nn.Module) -> nn.Module:
    """A copy of a model alone, see `replicate`."""
    return replicate(model, None)[0]


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Put back whatever happens to a model while the context lasts.

    It guards the original against traces and methods that reach it past their arguments, for instance by a global name.
    """
    tensors = {id(t): t for m in model.modules() for t in _held(m)}
    tensors.update((id(t.grad), t.grad) for t in list(tensors.values()) if t.is_leaf and t.grad is not None)
    values = [(t, t.detach().clone()) for t in tensors.values()]
    gradients = [(t, t.grad) for t in tensors.values() if t.is_leaf]
    attributes = [(vars(m), dict(vars(m)), m) for m in model.modules()]
    contents = {id(x): (x, copy.copy(x)) for _, kept, _ in attributes for x in kept.values() if type(x) in (list, dict)}
    contents.update((id(x), (x, copy.copy(x))) for _, kept, _ in attributes for x in _registers(kept))
    try:
        yield
    finally:
        for mine, then, _ in attributes:
            if mine.keys() != then.keys() or any(mine[name] is not x for name, x in then.items()):
                mine.clear()
                mine.update(then)
        for container, before in contents.values():
            _refill(container, before)
        for tensor, gradient in gradients:
            if tensor.grad is not gradient:
                tensor.grad = gradient
        for tensor, before in values:
            if not torch.equal(tensor.detach(), before):
                tensor.data.copy_(before)


class _Memo(dict[Any, Any]):
    """The memory of a deep copy that follows the rules of this file; other deep copies are left alone."""

    def __init__(self, own: set[int], shared: dict[int, Any]):
        super().__init__(shared)
        self.copies_containers = True
        self._own = own

    def is_own(self, x: Any) -> bool:
        """Whether an object is a part of the model."""
        return id(x) in self._own

    def concerns(self, x: Any) -> bool:
        """Whether something refers to a part of the model."""
        todo, seen = [x], set[int]()
        while todo and len(seen) < _MOST_SEARCHED:
            y = todo.pop()
            if self.is_own(y):
                return True
            if id(y) in seen or isinstance(y, (Tensor, type, types.ModuleType, types.CodeType, types.FrameType)):
                continue
            seen.add(id(y))
            todo += _references(y) if isinstance(y, types.FunctionType) else gc.get_referents(y)
            todo += [z for z in _globals(y).values() if self.is_own(z)]
        return False

    def needs_copy(self, x: Any) -> bool:
        """Whether what a function holds must be another object in its copy."""
        return (self.copies_containers and isinstance(x, _CONTAINERS)) or self.concerns(x)


def _own(model: nn.Module) -> set[int]:
    own = {id(model)}
    for module in model.modules():
        own.update((id(module), *(id(t) for t in _held(module)), *map(id, _registers(vars(module)))))
    return own


def _held(module: nn.Module) -> list[Tensor]:
    """Parameters, buffers and plain tensors of one module."""
    tensors = [*module._parameters.values(), *module._buffers.values(), *vars(module).values()]
    return [t for t in tensors if isinstance(t, Tensor)]


def _registers(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [attributes[name] for name in REGISTERS if isinstance(attributes.get(name), dict)]


def _refill(container: Any, before: Any) -> None:
    if isinstance(container, dict):
        if container.keys() != before.keys() or any(container[key] is not x for key, x in before.items()):
            container.clear()
            container.update(before)
    elif len(container) != len(before) or any(x is not y for x, y in zip(container, before, strict=True)):
        container[:] = before


def _tie(model: nn.Module) -> None:
    """Parameters that lie in the same memory become one object, so that they are followed as one."""
    known: dict[Any, Tensor] = {}
    for module in model.modules():
        for register in (module._parameters, module._buffers):
            for name, tensor in list(register.items()):
                if tensor is not None and (place := place_of(tensor)) is not None:
                    first = known.setdefault((place, type(tensor)), tensor)
                    if first is not tensor:
                        setattr(module, name, first)


# ---------------------------------------------------------------------- the rules
@contextmanager
def _rules() -> Iterator[None]:
    """Deep copies with a `_Memo` follow the rules of this file while the context lasts."""
    rules: dict[type, Callable[[Any, Any], Any]] = {
        Tensor: _tensor,
        nn.Parameter: _parameter,
        types.FunctionType: _function,
        types.MethodType: _method,
        weakref.ref: _reference,
    }
    before = {kind: _DISPATCH[kind] for kind in rules if kind in _DISPATCH}
    _DISPATCH.update(rules)
    try:
        yield
    finally:
        for kind in rules:
            if kind in before:
                _DISPATCH[kind] = before[kind]
            else:
                del _DISPATCH[kind]


def _refused(error: BaseException) -> Any:
    """The object whose copy has failed: the argument of the innermost call of `deepcopy`."""
    refused, traceback = None, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code is _CODE:
            refused = traceback.tb_frame.f_locals["x"]
        traceback = traceback.tb_next
    return refused


def _tensor(x: Tensor, memo: dict[int, Any]) -> Tensor:
    if not isinstance(memo, _Memo) or x.is_leaf:
        return x.__deepcopy__(memo)
    new = _values(x, memo)
    new.__dict__.update(copy.deepcopy(x.__dict__, memo))
    return new


def _parameter(x: nn.Parameter, memo: dict[int, Any]) -> nn.Parameter:
    if not isinstance(memo, _Memo):
        return x.__deepcopy__(memo)
    new = nn.Parameter(_values(x, memo), x.requires_grad)
    new.__dict__.update(copy.deepcopy(x.__dict__, memo))
    return new


def _values(x: Tensor, memo: dict[int, Any]) -> Tensor:
    """A detached copy; tensors that share a storage share one again."""
    x = x.detach()
    if place_of(x) is None or x.is_conj() or x.is_neg() or x.is_quantized:
        return x.clone()
    storage = copy.deepcopy(x.untyped_storage(), memo)
    empty = torch.empty(0, dtype=x.dtype, device=x.device)
    with torch.no_grad():
        return empty.set_(storage, x.storage_offset(), x.shape, x.stride())


def _function(f: types.FunctionType, memo: dict[int, Any]) -> types.FunctionType:
    """A function that holds a part of the model, bound to the copy; others are constants."""
    if not isinstance(memo, _Memo):
        return f
    names = {name: x for name, x in _globals(f).items() if memo.is_own(x)}
    if not names and not any(memo.needs_copy(x) for x in _references(f)):
        return f
    cells = tuple(memo.setdefault(id(cell), types.CellType()) for cell in f.__closure__ or ())
    scope = f.__globals__ | {name: copy.deepcopy(x, memo) for name, x in names.items()} if names else f.__globals__
    new = types.FunctionType(f.__code__, scope, f.__name__, f.__defaults__, cells)
    memo[id(f)] = new
    for old, cell in zip(f.__closure__ or (), cells, strict=True):
        if _is_filled(old) and not _is_filled(cell):
            cell.cell_contents = _moved(old.cell_contents, memo)
    new.__defaults__ = _moved(f.__defaults__, memo)
    new.__kwdefaults__ = _moved(f.__kwdefaults__, memo)
    new.__qualname__, new.__module__, new.__doc__ = f.__qualname__, f.__module__, f.__doc__
    new.__dict__.update({name: _moved(x, memo) for name, x in f.__dict__.items()})
    return new


def _method(f: types.MethodType, memo: dict[int, Any]) -> types.MethodType:
    if isinstance(memo, _Memo) and not memo.concerns(f.__self__) and not memo.copies_containers:
        return f
    return type(f)(f.__func__, copy.deepcopy(f.__self__, memo))


def _reference(x: weakref.ref[Any], memo: dict[int, Any]) -> weakref.ref[Any]:
    if not isinstance(memo, _Memo) or not memo.is_own(x()):
        return x
    return weakref.ref(copy.deepcopy(x(), memo))


def _moved(x: Any, memo: _Memo) -> Any:
    return copy.deepcopy(x, memo) if memo.needs_copy(x) else x


def _references(f: types.FunctionType) -> list[Any]:
    """What a function holds, apart from its globals."""
    cells = [cell.cell_contents for cell in f.__closure__ or () if _is_filled(cell)]
    return [*cells, f.__defaults__, f.__kwdefaults__, f.__dict__]


def _globals(f: Any) -> dict[str, Any]:
    """The globals that a function reads."""
    if not isinstance(f, types.FunctionType):
        return {}
    return {name: f.__globals__[name] for name in f.__code__.co_names if name in f.__globals__}


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
