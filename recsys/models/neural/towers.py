"""The two towers in torch, built so that Opacus can tell each shopper's gradient apart.

    toy      v_j = [x_j by block | popularity_j | W2 tanh(W1 f_j) + e_j]
    shopper  u   = [gains * recency-weighted sums of x by block | gain | W3 [newest q, mean q]]
    score        = sharpness * u . v_j

The first parts are public features that pass by the network (the residual connection), so at the
start, with W3 = 0 and one gain of 1, the score is that of content similarity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from opacus.grad_sample import register_grad_sampler
from torch import nn

from recsys.models.neural.batches import Batch
from recsys.models.neural.settings import NeuralSettings
from recsys.models.neural.weights import CALM, LARGEST, N_SIGNALS, RESIDUALS, Weights

__all__ = ["TwoTowerNetwork"]


class Gains(nn.Module):
    """How much each similarity counts: [n, p, c, S] -> [n, p, c]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size, dtype=torch.float64))

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        return signals @ self.weight


@register_grad_sampler(Gains)  # type: ignore[untyped-decorator]
def _gains_of_each_shopper(
    layer: Gains, activations: list[torch.Tensor], backprops: torch.Tensor
) -> dict[torch.Tensor, torch.Tensor]:
    return {
        layer.weight: torch.bmm(
            backprops.flatten(1).unsqueeze(1), activations[0].flatten(1, 2)
        ).squeeze(1)
    }


class Sharpness(nn.Module):
    """Makes a softmax of the scores sharper or flatter: s 4^tanh(t), t learned.

    Ranking does not depend on it. Without it all gains would have to grow or shrink together to
    fit the softmax, and Adam, which moves each by as much, would bend their proportions.
    """

    def __init__(self, middle: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.middle = middle

    def factor(self) -> torch.Tensor:
        return self.middle * torch.exp(math.log(4.0) * torch.tanh(self.weight))

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        return self.factor() * scores


@register_grad_sampler(Sharpness)  # type: ignore[untyped-decorator]
def _sharpness_of_each_shopper(
    layer: Sharpness, activations: list[torch.Tensor], backprops: torch.Tensor
) -> dict[torch.Tensor, torch.Tensor]:
    slope = layer.factor() * math.log(4.0) * (1 - torch.tanh(layer.weight) ** 2)
    each = (backprops * activations[0]).flatten(1).sum(dim=1, keepdim=True)
    return {layer.weight: slope * each}


class SmallLinear(nn.Linear):
    """A linear layer whose gradients, shopper by shopper, are smaller than their ghosts.

    Ghost norms cost the square of the toys in a sample, which pays for a large layer only: here
    for the toys' residuals, the one layer that grows with the catalogue.
    """


@register_grad_sampler(SmallLinear)  # type: ignore[untyped-decorator]
def _small_linear_of_each_shopper(
    layer: SmallLinear, activations: list[torch.Tensor], backprops: torch.Tensor
) -> dict[torch.Tensor, torch.Tensor]:
    return {layer.weight: torch.bmm(backprops.transpose(1, 2), activations[0])}


class TwoTowerNetwork(nn.Module):
    """Loss of each shopper in a batch.

    Every layer is called once, with the shoppers as the first dimension of its input: what
    Opacus's ghost clipping asks for.
    """

    def __init__(self, settings: NeuralSettings, weights: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.sharpness = Sharpness(settings.sharpness)
        self.gains = Gains(N_SIGNALS)
        self.item_hidden = _linear(settings.features, settings.hidden)
        self.item_out = _linear(settings.hidden, settings.factors)
        self.shopper = _linear(2 * settings.factors, settings.factors)
        self.residuals: nn.Embedding | None = None
        if settings.toy_residuals:
            n_items, size = weights[RESIDUALS].shape
            self.residuals = nn.Embedding(n_items, size, dtype=torch.float64)
        with torch.no_grad():
            for name, parameter in self.by_name().items():
                parameter.copy_(torch.from_numpy(np.array(weights[name])))

    def by_name(self) -> dict[str, torch.Tensor]:
        """Parameters under the names that `weights` gives them."""
        named = {
            "sharpness": self.sharpness.weight,
            "gains": self.gains.weight,
            "item_hidden": self.item_hidden.weight,
            "item_out": self.item_out.weight,
            "shopper": self.shopper.weight,
        }
        return named if self.residuals is None else named | {RESIDUALS: self.residuals.weight}

    def hold(self) -> None:
        """Bring every weight back within +-`LARGEST`, after a step."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.clamp_(-LARGEST, LARGEST)

    def to_weights(self) -> Weights:
        """The weights as they are now."""
        return {name: p.detach().numpy().copy() for name, p in self.by_name().items()}

    def forward(self, batch: Batch) -> torch.Tensor:
        """Mean over a shopper's purchases of -log softmax(score of the toy bought): [n].

        A shopper without two purchases has a loss of 0.
        """
        toys = self.item_out(torch.tanh(self.item_hidden(batch.features)))
        if self.residuals is not None:
            toys = toys + self.residuals(batch.toys)
        toys = toys.clamp(-LARGEST, LARGEST)
        length = batch.newest.shape[-1]
        own, others = toys[:, :length], toys[:, length:]
        profiles = torch.cat([batch.newest @ own, batch.slow @ own], dim=-1)
        shoppers = (CALM * self.shopper(profiles)).clamp(-LARGEST, LARGEST)
        bought = (shoppers * own[:, 1:]).sum(-1, keepdim=True)
        learned = torch.cat([bought, shoppers @ others.transpose(1, 2)], dim=-1)
        scores = self.sharpness(self.gains(batch.signals) + learned)
        scores = scores + batch.stands_for
        scores = scores.masked_fill(batch.hidden, -torch.inf)
        losses = torch.logsumexp(scores, dim=-1) - scores[..., 0]
        each: torch.Tensor = (losses * batch.shares).sum(-1)
        return each


def _linear(inputs: int, outputs: int) -> SmallLinear:
    return SmallLinear(inputs, outputs, bias=False, dtype=torch.float64)
