"""The two classes that connect layers: one after another, or beside a shortcut."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from glassnet.errors import ConfigError, ShapeError
from glassnet.nn.module import Module

Array = NDArray[Any]


def _call(parent: Module, name: str, x: Array) -> Array:
    child: Module = getattr(parent, name)
    try:
        return child(x)
    except ShapeError as error:
        raise error.with_prefix(name) from None


class Sequential(Module):
    """Layers one after another, from a dict of named layers, or from layers, which are then named 0, 1, ...::

    y = f_n(… f_2(f_1(x)))        dx = f_1'(f_2'(… f_n'(dy)))

    :raises ConfigError: if an argument is no layer, or a name is not allowed.
    """

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        named = layers[0] if len(layers) == 1 and isinstance(layers[0], dict) else dict(enumerate(layers))
        for name, layer in named.items():
            if not isinstance(layer, Module):
                got = f"{type(layer).__name__} as {name!r}"
                raise ConfigError(f"arguments of Sequential must be layers, or one dict of layers. Got {got}.")
            if not (name := str(name)) or name.startswith("_") or "." in name or hasattr(self, name):
                rule = "be empty, begin with _, have a dot in it, or be an attribute of every layer, as forward is"
                raise ConfigError(f"name of a layer in Sequential must not {rule}. Got {name!r}.")
            setattr(self, name, layer)

    def forward(self, x: Array) -> Array:
        for name, _ in self.named_children():
            x = _call(self, name, x)
        return x

    def backward(self, dy: Array) -> Array:
        for _, child in reversed(list(self.named_children())):
            dy = child.backward(dy)
        return dy

    def backward_params(self, dy: Array) -> None:
        first, *later = (child for _, child in self.named_children())
        for child in reversed(later):
            dy = child.backward(dy)
        first.backward_params(dy)


class Residual(Module):
    """A residual block (He et al. 2015, eq. 1 and 2), from a body F, a shortcut S and an activation a::

        y = a(S(x) + F(x))        g = a'(dy)        dx = S'(g) + F'(g)

    f' is the backward pass of f. With the identity as shortcut dx = g + F'(g): g reaches x unchanged, whatever F adds.
    The layers of ``body`` become children of the block itself. The shortcut follows, named ``downsample`` if it has
    parameters and ``shortcut`` if not, and then the activation, named ``relu``. Without a shortcut this is the plain
    block y = a(F(x)) with the same keys; without an activation y is the sum (He et al. 2016).

    :raises ConfigError: if a layer of the body has the name of the shortcut or the activation.
    :raises ShapeError: if F(x) and S(x) have different shapes.
    """

    def __init__(self, body: Sequential, shortcut: Module | None, activation: Module | None) -> None:
        super().__init__()
        self._body = [name for name, _ in body.named_children()]
        self._shortcut = "downsample" if shortcut is not None and any(shortcut.parameters()) else "shortcut"
        ends = [(self._shortcut, shortcut), ("relu", activation)]
        taken = [name for name, _ in ends if name in self._body]
        if taken:
            raise ConfigError(f"names in body of Residual must not be {[name for name, _ in ends]}. Got {taken}.")
        for name, layer in [*body.named_children(), *ends]:
            if layer is not None:
                setattr(self, name, layer)

    def forward(self, x: Array) -> Array:
        y = x
        for name in self._body:
            y = _call(self, name, y)
        if hasattr(self, self._shortcut):
            shortcut_output = _call(self, self._shortcut, x)
            if shortcut_output.shape != y.shape:
                given = f"{y.shape} and {shortcut_output.shape}"
                raise ShapeError(f"body and shortcut of Residual must give the same shape. Got {given}.")
            y = self.kernels.add(shortcut_output, y)
        return _call(self, "relu", y) if hasattr(self, "relu") else y

    def backward(self, dy: Array) -> Array:
        children = dict(self.named_children())
        g = children["relu"].backward(dy) if "relu" in children else dy
        dx = g
        for name in reversed(self._body):
            dx = children[name].backward(dx)
        if self._shortcut not in children:
            return dx
        return self.kernels.add(children[self._shortcut].backward(g), dx)
