# SPDX-License-Identifier: Apache-2.0
"""Networks made ready for inference: the same outputs from fewer, larger operations in the device's fast data type.

:func:`make_fast` alone changes an inferer's network. Batch normalisations go into the kernels of the
convolutions before them, a ReLU behind a convolution is done while the result is still in the processor's cache, an
average over blocks behind a convolution of single voxels becomes one convolution with it, and weights are kept in the
fast data type, in channels-last order. On the CPU, a batch normalisation without a convolution before it becomes a
convolution of each channel by itself. Everything else of a network stays as it is.
"""

from collections.abc import Callable, Hashable
from copy import copy, deepcopy
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lungcad.cpu import channels_last, fast_dtype

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_NORMALISATIONS = (nn.BatchNorm2d, nn.BatchNorm3d)
_WEIGHTED = (*_CONVOLUTIONS, nn.Linear, nn.ConvTranspose2d, nn.ConvTranspose3d)
_READY: WeakKeyDictionary[nn.Module, dict[str, tuple[Hashable, nn.Module]]] = WeakKeyDictionary()
"""Ready networks by the network they were made of and the method, with the state of its weights."""


def make_fast(network: nn.Module, device: torch.device, precision: str = "auto", method: str = "forward") -> nn.Module:
    """Network for inference on a device, to be called in inference mode and outside of autocast.

    It takes inputs of any floating type and returns those of the data type. It is made once and kept until a weight of
    the given network changes, as in training.

    Args:
        network: network in evaluation mode. Where :mod:`torch.fx` cannot trace the whole, it changes the parts that it
            can trace.
        device: device of the network.
        precision: name of a data type, see :func:`~lungcad.cpu.fast_dtype`.
        method: method of the network that becomes the forward pass.

    Raises:
        InputError: E-CONFIG, unknown precision.
    """
    dtype = fast_dtype(device, precision)
    weights = [*network.parameters(), *network.buffers()]
    versions = [None if tensor.is_inference() else tensor._version for tensor in weights]
    state = (dtype, *zip((tensor.data_ptr() for tensor in weights), versions, strict=True))
    made = _READY.setdefault(network, {})
    if method not in made or made[method][0] != state or None in versions:
        made[method] = state, _make_fast(network, dtype, device.type == "cpu", method)
    return made[method][1]


class _MethodNetwork(nn.Module):
    """Network with another method of a network as its forward pass.

    Args:
        network: network with that method.
        method: name of the method, which takes one argument.
    """

    def __init__(self, network: nn.Module, method: str):
        super().__init__()
        self.network, self.method = network, method

    def forward(self, x: Any) -> Any:
        """Output of the method."""
        return getattr(self.network, self.method)(x)


