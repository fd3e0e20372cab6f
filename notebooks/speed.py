# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Speed
#
# One function in several programs, and how long each of them takes here. The times are those of your machine, now, so nothing below
# expects a certain number. What is expected is that the results agree: a wrong program is not timed.

# %%
import torch

import trilby
from trilby.bench import interleaved

T, C = 256, 64
x = torch.randn(1, T, C, generator=torch.Generator().manual_seed(0))


def race(ways, rounds=3):
    """The median of each way, all of them in turn."""
    timings = interleaved(ways, rounds=rounds)
    fastest = min(map(timings.median, ways))
    for name in sorted(ways, key=timings.median):
        middle = timings.median(name)
        print(f"{name:14} {1e3 * middle:9.3f} ms {middle / fastest:8.1f} times the fastest")


# %% [markdown]
# ## The mean
#
# The copy does nothing but read and write as much. It is the limit.

# %%
forms = {name: form for name, form in trilby.mean.forms.items() if name not in ("step", "shard")}
for name, form in forms.items():
    assert trilby.same(trilby.mean.scan, form, x[:, :16], gradients=False), name

y = torch.empty_like(x)
count = torch.arange(1, T + 1)[:, None]
ways = {name: lambda form=form: form(x) for name, form in forms.items()}
race(ways | {"a copy": lambda: y.copy_(x), "cumsum / n": lambda: x.cumsum(1) / count})

# %% [markdown]
# ## How it grows
#
# The matrix has `T * T` numbers: twice the length, four times the work. The loop and the kernel do twice the work.

# %%
for length in (128, 256):
    print("T =", length)
    part = x[:, :length]
    few = {name: forms[name] for name in ("matrix", "scan", "fused")}
    race({name: lambda form=form, part=part: form(part) for name, form in few.items()})

# %% [markdown]
# ## The delta rule
#
# Here a step depends on what the last one wrote. `chunk` is made of products of small matrices, `fused` is a compiled kernel.

# %%
given = trilby.delta.draw(B=1, T=64, H=2, K=32, V=32)
delta = {name: trilby.delta.forms[name] for name in ("loop", "chunk", "fused")}
for name, form in delta.items():
    assert trilby.same(trilby.delta.loop, form, *given, gradients=False), name

race({name: lambda form=form: form(*given) for name, form in delta.items()})

# %% [markdown]
# ## One token after another
#
# While a model writes, each call has one position. `trilby.delta` with a state does the same work for the thousandth token as for the
# first. Attention reads all keys so far.

# %%
q, k, v = torch.randn(3, 1, 2048, 2, 32, generator=torch.Generator().manual_seed(0))
states = {seen: trilby.attention(q[:, :seen], k[:, :seen], v[:, :seen])[1] for seen in (16, 2047)}
last = q[:, -1:], k[:, -1:], v[:, -1:]
race(
    {f"after {seen}": lambda s=state: trilby.attention(*last, s) for seen, state in states.items()}
)

# %% [markdown]
# ## Try
#
# - `T = 4096`, and leave "loop" out. Who wins now?
# - Which form does `trilby.mean(x)` take? Ask `trilby.mean.best(x)`.
# - `trilby bench delta` in a shell times every form, beside a plain copy, after it has verified each of them.
