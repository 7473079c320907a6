"""A network without convolution or recurrence, to see what these add."""

import torch
from torch import nn

from network import Network, Normalize


class MLP(Network):
    """Multilayer perceptron: linear layers on the pixels, which know nothing of their neighbours.

    Each hidden layer is followed by batch normalisation (Ioffe and Szegedy 2015,
    https://arxiv.org/abs/1502.03167), ReLU and dropout. With the defaults it has 419 882 trainable
    parameters, about as many as the CNN.

    Args:
        hidden_sizes: units of each hidden layer.
        dropout: probability that a hidden unit is dropped in training.
        num_classes: number of logits; 11 for the ten digits and "no digit".
    """

    def __init__(
        self,
        hidden_sizes: tuple[int, ...] = (400, 256),
        dropout: float = 0.2,
        num_classes: int = 10,
    ):
        super().__init__()
        layers, inputs = [Normalize(), nn.Flatten()], 28 * 28
        for size in hidden_sizes:
            # No bias: batch normalisation would subtract it again.
            layers += [nn.Linear(inputs, size, bias=False), nn.BatchNorm1d(size)]
            layers += [nn.ReLU(), nn.Dropout(dropout)]
            inputs = size
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (N, num_classes) for float images (N, 1, 28, 28) in [0, 1]."""
        return self.classifier(self.features(images))
