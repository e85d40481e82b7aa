"""What can be removed from a network as a whole: filters, hidden units, attention heads."""

from dataclasses import dataclass, field

import keras
import keras_hub
from keras import layers

from mmlearn.encoders.narrow_transformer import NarrowTransformerEncoder

_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D)
# Of each channel by itself, so that what a channel is stays the same.
_CHANNELWISE = (
    *(layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Activation),
    *(layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D),
    *(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.MaxPooling1D, layers.MaxPooling2D),
    *(layers.AveragePooling1D, layers.AveragePooling2D),
    *(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D),
    *(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D),
)
_MERGES = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum)


@dataclass(frozen=True)
class Slice:
    """Where the units of a group are in a variable.

    Attributes:
        variable: a Keras variable.
        axis: int. Unit u has the places from `u * width` to `(u + 1) * width` on it.
        reads: bool. Whether these weights take what the units give, or make it.
        width: int.
    """

    variable: keras.Variable
    axis: int
    reads: bool = False
    width: int = 1


@dataclass
class UnitGroup:
    """Units of one kind in one place, which compete with each other.

    Attributes:
        name: str.
        size: int. How many there are.
        slices: list of `Slice`, all weights that go with the units.
        sizes: list of `(layer, name)`: the entries of configs of layers that hold the number of units.
        apart: int. The first so many compete among themselves: heads that are trained for something
            else than the prediction, of which its loss says nothing.
    """

    name: str
    size: int
    slices: list = field(default_factory=list)
    sizes: list = field(default_factory=list)
    apart: int = 0


def filter_groups(model):
    """Finds the filters and dense units of a functional network that can be removed.

    Channels that are added to each other are one group. Those that the network gives, and those that meet
    a layer whose use of them is not known here, stay; so do those of layers that are called twice.

    Args:
        model: functional `keras.Model`.

    Returns:
        A list of `UnitGroup`.

    Reference:
        Li et al. 2017, "Pruning filters for efficient convnets", section 3 and figure 2 (what goes with
        a filter); Fang et al. 2023, "DepGraph: towards any structural pruning" (groups of what depends
        on each other).

    Example:

    >>> inputs = keras.Input((8, 8, 3))
    >>> x = layers.Conv2D(4, 3, name="first")(inputs)
    >>> model = keras.Model(inputs, layers.Conv2D(2, 3, name="second")(x))
    >>> [(group.name, group.size) for group in filter_groups(model)]
    [('first', 4)]
    """
    channels = _Channels()
    own = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
    for operation in model.operations:
        nodes = [node for node in operation._inbound_nodes if id(node) in own]
        inputs = [x for node in nodes for x in node.input_tensors]
        outputs = [x for node in nodes for x in node.output_tensors]
        if len(nodes) == 1 and len(outputs) == 1 and _follow(channels, operation, inputs, *outputs):
            continue
        for tensor in (*inputs, *outputs):
            channels.keep(tensor)
    for tensor in keras.tree.flatten(model.output):
        channels.keep(tensor)
    return channels.groups()


def _follow(channels, layer, inputs, output):
    """Notes what a layer does to the channels of its input; says whether that is known."""
    bias = getattr(layer, "bias", None)
    biases = [] if bias is None else [Slice(bias, 0)]
    if _is_softmax(layer) or getattr(layer, "data_format", None) == "channels_first":
        return False
    if type(layer) in (*_CONVOLUTIONS, layers.Dense) and getattr(layer, "groups", 1) == 1:
        kernel, rank = layer.kernel, len(layer.kernel.shape)
        channels.note(inputs[0], Slice(kernel, rank - 2, reads=True))
        channels.note(output, Slice(kernel, rank - 1), *biases)
        what = "units" if isinstance(layer, layers.Dense) else "filters"
        channels.made(output, layer, what)
        return True
    if type(layer) is layers.DepthwiseConv2D and layer.depth_multiplier == 1:
        channels.note(inputs[0], Slice(layer.kernel, 2), *biases)
        return channels.join([*inputs, output])
    if isinstance(layer, layers.BatchNormalization) and layer.axis in (-1, len(output.shape) - 1):
        own = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
        channels.note(inputs[0], *(Slice(v, 0) for v in own if v is not None))
        return channels.join([*inputs, output])
    is_merge = type(layer) in _MERGES and len({x.shape[-1] for x in inputs}) == 1
    return (is_merge or type(layer) in _CHANNELWISE) and channels.join([*inputs, output])


