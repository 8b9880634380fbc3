"""Classic kernels of image processing."""

from dataclasses import dataclass

Weights = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Kernel:
    """A classic kernel, and the feature of an image that it responds to."""

    name: str
    responds_to: str
    weights: Weights
    divisor: int = 1  # common denominator of the weights

    @property
    def numerators(self) -> tuple[tuple[int, ...], ...]:
        """The weights times the divisor: whole numbers."""
        return tuple(tuple(round(weight * self.divisor) for weight in row) for row in self.weights)


def _divided(numbers: Weights, divisor: int) -> Weights:
    return tuple(tuple(number / divisor for number in row) for row in numbers)


# The Sobel kernels compare one side with the other: columns 1, 0, −1 compare left with right, which differ at a
# vertical edge.
EDGE_KERNELS = (
    Kernel("Sobel x", "vertical edges", ((1, 0, -1), (2, 0, -2), (1, 0, -1))),
    Kernel("Sobel y", "horizontal edges", ((1, 2, 1), (0, 0, 0), (-1, -2, -1))),
    Kernel("Sobel 45°", "rising edges", ((2, 1, 0), (1, 0, -1), (0, -1, -2))),
    Kernel("Sobel 135°", "falling edges", ((0, 1, 2), (-1, 0, 1), (-2, -1, 0))),
)
KERNELS = (
    *EDGE_KERNELS,
    Kernel("Laplace", "spots and edges", ((0, -1, 0), (-1, 4, -1), (0, -1, 0))),
    Kernel("sharpen", "brightness, edges", ((0, -1, 0), (-1, 5, -1), (0, -1, 0))),
    Kernel("mean", "mean brightness", _divided(((1, 1, 1), (1, 1, 1), (1, 1, 1)), 9), divisor=9),
    Kernel("Gauss", "brightness nearby", _divided(((1, 2, 1), (2, 4, 2), (1, 2, 1)), 16), divisor=16),
)

ASYMMETRIC_KERNEL = ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, -1.0))  # turned or mirrored it is another kernel
