"""Figures that live in a page without a kernel: small models and plots in plain JavaScript.

A figure is a function in `viz/NAME.py`, which computes the numbers and calls `live_figure`, and a
template `viz/NAME.html`. `rate.py` and `rate.html` are an example. The smallest template is

    <style>
    $style
    </style>
    <figure class="live-figure half-life">
      <div class="still"><img src="$picture" alt="$alt"></div>
      <figcaption>
        What the figure shows. <span class="try" hidden>What to try, and what to look for.</span>
      </figcaption>
      <script type="application/json">$spec</script>
    </figure>
    <script>
    (function () {
    $plot
    wake("half-life", function ({ start }) {
      const controls = made("div", { class: "controls" });
      const text = made("output", { "aria-live": "polite" });
      const set = slider(controls, { min: 0, max: 8, step: 0.5, text: (v) => "z = " + shown(v) },
        draw);
      function draw(value) {
        set(value);
        text.textContent = "half of it is " + shown(value / 2);
      }
      draw(start);
      return [text, controls];
    });
    })();
    </script>

`wake` calls the function once for every figure of this class, with the content of `$spec`, and
shows what the function returns in place of the still picture, which `as_picture` makes. `plot.js`
also has buttons, a legend and axes. Its sliders and buttons work with keys and fingers. You write
what a screen reader needs: an `aria-label` of every plot, which changes with it, and an `output`
that says the result. Join strings with `+`, because `$` in a template always names a part.

Add the figure to `FIGURES` in `tests/viz/test_live_common.py`, which tests what all figures have in
common, and write `tests/viz/test_live_NAME.py`, which compares the numbers in Chromium with those
of torch. In a notebook, the cell that shows the figure has the tag `nbval-ignore-output`.
"""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST = 300_000  # bytes of a figure's HTML


@dataclass(frozen=True)
class LiveFigure:
    """Displays itself in a notebook or a page. `html` stands alone: no kernel, file or network."""

    html: str
    summary: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.summary


def live_figure(template: str, summary: str, **parts: object) -> LiveFigure:
    """A figure from a template of this folder, in which `$name` stands for each part.

    A template can also use `$network` (decoders), `$plot` (sliders, buttons, plots) and `$style`.
    Raises ValueError for a `$name` without a part, and for a figure above 300 kB.
    """
    here = files("coursekit.viz")
    files_of = {"network": "network.js", "plot": "plot.js", "style": "live.css"}
    shared = {name: here.joinpath(file).read_text("utf-8") for name, file in files_of.items()}
    text = Template(here.joinpath(template).read_text("utf-8"))
    try:
        html = text.substitute(parts, **shared)
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{template} has a `$` that names none of its parts ({', '.join([*parts, *shared])}): "
            f"{error}. JavaScript there joins strings with +, not with ${{...}}"
        ) from error
    if len(html) > _LARGEST:
        raise ValueError(
            f"the figure takes {len(html) // 1000} kB, but {_LARGEST // 1000} kB are allowed: use "
            "a decoder of fewer weights, or fewer pictures"
        )
    return LiveFigure(html, summary)


