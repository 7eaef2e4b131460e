import copy

import torch

from training.density.learner import OutlierLearner, SideBySide
from training.density.model import CLASSES, OutlierClassifier, log_odds
from training.fit import make_fabric
from training.recipes import DensityRecipe

RECIPE = DensityRecipe(hidden=(16, 8), learning_rate=1e-2)
FABRIC = make_fabric("cpu")


def learner(folds: int = 2) -> OutlierLearner:
    return OutlierLearner(RECIPE, FABRIC, 200, seed=0, whitened=4, folds=folds, balance=1.0)


def examples(count: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal images and outliers of one kind that differ in one feature, in two folds."""
    rng = torch.Generator().manual_seed(0)
    classes, folds = torch.arange(count) % 2, torch.arange(count) // 2 % 2
    inputs = torch.randn(count, 4, generator=rng)
    inputs[:, 0] += 3 * classes
    return inputs, classes + CLASSES * folds


def test_networks_side_by_side_are_those_of_one_each():
    together = SideBySide((4, 3, 2), 5, seed=0)
    inputs = torch.randn(7, 4)
    outputs = together(inputs)
    for k in range(5):
        hidden = (inputs @ together.weights[0][k] + together.biases[0][k]).relu()
        torch.testing.assert_close(outputs[k], hidden @ together.weights[1][k] + together.biases[1][k])


def test_a_classifier_is_not_touched_by_the_examples_of_its_fold():
    model = learner()
    inputs, labels = examples()
    mine = labels // CLASSES == 0
    before = [weight[0].clone() for weight in model.networks.weights]
    model.optimizer.param_groups[0]["weight_decay"] = 0.0
    model.step(inputs[mine], labels[mine])
    assert all(torch.equal(weight[0], old) for weight, old in zip(model.networks.weights, before, strict=True))
    assert not torch.equal(model.networks.weights[0][1], before[0])


def test_it_learns_to_tell_outliers_that_it_has_not_seen():
    model = learner()
    inputs, labels = examples()
    first = model.validate(inputs, labels)
    for _ in range(150):
        model.step(inputs, labels)
    last = model.validate(inputs, labels)
    assert last["val_l_outlier"] < 0.5 * first["val_l_outlier"]
    assert last["val_told"] > 0.95


def test_a_resumed_learner_takes_the_same_steps():
    one, two = learner(), learner()
    inputs, labels = examples()
    for _ in range(3):
        one.step(inputs, labels)
    two.load_state_dict(copy.deepcopy(one.state_dict()))  # else both would hold the same tensors
    assert one.step(inputs, labels)["l_outlier"] == two.step(inputs, labels)["l_outlier"]
    assert all(torch.equal(a, b) for a, b in zip(one.networks.weights, two.networks.weights, strict=True))


def test_the_finished_classifier_is_the_one_that_has_seen_all():
    model, classifier = learner(), OutlierClassifier(4, RECIPE.hidden)
    inputs, _ = examples()
    model.finish(classifier)
    expected = log_odds(model.networks(inputs)[-1])
    torch.testing.assert_close(log_odds(classifier.layers(inputs)), expected, atol=1e-2, rtol=1e-2)
