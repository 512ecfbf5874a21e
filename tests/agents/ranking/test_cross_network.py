from __future__ import annotations

import numpy as np
import torch

from agenticrs.agents.ranking.cross_network import (
    CrossLayer,
    CrossNetwork,
    Entity,
    Question,
)
from agenticrs.agents.training_data import EntityShape, FeatureTensors


def test_a_cross_layer_follows_the_formula_of_the_paper() -> None:
    torch.manual_seed(0)
    layer = CrossLayer(4)
    W, b = layer.linear.weight.detach().numpy(), layer.linear.bias.detach().numpy()
    x0, x = torch.randn(3, 4), torch.randn(3, 4)
    expected = [x0[n].numpy() * (W @ x[n].numpy() + b) + x[n].numpy() for n in range(3)]
    np.testing.assert_allclose(layer(x0, x).detach(), np.stack(expected), rtol=1e-5, atol=1e-6)


def features() -> FeatureTensors:
    return FeatureTensors(
        codes=torch.tensor([[0, 2], [1, 0]]),
        cardinality=(2, 3),
        tags=torch.tensor([[1.0, 0.0], [1.0, 1.0]]),
        numeric=torch.tensor([[0.5], [-2.0]]),
    )


def test_an_entity_is_its_own_vector_plus_what_its_features_say() -> None:
    entity = Entity(2, features(), EntityShape.of(features()), 3)
    for weight in entity.parameters():
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(1))
    vectors = entity()
    first = entity.ids[0] + entity.categories[0] + entity.categories[2 + 2]
    first = first + entity.dense[0] + 0.5 * entity.dense[2]
    torch.testing.assert_close(vectors[0], first)
    second = entity.ids[1] + entity.categories[1] + entity.categories[2 + 0]
    second = second + entity.dense[0] + entity.dense[1] - 2.0 * entity.dense[2]
    torch.testing.assert_close(vectors[1], second)


def test_pads_of_the_history_change_nothing() -> None:
    shape = EntityShape((), 0)
    network = CrossNetwork(
        Entity(3, None, shape, 4),
        Entity(6, None, shape, 4),
        torch.rand(7),
        size=4,
        crosses=2,
        deep=5,
    )
    network.initialise(torch.Generator().manual_seed(0))
    user, length, items = torch.tensor([1]), torch.tensor([2]), torch.tensor([[0, 5, 6]])
    bare = network(Question(user, torch.tensor([[2, 3]]), length, items), network.tables())
    padded = torch.tensor([[-1, -1, -1, 2, 3]])
    wide = network(Question(user, padded, length, items), network.tables())
    torch.testing.assert_close(wide, bare)
    assert bare.shape == (1, 3)
