# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From the mean to the delta rule
#
# One sentence, and a triangle for each step. Each step changes one thing. The pages of the tutorial explain them; here you can change them.

# %%
import math

import torch

import trilby

words = "Shall I compare thee to a summer's day?".split()
letters = sorted({c for word in words for c in word.lower() if c.isalpha()})
counts = torch.tensor([[float(word.lower().count(c)) for c in letters] for word in words])
x = (counts / counts.norm(dim=1, keepdim=True))[None, :, None]  # [1, T, 1, letters], length 1
T = len(words)


def show(wei):
    """A triangle [.., T, T]: a row for each word that reads."""
    rows = wei.flatten(0, -3)[0].tolist()
    for t, (word, row) in enumerate(zip(words, rows, strict=True)):
        print(f"{word:>9}", *(f"{w:5.2f}" for w in row[: t + 1]))


# %% [markdown]
# ## The mean: all words so far count the same

# %%
mean = trilby.mean.weights(x[:, :, 0]).wei
assert torch.allclose(mean.sum(-1), torch.ones(1, T))
show(mean)

# %% [markdown]
# ## The weighted mean: each word has a score
#
# Here half of its number of letters. Look down a column: who reads makes no difference.

# %%
score = torch.tensor([len(word) / 2 for word in words])[None, :, None]
weighted = trilby.weighted.weights(x[:, :, 0], score).wei
show(weighted)

# %% [markdown]
# ## Attention: the score depends on who reads
#
# `softmax(q k^T / sqrt(d)) v`. Query, key and value are the letters of the word. A larger scale makes it choose.


# %%
def attention(q, k, v, scale):
    T = q.shape[1]
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))  # [B, H, T, d]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    scores = (scale * (q @ k.transpose(-1, -2))).masked_fill(future, float("-inf"))
    return (torch.softmax(scores, -1) @ v).transpose(1, 2)


scale = 16 / math.sqrt(len(letters))
ours = lambda q, k, v: trilby.attention.loop(q, k, v, scale=scale)[0]
assert trilby.same(lambda q, k, v: attention(q, k, v, scale), ours, x, x, x)
show(trilby.attention.weights(x, x, x, scale=scale).wei)

# %% [markdown]
# ## The state: what must be kept?
#
# The mean keeps a sum and a count. Attention keeps every key and value, and grows with the text.

# %%
_, of_mean = trilby.mean(x[:, :, 0])
_, of_attention = trilby.attention(x, x, x)
print({name: list(part.shape) for name, part in of_mean._asdict().items()})
print({name: list(part.shape) for name, part in of_attention._asdict().items()})

first, state = trilby.attention(x[:, :5], x[:, :5], x[:, :5])
second, state = trilby.attention(x[:, 5:], x[:, 5:], x[:, 5:], state)  # continue
torch.testing.assert_close(torch.cat([first, second], 1), trilby.attention(x, x, x)[0])

# %% [markdown]
# ## Linear attention: without `exp`, a sum is enough
#
# But it must be read before the future is added. `hasty` adds everything first, and every word reads the whole sentence.

# %%
show(trilby.linear.weights(x, x, x).wei)


def hasty(q, k, v):
    h = torch.einsum("bthk,bthv->bhkv", k, v)  # over all positions
    return torch.einsum("bthk,bhkv->bthv", q, h)


report = trilby.check(hasty, (x, x, x), laws=["causal"], effort="quick")
assert not report
report

# %% [markdown]
# ## The delta rule: take off what is found, then write
#
# Some weights are negative: what was similar is taken off again.

# %%
half = torch.full((1, T, 1), 0.5)
delta = trilby.delta.weights(x, x, x, half).wei
assert (delta < 0).any()
show(delta)

# %% [markdown]
# ## And with a gate the memory fades

# %%
gate = torch.full((1, T, 1), 0.8).log()
show(trilby.delta.weights(x, x, x, half, gate).wei)

# %% [markdown]
# ## All of them in one picture

# %%
trilby.explore(["mean", "weighted", "attention", "linear", "delta"], tokens=words)

# %% [markdown]
# ## Try
#
# - A sentence of your own, with a word twice. Which triangles notice?
# - `scale = 0` in attention. Which triangle is that?
# - `half = torch.ones(1, T, 1)`. What is left of a word when a similar one comes?
