"""The recurrent networks: an image read as a sequence of 28 rows of 28 pixels, top to bottom.

``RowReader`` does the work; ``RNN``, ``GRU``, ``LSTM`` and ``BiLSTM`` name their cell and the
directions they read in. Input and output are those of ``network.CNN``.
"""

import torch
from torch import nn

from network import Normalize


class RowReader(nn.Module):
    """Reads the rows with a recurrent cell and classifies from its final hidden state.

    Recurrent weights start orthogonal (Saxe et al. 2014, https://arxiv.org/abs/1312.6120), so that
    a signal neither grows nor fades over the 28 steps; the final state is brought to mean 0 and
    deviation 1 (Ba et al. 2016, https://arxiv.org/abs/1607.06450).

    Args:
        hidden_size: units of each layer and direction.
        num_layers: recurrent layers, each reading the states of the one below.
        dropout: probability that a state is dropped on its way to the layer above, in training.
        num_classes: number of logits; 11 for the ten digits and "no digit".
    """

    cell: type[nn.RNNBase]
    bidirectional = False

    def __init__(
        self,
        hidden_size: int = 256,
        num_layers: int = 2,
        dropout: float = 0.0,
        num_classes: int = 10,
    ):
        super().__init__()
        self.arguments = {
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "dropout": dropout,
            "num_classes": num_classes,
        }
        self.normalize = Normalize()
        self.recurrent = self.cell(
            input_size=28,
            hidden_size=hidden_size,
            num_layers=num_layers,
            batch_first=True,
            dropout=dropout,
            bidirectional=self.bidirectional,
        )
        self.num_directions = 2 if self.bidirectional else 1
        self.norm = nn.LayerNorm(hidden_size * self.num_directions, elementwise_affine=False)
        self.classifier = nn.Linear(hidden_size * self.num_directions, num_classes)
        _start_orthogonal(self.recurrent)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the final hidden state (N, hidden_size * directions) that is classified."""
        rows = self.normalize(images).squeeze(1)  # (N, 28 rows, 28 pixels)
        _, state = self.recurrent(rows)
        hidden = state[0] if isinstance(state, tuple) else state  # (layers * directions, N, hidden)
        # The last layer's final state of each direction. The backward one ends at the first row:
        # its output at the last row would have seen that row only.
        return self.norm(torch.cat(list(hidden[-self.num_directions :]), dim=1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, num_classes) for float images (N, 1, 28, 28) in [0, 1]."""
        return self.classifier(self.features(images))

    def logits_by_row(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 28, num_classes): what the network would answer after each row.

        Raises:
            ValueError: the network is bidirectional, so it has no answer before the last row.
        """
        if self.bidirectional:
            raise ValueError("a bidirectional network has read every row before it answers")
        states, _ = self.recurrent(self.normalize(images).squeeze(1))  # (N, 28, hidden)
        return self.classifier(self.norm(states))


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


def _start_orthogonal(recurrent: nn.RNNBase) -> None:
    """Make the recurrent weights of every gate orthogonal, and all biases zero."""
    for name, parameter in recurrent.named_parameters():
        if "weight_hh" in name:
            for gate in parameter.data.split(recurrent.hidden_size):
                nn.init.orthogonal_(gate)
        elif "bias" in name:
            nn.init.zeros_(parameter)