def packed(decoder: nn.Module, latent_dim: int) -> dict[str, Any]:
    """A decoder (N, L) -> logits (N, C, H, W) for `network.js`, with a sigmoid at its end.

    Weights are rounded to int8 with one scale per output channel: that changes a pixel by about one
    gray level. Batch normalization is folded into the layer before it, with its running statistics.
    Raises ValueError for layers other than Linear, ConvTranspose2d, Conv2d of stride 1, BatchNorm2d
    right after a convolution, ReLU, LeakyReLU and Unflatten.
    """
    floats: list[Tensor] = []
    whole: list[Tensor] = []
    layers: list[dict[str, Any]] = []
    with torch.no_grad():
        x = torch.zeros(1, latent_dim)
        parts = list(_leaves(decoder))
        for before_it, layer, following in zip(
            [None, *parts[:-1]], parts, [*parts[1:], None], strict=True
        ):
            before = x
            x = x if isinstance(layer, nn.BatchNorm2d) else layer(x)
            if isinstance(layer, nn.ReLU | nn.LeakyReLU):
                slope = layer.negative_slope if isinstance(layer, nn.LeakyReLU) else 0.0
                layers.append({"kind": "rectifier", "slope": slope})
            elif isinstance(layer, nn.Linear | nn.ConvTranspose2d | nn.Conv2d):
                entry, weight, bias, axis = _weights(layer, before, x)
                if isinstance(following, nn.BatchNorm2d):
                    weight, bias = _folded(weight, bias, axis, following)
                scale = weight.abs().movedim(axis, 0).flatten(1).amax(1).clamp(min=1e-12) / 127
                shape = [-1 if d == axis else 1 for d in range(weight.dim())]
                floats += [bias, scale]
                whole.append((weight / scale.view(shape)).round().to(torch.int8).flatten())
                layers.append(entry)
            elif not isinstance(layer, nn.Unflatten) and not (
                isinstance(layer, nn.BatchNorm2d)
                and isinstance(before_it, nn.ConvTranspose2d | nn.Conv2d)
            ):
                raise ValueError(
                    f"{type(layer).__name__} cannot be drawn in a page here: expected a decoder of "
                    "Linear, ConvTranspose2d, Conv2d, BatchNorm2d right after a convolution, ReLU, "
                    "LeakyReLU and Unflatten"
                )
    numbers = torch.cat(floats).float()
    data = numbers.numpy().tobytes() + torch.cat(whole).numpy().tobytes()
    return {
        "layers": [*layers, {"kind": "sigmoid"}],
        "floats": len(numbers),
        "weights": base64.b64encode(data).decode(),
    }


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """The layers in the order in which they run, of nn.Sequential in nn.Sequential."""
    if isinstance(module, nn.Sequential):
        for part in module:
            yield from _leaves(part)
    else:
        yield module


def _weights(
    layer: nn.Linear | nn.ConvTranspose2d | nn.Conv2d, x: Tensor, y: Tensor
) -> tuple[dict[str, Any], Tensor, Tensor, int]:
    """What the page is told of a layer x -> y, its weight and bias, the weight's output axis."""
    weight = layer.weight.detach()
    bias = torch.zeros(y.shape[1]) if layer.bias is None else layer.bias.detach()
    if isinstance(layer, nn.Linear):
        entry = {"kind": "linear", "inputs": layer.in_features, "outputs": layer.out_features}
        return entry, weight, bias, 0
    square = layer.kernel_size[0] == layer.kernel_size[1] and layer.stride[0] == layer.stride[1]
    turned = isinstance(layer, nn.ConvTranspose2d)
    if (
        not square
        or layer.groups != 1
        or layer.dilation != (1, 1)
        or isinstance(layer.padding, str)
    ):
        raise ValueError(f"{layer} cannot be drawn in a page: expected a plain, square kernel")
    if not turned and layer.stride != (1, 1):
        raise ValueError(f"{layer} cannot be drawn in a page: expected stride 1")
    entry = {
        "kind": "transposed" if turned else "convolution",
        "inputs": layer.in_channels,
        "outputs": layer.out_channels,
        "kernel": layer.kernel_size[0],
        "stride": layer.stride[0],
        "padding": list(layer.padding),
        "from": list(x.shape[2:]),
        "to": list(y.shape[2:]),
    }
    return entry, weight, bias, 1 if turned else 0


def _folded(weight: Tensor, bias: Tensor, axis: int, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer and the batch normalization after it, as one layer."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
    shape = [-1 if d == axis else 1 for d in range(weight.dim())]
    return weight * gain.view(shape), (bias - norm.running_mean) * gain + norm.bias.detach()


def as_picture(figure: "Figure") -> str:
    """A matplotlib figure as a data URL of a PNG, for readers without JavaScript. Closes it."""
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    plt.close(figure)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def as_data_url(picture: Tensor, largest: int) -> str:
    """A picture (C, H, W) in [0, 1] as a data URL: PNG if `largest` bytes allow it, else JPEG."""
    from PIL import Image

    pixels = (picture * 255).round().to(torch.uint8).permute(1, 2, 0).squeeze(-1)
    image = Image.fromarray(pixels.numpy())
    for form, options in (
        ("png", {}),
        ("jpeg", {"quality": 90}),
        ("jpeg", {"quality": 75}),
        ("jpeg", {"quality": 50}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        text = base64.b64encode(buffer.getvalue()).decode()
        if len(text) <= largest:
            break
    return f"data:image/{form};base64,{text}"
