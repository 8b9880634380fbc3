"""The causes that the checker knows: what others get wrong, tried on the reference's own numbers."""

from glassnet.verify.golden.causes.activation import ALTERNATIVES as ACTIVATION
from glassnet.verify.golden.causes.alternative import AnyAlternative
from glassnet.verify.golden.causes.arithmetic import ALTERNATIVES as ARITHMETIC
from glassnet.verify.golden.causes.convolution import ALTERNATIVES as CONVOLUTION
from glassnet.verify.golden.causes.head_and_loss import ALTERNATIVES as HEAD_AND_LOSS
from glassnet.verify.golden.causes.inputs import ALTERNATIVES as INPUTS
from glassnet.verify.golden.causes.inputs import FITTED
from glassnet.verify.golden.causes.layout import ALTERNATIVES as LAYOUT
from glassnet.verify.golden.causes.linear import ALTERNATIVES as LINEAR
from glassnet.verify.golden.causes.normalization import ALTERNATIVES as NORMALIZATION
from glassnet.verify.golden.causes.pooling import ALTERNATIVES as POOLING
from glassnet.verify.golden.causes.residual import ALTERNATIVES as RESIDUAL
from glassnet.verify.golden.causes.running_statistics import ALTERNATIVES as RUNNING_STATISTICS

# Of causes that explain as much, the first is named: exact and common ones first, those that are solved for last.
ALTERNATIVES: tuple[AnyAlternative, ...] = (
    *LAYOUT,
    *INPUTS,
    *CONVOLUTION,
    *LINEAR,
    *RUNNING_STATISTICS,
    *NORMALIZATION,
    *ACTIVATION,
    *POOLING,
    *HEAD_AND_LOSS,
    *RESIDUAL,
    *ARITHMETIC,
    *FITTED,
)
UNKNOWN = "unknown"

