"""The causes that the checker knows: what others get wrong, tried on the reference's own numbers."""

from glassnet.verify.golden.causes.alternative import AnyAlternative
from glassnet.verify.golden.causes.convolution import ALTERNATIVES as CONVOLUTION

ALTERNATIVES: tuple[AnyAlternative, ...] = (*CONVOLUTION,)
UNKNOWN = "unknown"

# What each key means, as the checker says it after "likely cause: KEY, ".
KEYS: dict[str, str] = {
    "flipped kernel": "the kernel is rotated by 180°, as in a true convolution; deep learning correlates",
    UNKNOWN: "none of the causes that the checker tries explains these numbers",
}
