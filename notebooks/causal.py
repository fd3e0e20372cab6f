# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Is my model causal?
#
# A model that reads the future trains very well and is of no use. Here is one that does, how to find out, and how to mend it.

# %%
import torch
from torch import nn

import trilby


class Block(nn.Module):
    """A convolution over time and a residual connection: [B, T, C] -> [B, T, C]."""

    def __init__(self, C=8):
        super().__init__()
        self.conv = nn.Conv1d(C, C, kernel_size=3, padding=1)

    def forward(self, x):
        return x + self.conv(x.transpose(1, 2)).transpose(1, 2)


torch.manual_seed(0)
x = torch.randn(2, 16, 8)
report = trilby.check(Block(), x, effort="quick")
assert not report
report

# %% [markdown]
# The report names the smallest case: which output read which input. It also has a script that needs torch alone, for a bug report:

# %%
verdict = report.failed()[0]
assert verdict.law == "causal"
verdict

# %% [markdown]
# ## See it
#
# What lies above the diagonal is the future.

# %%
shown = trilby.explore(Block(), torch.randn(1, 24, 8))
assert not shown.ok
shown

# %% [markdown]
# ## Mend it
#
# Pad on the left only, so that position `t` sees `t - 2`, `t - 1` and `t`.


# %%
class Mended(Block):
    def forward(self, x):
        past = nn.functional.pad(x.transpose(1, 2), (2, 0))
        return x + nn.functional.conv1d(past, self.conv.weight, self.conv.bias).transpose(1, 2)


report = trilby.check(Mended(), x, laws=["causal"], effort="quick")
assert report
report

# %% [markdown]
# ## Leaks that are hard to see in the code
#
# Guess first, then run: which of these read the future?

# %%
C = 8
gru = nn.GRU(C, C, batch_first=True)
guesses = {
    "layer norm": nn.LayerNorm(C),
    "scaled to its peak": lambda x: x / x.abs().amax(1, keepdim=True),
    "attention with is_causal": lambda x: nn.functional.scaled_dot_product_attention(
        x, x, x, is_causal=True
    ),
    "attention without it": lambda x: nn.functional.scaled_dot_product_attention(x, x, x),
    "cumulative sum": lambda x: x.cumsum(1),
    "GRU": lambda x: gru(x)[0],
}
found = {}
for name, module in guesses.items():
    verdict = trilby.check(module, x, laws=["causal"], effort="quick").verdicts[0]
    found[name] = bool(verdict)
    print(f"{name:25} {verdict}")

assert [name for name, good in found.items() if not good] == [
    "scaled to its peak",
    "attention without it",
]

# %% [markdown]
# ## Try
#
# - A model of your own: `trilby.check(model, x)`, with tokens for `x` if it takes tokens.
# - `trilby.gallery` has modules with faults from public bug reports: run `trilby gallery` in a shell.
# - Put the check into a test, so that it stays true: the page "In tests and in CI" of the documentation.
