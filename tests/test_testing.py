"""The check for people who bring a target: a sound one passes, each kind of mistake is named."""

import pytest
import torch
from torch import nn

from prune_env import DenseTraining, Target
from prune_env.testing import CheckError, check_target


def seeded(model, generator):
    """Draw all weights of a model with a generator."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return model


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 8), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x))


class Sound(Target):
    """Three numbers out of six; everything below breaks one method of it."""

    components = ("body", "head")
    dense_training = DenseTraining(20, steps_per_epoch=5)

    def build(self, generator):
        return seeded(Net(), generator)

    def trace(self, model):
        return model(torch.zeros(1, 6))

    def batches(self, generator):
        while True:
            yield torch.randn(4, 6, generator=generator)

    def loss(self, model, batch):
        return (model(batch) - batch[:, :3]).square().mean()

    def score(self, model, split):
        with torch.no_grad():
            return -float((model(torch.ones(2, 6)) - 1).square().mean())


class Holding(Net):
    def forward(self, x):
        return self.head(self.body(x).view(-1, 2, 4).flatten(1))


class WidthInForward(Sound):
    def build(self, generator):
        return seeded(Holding(), generator)


class Bystander(Net):
    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return super().forward(x) + 0 * self.unused(torch.zeros(2)).sum().detach()


class Surprising(Sound):
    def build(self, generator):
        return seeded(Bystander(), generator)


# ---------------------------------------------------------------------- mistakes, one each
class WrongComponent(Sound):
    components = ("body", "tail")


class NoComponents(Sound):
    components = ()


class GlobalRandomness(Sound):
    def build(self, generator):
        return Net()


class NoModule(Sound):
    def build(self, generator):
        return Net(), torch.optim.Adam


class BrokenBuild(Sound):
    def build(self, generator):
        return nn.Linear(6, 3)(torch.zeros(5))


class NotPicklable(Sound):
    def __init__(self):
        self.activation = lambda x: x


class SettingsNoJson(Sound):
    def settings(self):
        return {"device": torch.device("cpu")}


class TraceMissing(Sound):
    trace = Target.trace


class TraceReturnsNothing(Sound):
    def trace(self, model):
        model(torch.zeros(1, 6))


class TraceNotFinite(Sound):
    def trace(self, model):
        return model(torch.zeros(1, 6)) / 0


class NothingToPrune(Sound):
    def build(self, generator):
        model = Net()
        model.body = nn.Identity()
        model.head = nn.Linear(6, 3)
        return seeded(model, generator)


class OneEpochOnly(Sound):
    def batches(self, generator):
        return iter(torch.randn(5, 4, 6, generator=generator))


class NoBatches(Sound):
    batches = Target.batches


class GlobalBatches(Sound):
    def batches(self, generator):
        while True:
            yield torch.randn(4, 6)


class LossPerSample(Sound):
    def loss(self, model, batch):
        return (model(batch) - batch[:, :3]).square().mean(1)


class LossAsNumber(Sound):
    def loss(self, model, batch):
        return float(super().loss(model, batch).detach())


class LossInfinite(Sound):
    def loss(self, model, batch):
        return super().loss(model, batch) / 0


class OptimizerOfNothing(Sound):
    def optimizers(self, model):
        return [torch.optim.Adam([])]


class ForgetsHook(Sound):
    def training_step(self, model, optimizers, batch, after_backward):
        return super().training_step(model, optimizers, batch, lambda optimizer: None)


class CallsHookTwice(Sound):
    def training_step(self, model, optimizers, batch, after_backward):
        after_backward(optimizers[0])
        return super().training_step(model, optimizers, batch, after_backward)


class LossAttached(Sound):
    def training_step(self, model, optimizers, batch, after_backward):
        super().training_step(model, optimizers, batch, after_backward)
        return self.loss(model, batch)


class ScoreIsTensor(Sound):
    def score(self, model, split):
        return torch.tensor(super().score(model, split))


class ScoreIsRandom(Sound):
    def score(self, model, split):
        return float(torch.rand(()))


class ScoreIsNan(Sound):
    def score(self, model, split):
        return float("nan")


class ScoreForgetsTest(Sound):
    def score(self, model, split):
        return {"validation": 1.0}[split]


class FloorInfinite(Sound):
    def floor(self, split):
        return -float("inf")


class WrongTwice(Sound):
    def score(self, model, split):
        return 1

    def floor(self, split):
        return float("nan")


class WidthInLoss(Sound):
    """The trace is sound, so only a cut shows that the loss holds on to the width of the latent."""

    def loss(self, model, batch):
        return super().loss(model, batch) + model.body(batch).view(-1, 4, 8).square().mean()


class WidthInScore(Sound):
    def score(self, model, split):
        with torch.no_grad():
            return -float((model.body(torch.ones(2, 6)) * torch.ones(8)).mean())


class HeldOutInTraining(Sound):
    def variants(self, split):
        return [{"size": 1}, {"size": 2}] if split == "train" else [{"size": 3}, {"size": 2}]


class NoVariants(Sound):
    def variants(self, split):
        return []


class OldAttribute(Sound):
    dense_training = Target.dense_training
    dense_steps = 400


class OwnSteps(Sound):
    dense_steps = 20


class BrokenDeploy(Sound):
    def deploy(self, model):
        return model(torch.zeros(1, 5))


class DeploysTheBody(Sound):
    def deploy(self, model):
        return model.body(torch.zeros(1, 6))


MISTAKES = {
    OldAttribute: r"nothing reads dense_steps: use dense_training = DenseTraining\(steps=\.\.\.\)",
    BrokenDeploy: r"deploy\(model\) fails: RuntimeError",
    WrongComponent: r"components must name children.*\['tail'\] not among \['body', 'head'\]",
    NoComponents: "components must name children.*none given",
    GlobalRandomness: r"build\(generator\) must be reproducible",
    NoModule: r"build\(generator\) must return an nn\.Module; got tuple",
    BrokenBuild: r"build\(generator\) fails: RuntimeError",
    NotPicklable: "the target cannot be pickled",
    SettingsNoJson: r"settings\(\) must be JSON: ValueError.*device",
    TraceMissing: r"trace\(model\) fails: NotImplementedError: TraceMissing must implement trace",
    TraceReturnsNothing: r"trace\(model\) must return the outputs",
    TraceNotFinite: r"trace\(model\) returns values that are not finite",
    NothingToPrune: "no group can be pruned: .*output",
    OneEpochOnly: r"batches\(generator\) fails: .*must be endless",
    NoBatches: r"batches\(generator\) fails: NotImplementedError: NoBatches must implement batches",
    GlobalBatches: r"batches\(generator\) must be reproducible",
    LossPerSample: r"loss\(model, batch\) must return a scalar tensor; got shape \(4,\)",
    LossAsNumber: r"loss\(model, batch\) must return a scalar tensor; got float",
    LossInfinite: "the loss of a fresh model is inf",
    OptimizerOfNothing: r"optimizers\(model\) fails: ValueError: optimizer got an empty parameter list",
    ForgetsHook: r"training_step must call after_backward\(optimizer\) once",
    CallsHookTwice: r"training_step must call after_backward\(optimizer\) once",
    LossAttached: "training_step must return the scalar loss as a detached tensor",
    ScoreIsTensor: r"score\(model, 'validation'\) must return a float; got Tensor",
    ScoreIsRandom: r"score\(model, 'validation'\) must give the same number when asked again",
    ScoreIsNan: r"score\(model, 'validation'\) of a fresh model is nan",
    ScoreForgetsTest: r"score\(model, 'test'\) fails: KeyError",
    FloorInfinite: r"floor\('validation'\) must be finite; got -inf",
    WidthInLoss: "fails after half of its channels are gone.*hold on to a width.*shape",
    WidthInScore: "fails after half of its channels are gone.*hold on to a width.*size",
    HeldOutInTraining: r"variants held out must not occur in training; \[{'size': 2}\] do",
    NoVariants: r"variants\(split\) must return at least one set of options",
}


def test_a_sound_target_passes_and_is_described():
    report = check_target(Sound())
    assert report.problems == [] and report.notes == []
    assert [(g.name, g.kind, g.channels) for g in report.grouping] == [
        ("body.0", "component", 10),
        ("body.2", "coupling", 8),
    ]
    assert "2 groups can be pruned" in str(report) and "head: locked, since" in str(report)


def test_the_autoencoder_passes_by_name():
    report = check_target("autoencoder", latent_dim=4)
    assert len(report.grouping) == 7 and report.notes == []


@pytest.mark.parametrize("mistaken", MISTAKES)
def test_a_mistake_is_named(mistaken):
    with pytest.raises(CheckError, match=f"(?s){MISTAKES[mistaken]}") as raised:
        check_target(mistaken())
    assert str(raised.value).startswith("problem: ")
    assert len([line for line in str(raised.value).splitlines() if line.startswith("problem")]) <= 2


def test_a_model_that_holds_on_to_a_width_is_never_taken_for_sound():
    """In the forward pass itself the width is seen by discovery, which locks the group or finds nothing to prune."""
    try:
        report = check_target(WidthInForward())
    except CheckError as error:
        assert "no group can be pruned" in str(error) or "hold on to a width" in str(error)
    else:
        assert "body.2" in [group.name for group in report.grouping.locked]


def test_what_may_surprise_is_noted():
    notes = "\n".join(check_target(Surprising()).notes)
    assert "outside all components are never removed" in notes
    assert "unused.weight" in notes
    grouping = check_target(Surprising()).grouping
    assert not any("unused" in group.name for group in grouping)
    assert "get no gradient from training_step: unused.bias, unused.weight" in notes


def test_all_problems_of_a_stage_are_listed():
    with pytest.raises(CheckError) as raised:
        check_target(WrongTwice())
    assert str(raised.value).count("must return a float; got int") == 2
    assert str(raised.value).count("must be finite; got nan") == 2


def test_an_unknown_name_is_no_check_error():
    with pytest.raises(ValueError, match="unknown target 'autoencodr'"):
        check_target("autoencodr")


def test_an_attribute_of_an_old_name_is_fine_beside_the_new_one():
    assert not check_target(OwnSteps()).problems


def test_components_that_are_not_deployed_are_noted():
    (note,) = check_target(DeploysTheBody()).notes
    assert note == "deploy(model) does not run these components, which cost nothing: head"
