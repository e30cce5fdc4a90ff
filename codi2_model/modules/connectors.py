"""Connectors between the language model and a decoder: predicted features (and hidden states) -> decoder inputs.

The diffusion loss reaches the language model only through the connector. Direct backpropagation into the language model is
known to fail (Kosmos-G).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from codi2_model.config import CoDi2Config
from codi2_model.encoders import scale_norm


class Aligner(nn.Module):
    """Predicted features -> features as a decoder was trained on: a residual MLP, initialised as the identity.

    Inputs and outputs are scaled to the length `scale`.
    """

    def __init__(self, feature_dim: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        last = nn.Linear(2 * feature_dim, feature_dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.Linear(feature_dim, 2 * feature_dim), nn.GELU(), last)

    def forward(self, features: torch.Tensor, states: torch.Tensor | None = None) -> torch.Tensor:
        features = scale_norm(features, self.scale)
        return scale_norm(features + self.mlp(features), self.scale)


class StatesConnector(nn.Module):
    """Features (N, S, D) and the hidden states (N, S, H) that they were predicted from -> (N, S, H), of unit variance.

    added: the states are added to the features. Their projection is then initialised with zeros, because the decoders were
    trained on features only.
    """

    def __init__(self, feature_dim: int, hidden_size: int, scale: float, added: bool) -> None:
        super().__init__()
        self.unit = scale / feature_dim**0.5
        self.of_features, self.of_states = nn.Linear(feature_dim, hidden_size), nn.Linear(hidden_size, hidden_size)
        if added:
            nn.init.zeros_(self.of_states.weight)
            nn.init.zeros_(self.of_states.bias)

    def forward(self, features: torch.Tensor | None, states: torch.Tensor | None = None) -> torch.Tensor:
        """At least one of both is given."""
        parts = []
        if features is not None:
            parts.append(self.of_features(scale_norm(features, self.unit * features.shape[-1] ** 0.5) / self.unit))
        if states is not None:
            parts.append(self.of_states(F.rms_norm(states, states.shape[-1:])))
        mixed = sum(parts[1:], parts[0])
        return F.rms_norm(mixed, mixed.shape[-1:])


def build_connector(config: CoDi2Config) -> Aligner | StatesConnector:
    """The connector of a config: `StatesConnector` if the decoders get hidden states, else `Aligner`."""
    if config.decoder_input != "features":
        return StatesConnector(config.feature_dim, config.hidden_size, config.scale, config.decoder_input == "both")
    return Aligner(config.feature_dim, config.scale)
