"""The verifier judges originals against accelerated models: one function, one gradient."""

import pytest

import trilby
from tests.acceleration.models import FEW, MORE, NARROW, model_of, tokens
from trilby.functional import mamba2
from trilby.transformers import accelerated

LONG = [pytest.param(kind, marks=pytest.mark.long) for kind in FEW + MORE if kind != "mamba2"]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]


def verdict(kind):
    """Both as functions of the embeddings; the original runs while ours are not in place."""
    if kind in NARROW:
        pytest.skip("it does not run in float64, which the verifier needs")
    model = model_of(kind).float()
    x = model.get_input_embeddings()(tokens(B=2)).detach()

    def original(x):
        return model(inputs_embeds=x, use_cache=False).logits

    def ours(x):
        with accelerated(model):
            return original(x)

    return trilby.same(original, ours, x)


@pytest.mark.parametrize("kind", ["mamba2", *LONG])
def test_they_are_the_same_function(kind):
    """Where one of them rounds worse than float32 allows, it is not ours."""
    found = verdict(kind)
    told = str(found)
    assert found.kind == "same" or (found.kind == "rounding" and "of original rounds" in told), told


@pytest.mark.long
def test_one_that_is_a_thousandth_off_is_found(monkeypatch):
    scan = mamba2.mamba_chunk_scan_combined

    def wrong(*args):
        y = scan(*args)
        return (1.001 * y[0], *y[1:]) if isinstance(y, tuple) else 1.001 * y

    monkeypatch.setattr(mamba2, "mamba_chunk_scan_combined", wrong)
    assert verdict("mamba2").kind == "different"
