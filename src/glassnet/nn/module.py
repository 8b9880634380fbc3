"""The base class of layers: parameters, buffers, a forward and a backward pass.

The names and the order of keys are torch.nn.Module's, so that a state dict fits either engine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.errors import ConfigError, GlassnetError, examples
from glassnet.nn.checks import check_gradient_shape
from glassnet.nn.functional import Saved
from glassnet.nn.kernels import Kernels

Array = NDArray[Any]
Shape = tuple[int, ...]


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

    ``forward(x)`` saves what ``backward(dy)`` needs, in training mode only. ``backward`` returns dx, the gradient with
    respect to x, and fills the ``grad`` of each parameter. Both return fresh arrays and overwrite nothing that they
    were given. Arrays are (N, C, H, W) or (N, features), of one float dtype; dy has the shape of y, or ``backward``
    raises a ShapeError.

    A layer computes by the functions of ``kernels``: a ``Kernels`` of its own, the network's, or the module
    ``glassnet.nn.functional``, which has the same functions in plain NumPy.
    """

    buffer_names: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.training = True
        self.kernels = Kernels()
        self._saved: Saved | None = None
        self._output_shape: tuple[int, ...] = ()

    def forward(self, x: Array) -> Array:
        """Return the output y of x; a layer overrides it."""
        raise NotImplementedError(f"{type(self).__name__} has no forward pass.")

    def backward(self, dy: Array) -> Array:
        """Return dx, and fill the parameters' ``grad``; a layer overrides it."""
        raise NotImplementedError(f"{type(self).__name__} has no backward pass.")

    def backward_params(self, dy: Array) -> None:
        """Run ``backward`` without returning dx, which is not needed for the first layer; Conv2d skips computing it."""
        self.backward(dy)

    def __call__(self, x: Array) -> Array:
        return self.forward(x)

    def save_for_backward(self, saved: Saved, output_shape: tuple[int, ...]) -> None:
        """Save what the backward pass needs; in evaluation mode nothing, since no backward pass follows."""
        self._saved = saved if self.training else None
        self._output_shape = output_shape

    def pop_saved(self, dy: Array | None = None) -> Saved:
        """Return what the forward pass saved, and forget it, so that its memory is free when the backward pass ends.

        :param dy: the gradient, whose shape must be that of the output.
        :raises GlassnetError: if there was no forward pass in training mode since the last backward pass.
        :raises ShapeError: if dy has another shape.
        """
        if self._saved is None:
            raise GlassnetError(f"{type(self).__name__}.backward needs a forward pass in training mode just before it.")
        if dy is not None:
            check_gradient_shape(type(self).__name__, dy, self._output_shape)
        saved, self._saved = self._saved, None
        return saved

    def activation_pattern(self) -> list[Array]:
        """Return the discrete choices of the last forward pass: ReLU's mask (bool), max-pooling's winners (integers).

        Where they change, the loss has a kink. By default, these are the boolean and integer arrays in ``saved``.
        """
        return [value for value in self._saved or () if isinstance(value, np.ndarray) and value.dtype.kind in "bi"]

    def reset_parameters(self, rng: np.random.Generator) -> None:
        """Draw this layer's initial weights, in float64, and cast them; a layer without weights draws none."""

    # The tree of modules. Attributes are listed in the order in which they were first set, as torch's are.

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the layers that are public attributes, with their names."""
        return (
            (name, value)
            for name, value in vars(self).items()
            if isinstance(value, Module) and not name.startswith("_")
        )

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, with dotted names, parents first."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, parents first."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield all parameters with their dotted names, in torch's order."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield f"{prefix}.{name}" if prefix else name, value

    def parameters(self) -> Iterator[Parameter]:
        """Yield all parameters, in torch's order."""
        return (parameter for _, parameter in self.named_parameters())

    def named_arrays(self) -> Iterator[tuple[str, Array]]:
        """Yield every parameter and buffer under its key, the arrays themselves, in torch's order."""
        for prefix, module in self.named_modules():
            dot = f"{prefix}." if prefix else ""
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield dot + name, value.data
            for name in module.buffer_names:
                yield dot + name, getattr(module, name)

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers, of their shape and dtype, under torch's keys."""
        return {key: np.array(array, order="C") for key, array in self.named_arrays()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Copy ``state`` into the parameters and buffers, cast to their dtype.

        ``state`` must have exactly the keys of this module, but ``num_batches_tracked`` may be missing: files older
        than torch 0.4.1 lack it. Nothing changes when an error is raised.

        :raises GlassnetError: if keys are missing, unexpected or wrongly shaped, or a value is not an array of real
            numbers.
        """
        arrays = dict(self.named_arrays())
        expected = {key: (array.shape, array.dtype) for key, array in arrays.items()}
        for key, array in match_state_dict(expected, state).items():
            arrays[key][...] = array

    def train(self, mode: bool = True) -> Self:
        """Switch all layers to training mode, or to evaluation mode if ``mode`` is False, and return the module."""
        for module in self.modules():
            module.training = mode
            module._saved = None
        return self

    def eval(self) -> Self:
        """Switch all layers to evaluation mode, and return the module."""
        return self.train(False)

    def use_kernels(self, kernels: Kernels) -> Self:
        """Compute by these functions from now on, in all layers, and return the module."""
        for module in self.modules():
            module.kernels = kernels
        return self

    def to(self, dtype: DTypeLike) -> Self:
        """Cast all parameters, their gradients and the float buffers, in place, and return the module."""
        for module in self.modules():
            for value in vars(module).values():
                if isinstance(value, Parameter):
                    value.data, value.grad = value.data.astype(dtype), value.grad.astype(dtype)
            for name in module.buffer_names:
                buffer = getattr(module, name)
                if np.issubdtype(buffer.dtype, np.floating):
                    setattr(module, name, buffer.astype(dtype))
        return self

    def extra_repr(self) -> str:
        """Return the arguments of the layer as ``repr`` shows them, in torch's words."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        inside = "\n  ".join(["", *children]) + "\n" if children else self.extra_repr()
        return f"{type(self).__name__}({inside})"


def match_state_dict(expected: Mapping[str, tuple[Shape, np.dtype[Any]]], state: Mapping[str, Any]) -> dict[str, Array]:
    """Return the arrays of ``state``, cast, for a network whose parameters and buffers have these shapes and dtypes.

    ``num_batches_tracked`` may be missing. Floats may be NaN or infinite, or become infinite in the cast.

    :raises ConfigError: if ``state`` is not a mapping.
    :raises GlassnetError: if keys are missing, unexpected or wrongly shaped, or a value is not an array of real
        numbers.
    """
    if not isinstance(state, Mapping):
        raise ConfigError(f"state must be a mapping from keys to arrays. Got {type(state).__name__}.")
    arrays = {key: _as_real(key, state[key]) for key in expected if key in state}
    received = {key: arrays[key].shape if key in arrays else () for key in state}
    if faults := state_dict_faults({key: shape for key, (shape, _) in expected.items()}, received):
        raise GlassnetError(f"state must fit this network. Got {faults}.")
    return {key: _cast(key, array, expected[key][1]) for key, array in arrays.items()}


def state_dict_faults(expected: Mapping[str, Shape], received: Mapping[str, Shape]) -> str:
    """Return how many keys are missing, unexpected and wrongly shaped, with examples, or an empty text for none.

    ``num_batches_tracked`` may be missing.
    """
    faults = {
        "missing": [key for key in expected if key not in received and not key.endswith("num_batches_tracked")],
        "unexpected": [str(key) for key in received if key not in expected],
        "wrongly shaped": [
            f"{key} {received[key]} instead of {shape}"
            for key, shape in expected.items()
            if key in received and received[key] != shape
        ],
    }
    return "; ".join(f"{len(keys)} {kind}{examples(keys)}" for kind, keys in faults.items() if keys)


def _as_real(key: str, value: Any) -> Array:
    try:
        # A torch parameter gives its numbers once it is detached from its gradient.
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors that NumPy cannot see
        reason = str(error).partition("\n")[0]
        raise GlassnetError(f"{key} of the state must be an array. Got {type(value).__name__}: {reason}") from None
    if array.dtype.kind not in "biuf":
        raise GlassnetError(f"{key} of the state must hold real numbers. Got an array of {array.dtype}.")
    return array


def _cast(key: str, array: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype, copy=False)
    if dtype.kind == "i" and not np.array_equal(cast, array):
        raise GlassnetError(f"{key} of the state must hold whole numbers that fit {dtype}. Got {array}.")
    return cast


Hook = Callable[[str, Array, Array], None]


@contextmanager
def module_hooks(
    network: Module, names: Collection[str], *, forward: Hook | None = None, backward: Hook | None = None
) -> Iterator[None]:
    """Call hooks with the input and output of each named module, forward and backward, while the context lasts.

    ``forward`` gets the module's dotted name, x and y; ``backward`` its name, dy and dx. These are the arrays
    themselves, to be copied by a hook that stores one. A module without hooks runs the same code as always, since
    hooks wrap single instances.
    """
    modules = {name: module for name, module in network.named_modules() if name in names}
    wrapped = ("forward", "backward", "backward_params")
    outer_hooks = [{key: vars(module)[key] for key in wrapped if key in vars(module)} for module in modules.values()]

    def wrap(name: str, module: Module) -> None:
        plain_forward, plain_backward = module.forward, module.backward

        def forward_with_hook(x: Array) -> Array:
            y = plain_forward(x)
            if forward:
                forward(name, x, y)
            return y

        def backward_with_hook(dy: Array) -> Array:
            dx = plain_backward(dy)
            if backward:
                backward(name, dy, dx)
            return dx

        vars(module).update(zip(wrapped, (forward_with_hook, backward_with_hook, backward_with_hook), strict=True))

    for name, module in modules.items():
        wrap(name, module)
    try:
        yield
    finally:
        for module, outer in zip(modules.values(), outer_hooks, strict=True):
            for key in wrapped:
                del vars(module)[key]
            vars(module).update(outer)
