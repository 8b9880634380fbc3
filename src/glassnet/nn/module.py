"""What every layer is: parameters, buffers, a forward and a backward pass.

The names and the order of keys are torch.nn.Module's, so that a state dict fits either engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.errors import ConfigError, GlassnetError
from glassnet.nn.parallel import Workers

Array = NDArray[Any]


class Parameter:
    """A trainable array ``data`` and the gradient of the loss with respect to it, ``grad``.

    Both have the same shape, dtype and memory order. ``Module.backward`` overwrites ``grad``.
    """

    __slots__ = ("data", "grad")

    def __init__(self, data: Array) -> None:
        self.data = data
        self.grad = np.zeros_like(data)

    def __repr__(self) -> str:
        return f"Parameter(shape={self.data.shape}, dtype={self.data.dtype})"


class Module:
    """A layer, or layers put together.

    ``forward(x)`` keeps what ``backward(dy)`` needs, in training mode only; ``backward`` returns dx,
    the gradient with respect to x, and fills the ``grad`` of each parameter. Both return fresh arrays
    and overwrite nothing that they were given. Arrays are (N, C, H, W) or (N, features), of one float dtype; dy has
    the shape of y, or ``backward`` raises a ShapeError.
    """

    buffer_names: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.training = True
        self.workers = Workers()
        self._kept: tuple[Any, ...] | None = None

    def forward(self, x: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} has no forward pass.")

    def backward(self, dy: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} has no backward pass.")

    def backward_parameters(self, dy: Array) -> None:
        """``backward`` where nobody needs dx, as at the first layer in training; some layers save its cost."""
        self.backward(dy)

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def keep(self, *values: Any) -> None:
        """Keep what the backward pass needs; in evaluation mode there will be none."""
        self._kept = values if self.training else None

    def kept(self) -> tuple[Any, ...]:
        """Hand out what forward kept, once: the memory is free again when backward ends."""
        if self._kept is None:
            raise GlassnetError(f"{type(self).__name__}.backward needs a forward pass in training mode just before it.")
        values, self._kept = self._kept, None
        return values

    def decisions(self) -> list[Array]:
        """The choices of the forward pass just made, as ReLU's mask or the places of a pool's maxima.

        Where they change, the gradient has a kink or a jump. Unless a layer says otherwise, what it kept and is no
        float.
        """
        return [value for value in self._kept or () if isinstance(value, np.ndarray) and value.dtype.kind in "bi"]

    def reset_parameters(self, rng: np.random.Generator) -> None:
        """Draw this layer's initial weights, in float64, and cast them. Layers without weights draw nothing."""

    # The tree of modules. Attributes are listed in the order in which they were first set, as torch's are.

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The layers set as public attributes; a private name is a second reference to one of them."""
        return (
            (name, value)
            for name, value in vars(self).items()
            if isinstance(value, Module) and not name.startswith("_")
        )

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names, parents first."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield f"{prefix}.{name}" if prefix else name, value

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def _state(self) -> Iterator[tuple[str, Array]]:
        """Every parameter and buffer under its key, the arrays themselves, in torch's order."""
        for prefix, module in self.named_modules():
            dot = f"{prefix}." if prefix else ""
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield dot + name, value.data
            for name in module.buffer_names:
                yield dot + name, getattr(module, name)

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers under torch's keys."""
        return {key: np.array(array, order="C") for key, array in self._state()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy ``state`` into the parameters and buffers, cast to their dtype.

        Every key must be there with the right shape and no other may be; ``num_batches_tracked`` may be
        missing, as files older than torch 0.4.1 lack it. Nothing changes when an error is raised.

        :raises GlassnetError: lists missing, unexpected and wrongly shaped keys; or names a key without real numbers.
        """
        own = dict(self._state())
        for key, array in fitting({key: (array.shape, array.dtype) for key, array in own.items()}, state).items():
            own[key][...] = array

    def train(self, mode: bool = True) -> Self:
        for module in self.modules():
            module.training = mode
            module._kept = None
        return self

    def eval(self) -> Self:
        return self.train(False)

    def to(self, dtype: DTypeLike) -> Self:
        """Cast all parameters, their gradients and the float buffers, in place."""
        for module in self.modules():
            for value in vars(module).values():
                if isinstance(value, Parameter):
                    value.data, value.grad = value.data.astype(dtype), value.grad.astype(dtype)
            for name in module.buffer_names:
                buffer = getattr(module, name)
                if np.issubdtype(buffer.dtype, np.floating):
                    setattr(module, name, buffer.astype(dtype))
        return self


def fitting(own: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], state: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays of ``state``, cast, for a network whose parameters and buffers have these shapes and dtypes.

    ``num_batches_tracked`` may be missing. Floats may be NaN or infinite, or become infinite in the cast.

    :raises GlassnetError: lists missing, unexpected and wrongly shaped keys; or names a key without real numbers.
    """
    if not isinstance(state, Mapping):
        raise ConfigError(f"A state is a mapping from keys to arrays. Got {type(state).__name__}.")
    arrays = {key: _real(key, state[key]) for key in own if key in state}
    faults = {
        "missing": [key for key in own if key not in state and not key.endswith("num_batches_tracked")],
        "unexpected": [str(key) for key in state if key not in own],
        "wrongly shaped": [
            f"{key} {array.shape} instead of {own[key][0]}"
            for key, array in arrays.items()
            if array.shape != own[key][0]
        ],
    }
    if any(faults.values()):
        told = "; ".join(f"{kind}: {', '.join(keys)}" for kind, keys in faults.items() if keys)
        raise GlassnetError(f"The state does not fit this network. {told}")
    return {key: _cast(key, array, own[key][1]) for key, array in arrays.items()}


def _real(key: str, value: Any) -> Array:
    try:
        # torch lends a parameter's numbers once it is detached from its gradient.
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors that NumPy cannot see
        reason = str(error).partition("\n")[0]
        raise GlassnetError(f"{key} of the state is no array: {reason}") from None
    if array.dtype.kind not in "biuf":
        raise GlassnetError(f"{key} of the state must hold real numbers. Got an array of {array.dtype}.")
    return array


def _cast(key: str, array: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype, copy=False)
    if dtype.kind == "i" and not np.array_equal(cast, array):
        raise GlassnetError(f"{key} of the state must hold whole numbers that fit {dtype}. Got {array}.")
    return cast


Observer = Callable[[str, Array, Array], None]


@contextmanager
def observed(
    network: Module, names: list[str], *, forward: Observer | None = None, backward: Observer | None = None
) -> Iterator[None]:
    """While the context lasts, show what goes into each named module and what comes out, forward and backward.

    ``forward`` gets the module's dotted name, x and y; ``backward`` its name, dy and dx. These are the arrays
    themselves: whoever keeps one takes a copy.
    A layer that nobody looks at runs the same code as always, since looking wraps single instances.
    """
    modules = {name: module for name, module in network.named_modules() if name in names}
    wrapped = ("forward", "backward", "backward_parameters")
    before: list[dict[str, Any]] = [
        {key: vars(module)[key] for key in wrapped if key in vars(module)} for module in modules.values()
    ]

    def watch(name: str, module: Module) -> None:
        plain_forward, plain_backward = module.forward, module.backward

        def shown_forward(x: Array) -> Array:
            y = plain_forward(x)
            if forward:
                forward(name, x, y)
            return y

        def shown_backward(dy: Array) -> Array:
            dx = plain_backward(dy)
            if backward:
                backward(name, dy, dx)
            return dx

        vars(module).update(zip(wrapped, (shown_forward, shown_backward, shown_backward), strict=True))

    for name, module in modules.items():
        watch(name, module)
    try:
        yield
    finally:
        for module, outer in zip(modules.values(), before, strict=True):
            for key in wrapped:
                del vars(module)[key]
            vars(module).update(outer)  # the wrappers of an observer further out