# What each key means, as the checker says it after "likely cause: KEY, ".
KEYS: dict[str, str] = {
    "NHWC": "the port has images in the order N, H, W, C; the reference in N, C, H, W",
    "flatten order": "the port flattens features in another order than C, H, W, or reads the last layer's weights so",
    "HWIO": "the port has the axes of a kernel, or its memory, in another order than O, I, H, W, such as H, W, I, O",
    "transposed linear": "the port has the matrix of the linear layer as (in, out); the reference as (out, in)",
    "flipped kernel": "the kernel is rotated by 180°, as in a true convolution; deep learning correlates",
    "padding side": "the port's windows start at another pixel of the border, as with TensorFlow's padding of strided"
    " windows, which adds more at the bottom and right; the reference adds as much on all sides",
    "stride phase": "the port's strided windows start at another pixel than the first",
    "no padding": "the port does not pad the image with zeros before the windows slide over it",
    "padding mode": "the port's border repeats or mirrors the image; the reference pads with zeros",
    "stride ignored": "the port's windows slide with another stride",
    "dilation": "the pixels of the port's windows have another distance",
    "channel order": "the port has channels in another order",
    "groups": "each output channel of the port reads a part of the input channels; the reference reads all",
    "cropped gradient": "the port's gradient of the input is 0 at the border, as if the windows there were left out",
    "missing bias": "the port does not add the bias",
    "bias twice": "the port adds the bias twice",
    "missing bias gradient": "the port leaves the gradient of the bias at 0; it is the sum of the output's gradient",
    "some images only": "the port's gradient of the parameters lacks some images of the batch; the sum is over all",
    "mean over the batch": "the port divides the parameters' gradient by the number of images; the loss did so already",
    "accumulated gradients": "the port adds the parameters' gradients to those of an earlier pass; they start from 0",
    "eps outside": "the port divides by σ + eps; the reference by √(σ² + eps)",
    "eps value": "the port's BatchNorm adds another eps to the variance than the manifest's",
    "no eps": "the port's BatchNorm adds no eps to the variance, or one too small to be seen",
    "biased variance": "the port's running_var takes the variance Σ(x − μ)²/M; the reference's takes Σ(x − μ)²/(M − 1)",
    "unbiased variance": "the port normalizes by Σ(x − μ)²/(M − 1); the reference by Σ(x − μ)²/M",
    "momentum convention": (
        "the port's running statistics keep momentum·old + (1 − momentum)·new; the reference's keep (1 − "
        "momentum)·old + momentum·new"
    ),
    "momentum value": (
        "the port's running statistics take another fraction of the new ones than the manifest's momentum"
    ),
    "running statistics not updated": "the port's running statistics are those of before the pass in training mode",
    "training mode": (
        "the port computes as in training: by the batch's statistics, or with dropout; this pass is one in "
        "evaluation mode"
    ),
    "evaluation mode": (
        "the port computes as in evaluation: by running statistics, or without dropout; this pass is one in "
        "training mode"
    ),
    "statistics over other axes": (
        "the port's mean and variance are not those of a channel over batch, height and width: they are those of "
        "each image, of each pixel or of each feature"
    ),
    "missing BatchNorm": "the port leaves this BatchNorm out",
    "missing gamma": "the port does not multiply by the scale γ",
    "missing beta": "the port does not add the shift β",
    "swapped gamma and beta": "the port has taken scale and shift for each other",
    "one plus gamma": "the port multiplies by 1 + γ; the reference by γ",
    "missing mean terms": (
        "the port's gradient takes the batch's mean, its variance or both for constants; the reference's "
        "subtracts dβ/M and x̂·dγ/M"
    ),
    "sums for means": (
        "the port's gradient subtracts the sum dβ, x̂·dγ or both; the reference's subtracts the means dβ/M and x̂·dγ/M"
    ),
    "unnormalized dgamma": "the port's dγ is Σ dy·x; the reference's is Σ dy·x̂, of the normalized input",
    "averaged dgamma": "the port divides dγ and dβ by the number of values; the reference sums",
    "missing ReLU": "the port leaves this ReLU out",
    "leaky ReLU": "the port's ReLU lets a part of negative inputs pass; the reference's is max(x, 0)",
    "ReLU6": "the port's ReLU ends at 6; the reference's has no upper end",
    "in-place ReLU": (
        "the port's tensor equals the ReLU of what is expected: a ReLU in place has overwritten it; dump a copy "
        "from before the ReLU"
    ),
    "missing ReLU mask": (
        "the port hands the output's gradient on unchanged; it is 0 where the ReLU's input was not above 0"
    ),
    "ReLU mask of output gradient": (
        "the port's gradient is 0 where the output's gradient is negative; it must be where the ReLU's input was"
    ),
    "dropout not scaled": (
        "the port does not divide by 1 − p in training (it may scale in evaluation); the reference does"
    ),
    "dropout scaled by p": "the port divides by p what it keeps; the reference by 1 − p",
    "dropout mask": "the port drops other values than the bundle's mask",
    "missing dropout mask": "the port hands back the gradient of values that were dropped",
    "average instead of maximum": "the port takes the mean of each window; the reference its maximum",
    "maximum instead of average": "the port takes the maximum; the reference the mean",
    "sum instead of mean": "the port does not divide by the number of pixels",
    "ceil mode": "the port rounds the number of windows up; the reference rounds it down",
    "maximum padded with zeros": "the port's border counts as 0; the reference's as −∞",
    "padding counted": "the port's mean counts pixels of the padding; the reference's does not",
    "padding not counted": (
        "the port's mean leaves pixels of the padding out; the reference's counts them, as torch does"
    ),
    "pooling gradient to all ties": (
        "the port hands the gradient to every pixel that is the maximum; in all, they must get it once"
    ),
    "pooling gradient spread": "the port hands the gradient to all pixels of the window; the maximum alone must get it",
    "pooling gradient overwritten": (
        "the port's gradient of a pixel is that of the last window only; overlapping windows add up"
    ),
    "softmax twice": "the port's cross-entropy reads probabilities; it must read logits, for it has a softmax itself",
    "summed loss": "the port's loss is the sum over the images; the reference's is the mean",
    "missing mean": "the port does not divide the gradient of the logits by the number of images",
    "missing target": "the port's gradient of the logits is the softmax alone; the targets must be subtracted",
    "label smoothing": (
        "the port leaves label smoothing out, adds it, or shares ε among K − 1 classes; the reference shares it "
        "among all K"
    ),
    "one-hot off by one": "the port takes each label for the class after or before it",
    "class weights": (
        "the port leaves the class weights out, or divides by the number of images; the reference divides by the "
        "sum of the labels' weights"
    ),
    "mean over classes": "the port divides by the number of classes too; the reference by that of images only",
    "logarithm base": "the port's logarithm is not the natural one",
    "missing log-softmax": "the port's loss is that of raw logits; the logarithm of their softmax is missing",
    "missing logarithm": "the port's loss is that of probabilities; their logarithm is missing",
    "missing shortcut": "the port does not add the shortcut",
    "missing body": "the port adds nothing to the shortcut",
    "ReLU before addition": "the port rectifies before the sum; the reference after it",
    "scaled sum": "the port scales the sum of shortcut and body",
    "missing shortcut gradient": (
        "the port hands no gradient back through the shortcut; the gradients of both paths add up"
    ),
    "missing body gradient": "the port hands no gradient back through the body; the gradients of both paths add up",
    "zero-pad side": "the port has all of the shortcut's new channels on one side; the reference has half on each",
    "subsampling phase": "the port's shortcut starts at another pixel than the first",
    "average instead of subsampling": "the port's shortcut averages pixels; the reference takes every stride-th",
    "maximum instead of subsampling": "the port's shortcut takes maxima of pixels; the reference takes every stride-th",
    "wrong tensor": "the port reads another tensor than this operation's input",
    "not normalized": "the port's first layer reads pixels that are not normalized by the manifest's mean and std",
    "scaled twice": "the port scales or normalizes the pixels twice",
    "mean and std": "the port normalizes the pixels by another mean and std than the manifest's",
    "BGR": "the port reads the channels of images as blue, green, red; the reference as red, green, blue",
    "turned images": "the port's images are mirrored, upside down, or have height and width exchanged",
    "other inputs": "the port's first layer reads other images than the bundle's",
    "other weights": "the port has other weights: of another seed, of another layer, or before or after an update",
    "other labels": "the port's loss is that of other labels, such as labels that are off by one",
    "bfloat16 arithmetic": "the port rounds to bfloat16, of 8 bits of mantissa",
    "float16 arithmetic": "the port rounds to float16, of 11 bits of mantissa",
    "TF32 arithmetic": "the port multiplies in TensorFloat-32, of 11 bits of mantissa",
    "float32 arithmetic": "the port rounds to float32; its file, or the request, is float64",
    "no decay": "the port leaves weight decay out",
    "decay on BatchNorm": "the port decays BatchNorm's parameters; this recipe decays kernels and matrices only",
    "decay on biases": "the port decays biases; this recipe decays kernels and matrices only",
    "decay on nothing but weights": (
        "the port leaves biases, BatchNorm's parameters or both out of the decay; this recipe decays all"
    ),
    "coupled decay": "the port adds decay·w to the gradient, as Adam; AdamW decays w by itself",
    "decoupled decay": "the port decays w by itself, as AdamW; here decay·w is added to the gradient",
    "decay before clipping": "the port clips the gradient with decay·w in it; the reference clips first, then decays",
    "decay value": (
        "the port's decay has another size: twice or half the recipe's, or, in AdamW, without the learning rate"
    ),
    "Nesterov form": (
        "the port moves w otherwise: the reference by g + μ·v of the new v with Nesterov's momentum, by v without"
    ),
    "dampening": "the port adds (1 − μ)·g to the momentum buffer; the reference adds g",
    "learning rate in momentum": (
        "the port's momentum buffer has the learning rate in it, v = μ·v + lr·g; the reference's has not, and w − lr·v "
        "follows each change of the rate at once"
    ),
    "no momentum": "the port leaves momentum out",
    "SGD momentum": "the port's SGD takes another momentum than the manifest's",
    "no bias correction": "the port does not divide m by 1 − β₁ᵗ, or v by 1 − β₂ᵗ, or both",
    "eps inside": "the port's Adam divides by √(v + eps); the reference by √v + eps",
    "eps before bias correction": (
        "the port's Adam adds eps to √v before the bias correction, as TensorFlow; the reference after it"
    ),
    "Adam's eps": "the port's Adam has another eps than 1e-8",
    "late schedule": (
        "the port takes the learning rate of the step before; with two steps a constant rate looks the same: "
        "write the reference with --steps 3 to tell them apart"
    ),
    "early schedule": "the port takes the learning rate of the step after",
    "constant rate": "the port's learning rate stays as it is; the recipe's schedule changes it",
    "no body_lr": "the port has one learning rate for all layers; the recipe's body_lr is for those before the head",
    "no clipping": "the port does not clip the gradient",
    "clipping by parameter": "the port clips the gradient of each parameter by itself; the reference that of all",
    "clipping by value": "the port clips each number of the gradient; the reference scales the gradient as a whole",
    "clipping without eps": "the port scales by limit/norm; the reference, as torch, by limit/(norm + 1e-6)",
    "average decay": "the port's averages have the recipe's decay at once; here it is lower at first, (1 + k)/(10 + k)",
    UNKNOWN: "none of the causes that the checker tries explains these numbers",
}
