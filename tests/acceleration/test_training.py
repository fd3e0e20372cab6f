"""Accelerated models inside what people train with: compile, autocast, adapters, Trainer, PEFT."""

import pytest
import torch
from torch import nn

from tests.acceleration.models import T, logits, model_of, tokens
from trilby.transformers import accelerate, accelerated, restore

pytestmark = pytest.mark.filterwarnings("ignore")
POSITIONS = torch.cat([torch.arange(8), torch.arange(T - 8)])[None]
KINDS = [pytest.param(kind, marks=pytest.mark.long) for kind in ("qwen3_next", "mamba2")]


ONE_GRAPH = ["mamba2", "mamba", "qwen3_5_text", "falcon_h1", "lfm3", "zamba2"]


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [*ONE_GRAPH, "qwen3_next"])
def test_compiled_models_compute_the_same(kind):
    """Experts of transformers are a loop over those that are hit, which no single graph holds."""
    model = model_of(kind)
    with accelerated(model):
        plain = logits(model, tokens(B=2)), logits(model, tokens(), position_ids=POSITIONS)
        plain[1].sum().backward()
        slopes = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        model.zero_grad()
        torch._dynamo.reset()
        run = torch.compile(model, backend="aot_eager", fullgraph=kind in ONE_GRAPH)
        found = logits(run, tokens(B=2)), logits(run, tokens(), position_ids=POSITIONS)
        found[1].sum().backward()
    torch.testing.assert_close(found, plain)
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    torch.testing.assert_close(grads, slopes)


@pytest.mark.parametrize("kind", ["mamba2", *KINDS[:1]])
def test_autocast_is_as_near_as_that_of_the_original(kind):
    model, ids = model_of(kind, torch.float32), tokens(B=2)
    exact = logits(model_of(kind), ids)

    def error():
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            y = logits(model, ids)
        y.float().sum().backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        return float((y.double() - exact).detach().pow(2).mean().sqrt())

    original = error()
    with accelerated(model):
        assert error() <= 2 * original


class Adapter(nn.Module):
    """A linear layer that is frozen, and a product of two thin ones beside it."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.down = nn.Linear(linear.in_features, 2, bias=False, dtype=linear.weight.dtype)
        self.up = nn.Linear(2, linear.out_features, bias=False, dtype=linear.weight.dtype)

    @property
    def weight(self):
        return self.linear.weight

    def forward(self, x):
        return self.linear(x) + self.up(self.down(x))


def test_adapters_are_trained_in_an_accelerated_model():
    model = model_of("qwen3_next").requires_grad_(False)
    for layer in model.modules():
        for name, child in [*layer.named_children()]:
            if isinstance(child, nn.Linear) and name in ("in_proj_qkvz", "out_proj"):
                setattr(layer, name, Adapter(child))

    def gradients():
        model.zero_grad()
        logits(model, tokens(B=2)).pow(2).sum().backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    before = gradients()
    assert len(before) >= 4
    with accelerated(model) as report:
        assert report
        found = gradients()
    assert found.keys() == before.keys()
    for name, slope in before.items():
        torch.testing.assert_close(found[name], slope, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("first", [True, False])
def test_peft_before_and_after(first):
    peft = pytest.importorskip("peft", reason="peft is not installed")
    model = model_of("qwen3_next", torch.float32)
    config = peft.LoraConfig(r=2, target_modules=["in_proj_qkvz", "out_proj"])
    if first:
        assert accelerate(model)
        model = peft.get_peft_model(model, config)
    else:
        model = peft.get_peft_model(model, config)
        assert accelerate(model)
    packed = logits(model, tokens(), position_ids=POSITIONS)
    alone = [logits(model, part) for part in (tokens()[:, :8], tokens()[:, 8:])]
    torch.testing.assert_close(packed, torch.cat(alone, 1), rtol=1e-4, atol=1e-4)
    packed.sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    restore(model.get_base_model() if first else model)


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("kind", ["mamba", *KINDS])
def test_a_trainer_trains_on_packed_sequences(kind, checkpointed, tmp_path):
    """Its losses are those of a loop over the samples, each alone, in the same order."""
    pytest.importorskip("accelerate", reason="Trainer needs the package accelerate")
    from transformers import DataCollatorWithFlattening, Trainer, TrainingArguments

    rng = torch.Generator().manual_seed(0)
    samples = [torch.randint(5, 60, (n,), generator=rng).tolist() for n in (9, 5, 12, 7, 11, 6)]
    args = TrainingArguments(
        tmp_path, max_steps=3, per_device_train_batch_size=2, report_to=[], logging_steps=1,
        save_strategy="no", use_cpu=True, learning_rate=1e-2, optim="sgd", max_grad_norm=0.0,
        lr_scheduler_type="constant", gradient_checkpointing=checkpointed, disable_tqdm=True,
        train_sampling_strategy="sequential",
    )  # fmt: skip
    model, other = model_of(kind, torch.float32), model_of(kind, torch.float32)
    with accelerated(model):
        trainer = Trainer(
            model, args, train_dataset=[dict(input_ids=x) for x in samples],
            data_collator=DataCollatorWithFlattening(),
        )  # fmt: skip
        trainer.train()
    found = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    descent = torch.optim.SGD(other.parameters(), 1e-2)
    right = []
    for pair in (samples[:2], samples[2:4], samples[4:]):
        ids = [torch.tensor([x]) for x in pair]
        losses = [
            nn.functional.cross_entropy(logits(other, x)[0, :-1], x[0, 1:], reduction="sum")
            for x in ids
        ]
        loss = sum(losses) / sum(x.shape[1] - 1 for x in ids)
        loss.backward()
        descent.step()
        descent.zero_grad()
        right.append(float(loss.detach()))
    assert found == pytest.approx(right, rel=2e-3)
