"""The audit with the adapter for x-transformers."""

import pytest
import torch

pytest.importorskip("x_transformers", reason="x-transformers is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_decoder_is_judged_and_holds():
    from trilby.audit import adapter_of
    from trilby.audit.judge import judge

    told = []
    threads = torch.get_num_threads()
    judge(adapter_of("x-transformers"), "rotary", "quick", 60, lambda *it: told.append(it))
    torch.set_num_threads(threads)
    verdicts = {v["law"]: v["outcome"] for what, v in told if what == "verdict"}
    assert verdicts["causal"] == verdicts["resumes"] == verdicts["attention"] == "holds"
    assert "broken" not in verdicts.values()
