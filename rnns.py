"""The recurrent networks: an image read as a sequence of 28 rows of 28 pixels, top to bottom.

``RowReader`` does the work; ``RNN``, ``GRU``, ``LSTM``, ``BiLSTM`` and ``MinGRU`` name their cell
and the directions they read in. They can also read upwards, or the columns, or what convolutions
make of the image; ``RowsAndColumns`` puts two of them side by side. Input and output are those of
``network.CNN``.
"""

import torch
from torch import nn

from network import Normalize

# How images (N, 1, 28, 28) are turned so that reading rows from the top reads them in this order.
ORDERS = {
    "rows": lambda images: images,
    "rows from the bottom": lambda images: images.flip(2),
    "columns": lambda images: images.transpose(2, 3),
}


class RowReader(nn.Module):
    """Reads the rows with a recurrent cell and classifies from its final hidden state.

    Recurrent weights start orthogonal (Saxe et al. 2014, https://arxiv.org/abs/1312.6120), so that
    a signal neither grows nor fades over the 28 steps; the final state is brought to mean 0 and
    deviation 1 (Ba et al. 2016, https://arxiv.org/abs/1607.06450).

    Args:
        hidden_size: units of each layer and direction.
        num_layers: recurrent layers, each reading the states of the one below.
        dropout: probability that a state is dropped on its way to the layer above, in training;
            the classifier is the topmost layer.
        num_classes: number of logits; 11 for the ten digits and "no digit".
        order: the direction of reading; a key of ``ORDERS``.
        channels: feature maps of each 3x3 convolution in front of the recurrence. Pooling halves
            the last maps, and the network reads their 14 rows, all channels of a row at once.
        every_row: train on the mean loss of the answers after each row, not on the last alone.

    Raises:
        ValueError: the order is unknown, or a bidirectional network is to answer at every row.
    """

    cell: type[nn.Module]
    bidirectional = False

    def __init__(
        self,
        hidden_size: int = 256,
        num_layers: int = 2,
        dropout: float = 0.0,
        num_classes: int = 10,
        order: str = "rows",
        channels: tuple[int, ...] = (),
        every_row: bool = False,
    ):
        super().__init__()
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
        if every_row and self.bidirectional:
            raise ValueError("a bidirectional network has read every row before it answers")
        self.arguments = {
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "dropout": dropout,
            "num_classes": num_classes,
            "order": order,
            "channels": channels,
            "every_row": every_row,
        }
        self.order, self.every_row = order, every_row
        self.normalize = Normalize()
        self.front = _convolutions_in_front(channels)
        inputs = 14 * channels[-1] if channels else 28
        self.recurrent = self._recurrent_layers(inputs, hidden_size, num_layers, dropout)
        self.num_directions = 2 if self.bidirectional else 1
        self.norm = nn.LayerNorm(hidden_size * self.num_directions, elementwise_affine=False)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden_size * self.num_directions, num_classes)
        if isinstance(self.recurrent, nn.RNNBase):
            _start_orthogonal(self.recurrent)

    def _recurrent_layers(self, inputs: int, size: int, layers: int, dropout: float) -> nn.Module:
        options = {"batch_first": True, "dropout": dropout if layers > 1 else 0.0}
        return self.cell(inputs, size, layers, bidirectional=self.bidirectional, **options)

    def sequence(self, images: torch.Tensor) -> torch.Tensor:
        """Return what is read: (N, 28, 28) pixels, or (N, 14, 14 * channels[-1]) feature maps."""
        maps = self.front(ORDERS[self.order](self.normalize(images)))  # (N, channels, rows, width)
        return maps.transpose(1, 2).flatten(2)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the final hidden state (N, hidden_size * directions) that is classified."""
        _, state = self.recurrent(self.sequence(images))
        hidden = state[0] if isinstance(state, tuple) else state  # (layers * directions, N, hidden)
        # The last layer's final state of each direction. The backward one ends at the first row:
        # its output at the last row would have seen that row only.
        return self.norm(torch.cat(list(hidden[-self.num_directions :]), dim=1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, num_classes) for float images (N, 1, 28, 28) in [0, 1].

        In training with ``every_row`` they are those of ``mean_loss_logits``, one more.
        """
        if self.training and self.every_row:
            return mean_loss_logits(self.logits_by_row(images))
        return self.classifier(self.dropout(self.features(images)))

    def logits_by_row(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 28, num_classes): what the network would answer after each row.

        Behind convolutions the rows are the 14 of the feature maps.

        Raises:
            ValueError: the network is bidirectional, so it has no answer before the last row.
        """
        if self.bidirectional:
            raise ValueError("a bidirectional network has read every row before it answers")
        states, _ = self.recurrent(self.sequence(images))  # (N, 28, hidden)
        return self.classifier(self.dropout(self.norm(states)))


class RNN(RowReader):
    """A plain recurrent network with tanh (Elman 1990). Arguments: see ``RowReader``."""

    cell = nn.RNN


class GRU(RowReader):
    """Gated recurrent units (Cho et al. 2014). Arguments: see ``RowReader``."""

    cell = nn.GRU


class LSTM(RowReader):
    """Long short-term memory (Hochreiter and Schmidhuber 1997). Arguments: see ``RowReader``."""

    cell = nn.LSTM


class BiLSTM(RowReader):
    """An LSTM from the top down and one from the bottom up (Graves and Schmidhuber 2005).

    Arguments: see ``RowReader``; ``hidden_size`` is that of each direction.
    """

    cell = nn.LSTM
    bidirectional = True


class MinGRU(RowReader):
    """Minimal gated recurrent units (Feng et al. 2024). Arguments: see ``RowReader``."""

    def _recurrent_layers(self, inputs: int, size: int, layers: int, dropout: float) -> nn.Module:
        return MinimalGRU(inputs, size, layers, dropout)


class MinimalGRU(nn.Module):
    """Layers h_t = (1 - z_t) h_(t-1) + z_t c_t whose gate z and candidate c do not look at the
    state, so that all steps are computed at once (https://arxiv.org/abs/2410.01201). Gates start
    with memories of 2 to ``longest`` + 1 steps (Tallec and Ollivier 2018, arXiv 1804.11188).

    Args:
        inputs: numbers in a step.
        size: units of a layer.
        layers: how many.
        dropout: probability that a value between two layers is dropped.
        longest: see above.
    """

    def __init__(self, inputs: int, size: int, layers: int, dropout: float, longest: int = 28):
        super().__init__()
        widths = [inputs] + [size] * (layers - 1)
        self.layers = nn.ModuleList(nn.Linear(width, 2 * size) for width in widths)
        self.dropout = nn.Dropout(dropout)
        for layer in self.layers:
            nn.init.zeros_(layer.bias)
            layer.bias.data[:size].uniform_(1, longest).log_().neg_()

    def forward(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the last layer's states (N, steps, size), and the last of them (1, N, size)."""
        for index, layer in enumerate(self.layers):
            below = self.dropout(states) if index else states
            gate, candidate = layer(below).float().chunk(2, dim=2)  # bfloat16 would forget
            gate = gate.sigmoid()
            states = Scan.apply(1 - gate, gate * candidate)
        return states, states[None, :, -1]


class Scan(torch.autograd.Function):
    """``scan`` with its gradient, which is the same recurrence from the last step to the first."""

    @staticmethod
    def forward(ctx, decay, add):
        ctx.save_for_backward(decay, states := scan(decay, add))
        return states

    @staticmethod
    def backward(ctx, gradient):
        # dL/dadd_t = gradient_t + decay_(t+1) * dL/dadd_(t+1); dL/ddecay_t = dL/dadd_t * h_(t-1)
        decay, states = (nn.functional.pad(x, (0, 0, 1, 1)) for x in ctx.saved_tensors)
        of_add = scan(decay[:, 2:].flip(1), gradient.flip(1)).flip(1)
        return of_add * states[:, :-2], of_add


def scan(decay: torch.Tensor, add: torch.Tensor) -> torch.Tensor:
    """Return the states h_t = decay_t * h_(t-1) + add_t from h_0 = 0, all float (N, steps, size).

    Two steps make one of the same form, two of these another, and so on; then the states between
    are filled in (Brent and Kung 1982). Where 0 <= decay <= 1, nothing overflows.
    """
    decay, states, steps = decay.clone(), add.clone(), add.shape[1]
    strides = [2**level for level in range(steps.bit_length())]
    pairs = [(stride, stride) for stride in strides]
    for first, stride in pairs + [(2 * stride, stride) for stride in reversed(strides)]:
        left = slice(first - 1, steps - stride, 2 * stride)
        right = slice(first + stride - 1, None, 2 * stride)
        states[:, right].addcmul_(decay[:, right], states[:, left])
        if first == stride:
            decay[:, right].mul_(decay[:, left])
    return states


class RowsAndColumns(nn.Module):
    """Two GRUs side by side, one for the rows and one for the columns; both states are classified.

    Arguments: see ``RowReader``; ``hidden_size`` and ``channels`` are those of each.
    """

    def __init__(
        self,
        hidden_size: int = 256,
        num_layers: int = 2,
        dropout: float = 0.0,
        num_classes: int = 10,
        channels: tuple[int, ...] = (),
    ):
        super().__init__()
        reader = {
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "dropout": dropout,
            "num_classes": num_classes,
            "channels": channels,
        }
        self.arguments = reader
        self.readers = nn.ModuleList(GRU(**reader, order=order) for order in ("rows", "columns"))
        for gru in self.readers:
            gru.classifier = nn.Identity()  # there is one for both
        self.classifier = nn.Linear(2 * hidden_size, num_classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the final states (N, 2 * hidden_size) of the two."""
        return torch.cat([reader(images) for reader in self.readers], dim=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, num_classes) for float images (N, 1, 28, 28) in [0, 1]."""
        return self.classifier(self.features(images))


def mean_loss_logits(logits: torch.Tensor) -> torch.Tensor:
    """Return logits whose cross-entropy with a label is the mean over the rows of theirs.

    They are the mean log-probabilities. Probabilities made of these do not sum to one where the
    rows disagree; what is missing goes to one more class, which is never the label.

    Args:
        logits: (N, rows, classes).

    Returns:
        float32, shape (N, classes + 1).
    """
    mean = logits.float().log_softmax(2).mean(1)
    missing = 1 - mean.exp().sum(1, keepdim=True)
    return torch.cat([mean, missing.clamp(min=1e-6).log()], dim=1)


def _convolutions_in_front(channels: tuple[int, ...]) -> nn.Module:
    """3x3 convolutions, each normalised and followed by ReLU, and pooling after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip((1, *channels), channels, strict=False):
        # No bias: batch normalisation would subtract it again.
        layers += [nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
    if channels:
        layers.insert(-1, nn.MaxPool2d(2))  # ReLU then has a quarter of the values to process
    return nn.Sequential(*layers)


def _start_orthogonal(recurrent: nn.RNNBase) -> None:
    """Make the recurrent weights of every gate orthogonal, and all biases zero."""
    for name, parameter in recurrent.named_parameters():
        if "weight_hh" in name:
            for gate in parameter.data.split(recurrent.hidden_size):
                nn.init.orthogonal_(gate)
        elif "bias" in name:
            nn.init.zeros_(parameter)