class FusedConvolution(nn.Module):
    """Convolution with an optional ReLU, one operation where oneDNN does both at once.

    Args:
        convolution: 2D or 3D convolution.
        relu: True for a ReLU behind it.
        dtype: data type of weights and outputs.
    """

    def __init__(self, convolution: nn.Conv2d | nn.Conv3d, relu: bool, dtype: torch.dtype):
        super().__init__()
        self.relu, self.shape = relu, (convolution.stride, convolution.padding, convolution.dilation)
        self.groups = convolution.groups
        form = torch.channels_last_3d if convolution.weight.ndim == 5 else torch.channels_last
        # a copy: a weight of one input channel passes for channels last as it is, and the output has its order
        self.register_buffer("weight", convolution.weight.detach().to(dtype).clone(memory_format=form))
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.detach().to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Output (B, C, ...) of an input of any floating type, channels last."""
        x = channels_last(x.to(self.weight.dtype))  # type: ignore[arg-type]
        stride, padding, dilation = map(list, self.shape)
        if x.device.type == "cpu" and _ONE_KERNEL is not None:
            post = "relu" if self.relu else "none"
            return _ONE_KERNEL(x, self.weight, self.bias, padding, stride, dilation, self.groups, post, [], "")
        convolve: Callable[..., Tensor] = F.conv3d if x.ndim == 5 else F.conv2d
        output = convolve(x, self.weight, self.bias, stride, padding, dilation, self.groups)
        return torch.relu_(output) if self.relu else output


class Cast(nn.Module):
    """Layer whose input is brought to a data type first, and its output to another.

    Args:
        layer: the layer.
        inner, outer: data types of input and output.
    """

    def __init__(self, layer: nn.Module, inner: torch.dtype, outer: torch.dtype):
        super().__init__()
        self.layer, self.inner, self.outer = layer.to(inner), inner, outer

    def forward(self, x: Tensor) -> Tensor:
        """Output of the layer in the outer type."""
        return self.layer(x.to(self.inner)).to(self.outer)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.InstanceNorm3d) or super().is_leaf_module(module, name)


def _make_fast(network: nn.Module, dtype: torch.dtype, on_cpu: bool, method: str = "forward") -> nn.Module:
    """Copy of a network with fused layers in a data type."""
    if isinstance(network, _WEIGHTED):
        return _fast_layer(deepcopy(network), False, dtype)
    root = network if method == "forward" else _MethodNetwork(network, method)
    try:
        if len(signature(root.forward).parameters) != 1:
            raise TypeError("a tracer would leave optional arguments out for good")
        if not type(network).__module__.startswith(("torch.", "lungcad.")):
            raise TypeError("code of another library may ask for a tensor's type, which the tracer's proxy lacks")
        traced = fx.GraphModule(root, _Tracer().trace(root))
    except Exception:  # any kind: a network's own code meets the tracer's proxy for a tensor
        parts = copy(network)
        parts._modules = {name: _make_fast(part, dtype, on_cpu) for name, part in network.named_children()}
        return parts if method == "forward" else _MethodNetwork(parts, method)
    graph: Any = fuse(traced, no_trace=True)  # a copy, batch normalisations in the kernels
    modules: dict[str, nn.Module] = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        layer = modules.get(node.target) if node.op == "call_module" else None
        after = next(iter(node.users)) if len(node.users) == 1 else None
        if isinstance(layer, _NORMALISATIONS) and on_cpu and _ONE_KERNEL is not None:
            layer = _channel_by_channel(layer)
        if isinstance(layer, _WEIGHTED):
            relu = isinstance(layer, _CONVOLUTIONS) and _is_relu(after, modules)
            block = _block_of_average(after, modules) if _is_pointwise(layer) else 0
            _replace_layer(
                graph, node.target, _fast_layer(_with_averaging(layer, block) if block else layer, relu, dtype)
            )
            if after is not None and (relu or block):
                after.replace_all_uses_with(node)
                graph.graph.erase_node(after)
        elif isinstance(layer, nn.AvgPool3d) and dtype != torch.float32:
            _replace_layer(graph, node.target, Cast(layer, torch.float32, dtype))
        elif node.op == "call_function" and node.target is F.avg_pool3d:
            node.target = _average_pool
    graph.recompile()
    graph.delete_all_unused_submodules()
    made: nn.Module = graph.eval()
    return made


def _fast_layer(layer: nn.Module, relu: bool, dtype: torch.dtype) -> nn.Module:
    """Layer with weights, and the ReLU behind it, in a data type."""
    if isinstance(layer, _CONVOLUTIONS) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        return FusedConvolution(layer, relu, dtype)
    layer = Cast(layer, dtype, dtype)
    return nn.Sequential(layer, nn.ReLU(inplace=True)) if relu else layer


def _is_relu(node: fx.Node | None, modules: dict[str, nn.Module]) -> bool:
    if node is None:
        return False
    if node.op == "call_module":
        return isinstance(modules[node.target], nn.ReLU)  # type: ignore[index]
    return node.op == "call_function" and node.target in (torch.relu, F.relu)


def _block_of_average(node: fx.Node | None, modules: dict[str, nn.Module]) -> int:
    """Side of the cubes that a node averages over, without gaps or padding; 0 for any other node."""
    if node is None or node.op not in ("call_module", "call_function"):
        return 0
    layer = modules[node.target] if node.op == "call_module" else None  # type: ignore[index]
    size: Any = None
    if isinstance(layer, nn.AvgPool3d) and layer.extra_repr() == nn.AvgPool3d(layer.kernel_size).extra_repr():
        size = layer.kernel_size
    elif node.target is F.avg_pool3d and len(node.args) == 2 and not node.kwargs:
        size = node.args[1]
    return size if isinstance(size, int) else 0


def _is_pointwise(layer: nn.Module) -> bool:
    plain = isinstance(layer, nn.Conv3d) and layer.padding == (0, 0, 0) and layer.padding_mode == "zeros"
    return plain and layer.kernel_size == layer.stride == (1, 1, 1)


def _with_averaging(convolution: nn.Module, size: int) -> nn.Module:
    """Convolution of single voxels and the average over cubes of ``size`` voxels behind it, as one."""
    made: Any = deepcopy(convolution)
    made.kernel_size = made.stride = (size, size, size)
    made.weight = nn.Parameter(made.weight.detach().expand(-1, -1, size, size, size) / size**3)
    fused: nn.Module = made
    return fused


def _channel_by_channel(layer: nn.BatchNorm2d | nn.BatchNorm3d) -> nn.Module:
    """Batch normalisation in evaluation mode as a convolution that multiplies each channel and adds a number."""
    kind, channels = nn.Conv3d if isinstance(layer, nn.BatchNorm3d) else nn.Conv2d, layer.num_features
    made = kind(channels, channels, 1, groups=channels, bias=False)
    nn.init.ones_(made.weight)
    fused: nn.Module = fuse_conv_bn_eval(made.eval(), layer)
    return fused


def _average_pool(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Average pooling in float32; PyTorch has none in bfloat16 on CPU."""
    return F.avg_pool3d(x.float(), *args, **kwargs).to(x.dtype)


def _replace_layer(graph: Any, name: Any, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(graph.get_submodule(parent), leaf, layer)


def _one_kernel() -> Callable[..., Tensor] | None:
    """Convolution and ReLU as one operation of oneDNN; None where this PyTorch has none."""
    if not torch.backends.mkldnn.is_available():
        return None
    try:
        return torch.ops.mkldnn._convolution_pointwise.default  # the one that torch.compile calls
    except AttributeError:
        return None


_ONE_KERNEL = _one_kernel()
