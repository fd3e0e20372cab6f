# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The running mean, three ways and more
#
# Every position of a sequence gets the mean of itself and its past. Three short programs compute it. Are they the same
# function? And what are the other five ways that trilby has?

# %%
import torch
from torch.nn import functional as F

import trilby

torch.manual_seed(1337)
B, T, C = 4, 8, 2  # rows, positions (time), channels
x = torch.randn(B, T, C)
x.shape

# %% [markdown]
# ## A loop
#
# Position `t` reads the positions 0 to `t`.

# %%
xbow = torch.zeros(B, T, C)
for b in range(B):
    for t in range(T):
        xbow[b, t] = x[b, : t + 1].mean(0)

assert torch.equal(xbow[:, 0], x[:, 0])  # the first position has no past
print(x[0], xbow[0], sep="\n\n")

# %% [markdown]
# ## A matrix
#
# Row `t` has the weights of what position `t` reads. Each row sums to 1.

# %%
wei = torch.tril(torch.ones(T, T))
wei = wei / wei.sum(1, keepdim=True)
xbow2 = wei @ x

torch.testing.assert_close(xbow2, xbow)
wei

# %% [markdown]
# ## A softmax
#
# Equal scores give equal weights, and a score of `-inf` hides a position.

# %%
scores = torch.zeros(T, T).masked_fill(torch.tril(torch.ones(T, T)) == 0, float("-inf"))
xbow3 = F.softmax(scores, dim=-1) @ x

torch.testing.assert_close(xbow3, xbow)
torch.allclose(xbow, xbow3)

# %% [markdown]
# ## The same function?
#
# The last line above says `True` on some machines and `False` on others: `allclose` allows less than rounding where a value happens to
# be close to 0. `trilby.same` takes the functions, looks at them in float64, and knows how far rounding may carry them.


# %%
def loop(x):
    return torch.stack([x[:, : t + 1].mean(1) for t in range(x.shape[1])], 1)


def softmax(x):
    T = x.shape[1]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    scores = torch.zeros(T, T, dtype=x.dtype).masked_fill(future, float("-inf"))
    return F.softmax(scores, dim=-1) @ x


verdict = trilby.same(loop, softmax, x)
assert verdict
verdict

# %% [markdown]
# And a program that is wrong by a thousandth of the future is told apart:

# %%
wrong = trilby.same(loop, lambda x: softmax(x) + 0.001 * x.mean(1, keepdim=True), x)
assert not wrong
wrong

# %% [markdown]
# ## All forms
#
# `trilby.mean` has these three ways and five more: a scan, blocks, one position at a time, several processes, and a compiled kernel.

# %%
for name, form in trilby.mean.forms.items():
    verdict = trilby.same(loop, lambda x, form=form: form(x)[0], x)
    assert verdict
    print(f"{name:8} {verdict}")

# %% [markdown]
# ## The triangle, touched
#
# Move over a row to see what it reads, press Enter to keep it, and use the arrow keys. The other views compare the forms, walk through
# the state, and look for leaks.

# %%
trilby.explore(["mean", "ema:0.9"], x="sonnets", T=32)

# %% [markdown]
# ## Try
#
# - Let position `t` read itself and the next one: `x[b, : t + 2].mean(0)`. Ask `trilby.check` what it thinks of it.
# - Hide the position itself as well. What is in the first row now, and what does `softmax` make of it?
# - Draw `"attention"` beside the mean.