def _is_softmax(layer):
    return getattr(layer, "activation", None) is keras.activations.softmax


class _Channels:
    """Which tensors have the same channels, and what is known of these."""

    def __init__(self):
        self._parents, self._found, self._kept = {}, {}, set()
        self._alive = []  # or another tensor might get the id of one that is gone

    def _root(self, tensor):
        self._alive.append(tensor)
        key = id(tensor)
        while self._parents.setdefault(key, key) != key:
            key = self._parents[key]
        return key

    def keep(self, tensor):
        self._kept.add(id(tensor))
        self._root(tensor)

    def note(self, tensor, *slices):
        self._found.setdefault(id(tensor), ([], []))[0].extend(slices)
        self._root(tensor)

    def made(self, tensor, layer, what):
        self._found[id(tensor)][1].append((layer, what))

    def join(self, tensors):
        roots = [self._root(tensor) for tensor in tensors]
        for root in roots[1:]:
            self._parents[self._root_of(root)] = self._root_of(roots[0])
        return True

    def _root_of(self, key):
        while self._parents[key] != key:
            key = self._parents[key]
        return key

    def groups(self):
        kept = {self._root_of(key) for key in self._kept}
        joined = {}
        for key, (slices, sizes) in self._found.items():
            group = joined.setdefault(self._root_of(key), ([], []))
            group[0].extend(slices)
            group[1].extend(sizes)
        return [
            UnitGroup(
                sizes[0][0].name,
                getattr(*sizes[0]),
                slices,
                sizes,
            )
            for root, (slices, sizes) in joined.items()
            # What nobody reads is no part of the prediction, or read in a way that is not known.
            if root not in kept and sizes and any(each.reads for each in slices)
        ]


def transformer_groups(model):
    """Finds the attention heads and hidden units of KerasHub's transformer layers in a network.

    Args:
        model: `keras.Model`.

    Returns:
        A list of `UnitGroup`.
    """
    groups = []
    for layer in model.layers:
        if type(layer) not in (keras_hub.layers.TransformerEncoder, NarrowTransformerEncoder):
            continue
        attention = layer._self_attention_layer
        makes = [attention._query_dense, attention._key_dense, attention._value_dense]
        slices = [Slice(each.kernel, 1) for each in makes] + [Slice(each.bias, 0) for each in makes]
        slices.append(Slice(attention._output_dense.kernel, 0, reads=True))
        sizes = [(layer, "num_heads")]
        groups.append(UnitGroup(f"{layer.name} heads", layer.num_heads, slices, sizes))
        hidden, output = layer._feedforward_intermediate_dense, layer._feedforward_output_dense
        sizes = [(layer, "intermediate_dim")]
        groups.append(dense_group(f"{layer.name} units", hidden, [output], sizes))
    return groups


def dense_group(name, hidden, readers, sizes):
    """The group of the hidden units between dense layers.

    Args:
        name: str.
        hidden: the dense layer that makes them.
        readers: list of the dense layers that read them.
        sizes: see `UnitGroup`.
    """
    slices = [Slice(hidden.kernel, 1), Slice(hidden.bias, 0)]
    slices += [Slice(reader.kernel, 0, reads=True) for reader in readers]
    return UnitGroup(name, hidden.units, slices, sizes)


def attention_groups(fusion):
    """Finds the attention heads and hidden units of a fusion that is made of `CrossAttention`.

    All attention layers of a fusion have as many heads.

    Args:
        fusion: an `AttentionFusion` with `head_dim`.

    Returns:
        A list of `UnitGroup`.
    """
    groups = []
    for name, layer in fusion.attentions.items():
        width = layer.head_dim
        slices = []
        for dense in (layer.query_dense, layer.key_dense, layer.value_dense):
            slices += [Slice(dense.kernel, 1, width=width), Slice(dense.bias, 0, width=width)]
        slices.append(Slice(layer.output_dense.kernel, 0, reads=True, width=width))
        sizes = [(fusion, "num_heads")]
        heads = UnitGroup(f"{name} heads", layer.num_heads, slices, sizes, layer.grounded_heads)
        groups.append(heads)
    for name, hidden in fusion.intermediates.items():
        sizes = [(fusion, "intermediate_dim")]
        groups.append(dense_group(f"{name} units", hidden, [fusion.dense_outputs[name]], sizes))
    return groups
