"""What a network saw of a clip, as a picture and as a page."""
import base64
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from .figures import pyplot
from .split import around_grey

_SHOWN = 4  # classes of an answer


def draw_trace(trace: Any, classes: Sequence[str], path: str | Path,
               title: str = '', stage: str | None = None,
               position: tuple[int, int] | None = None,
               layers: Sequence[str] = ()) -> None:
    """Draw a clip frame by frame: images, maps and curves over one time.

    Args:
        trace (Trace): Of :func:`respike_mmaction.apis.trace_clip`.
        classes (Sequence[str]): Names of the classes.
        path (str | Path): ``NAME.png``, or another format of Matplotlib.
        title (str): Above the picture. Defaults to ''.
        stage (str, optional): Whose attention is drawn. Defaults to None,
            stage 3 if it is fused, else the last that is.
        position (tuple[int], optional): Row and column of the pixel whose
            attention is drawn. Defaults to None, in each frame the one that
            changed most.
        layers (Sequence[str]): Whose spikes are drawn. Defaults to nothing:
            those of the last layer of each stage.

    Raises:
        ValueError: If there is no such layer, the stage is not fused or the
            position is not in the frame.
    """
    layers = layers or trace.last_layers
    for name in layers:
        if name not in trace.maps:
            raise ValueError(f'layer {name!r} is not allowed: layers are '
                             f'{tuple(trace.maps)}')
    frames = len(trace.frames)
    marks = [position or trace.moving_position(t) for t in range(frames)]
    heat = None
    if trace.attention:
        stage = stage or ('stage3' if 'stage3' in trace.attention else
                          [*trace.attention][-1])
        heat = [_attention(trace, stage, t, marks[t]) for t in range(frames)]
    plt = pyplot()
    height, width = trace.frames.shape[1:3]
    rows = 2 + (heat is not None) + len(layers)
    image_rows = 14 / frames * height / width
    figure, axes = plt.subplots(
        rows + 3, sharex=True, layout='constrained',
        figsize=(16, rows * image_rows + 5.4),
        height_ratios=[image_rows] * rows + [1.8] * 3)
    keys = [t - trace.steps[t] for t in range(frames)]
    _strip(axes[0], trace.frames, 'frames')
    _strip(axes[1], around_grey(trace.residuals), 'residuals')
    behind = 2
    if heat is not None:
        _strip(axes[2], trace.frames[keys], f'attention, {stage}')
        largest = max(x.max() for x in heat)
        for t in np.flatnonzero(trace.steps).tolist():
            _put(axes[2], t, heat[t], largest, .65)
            row, column = marks[t]
            axes[1].plot(t + .02 + .96 * (column + .5) / width,
                         1 - (row + .5) / height, 'o', color='lime',
                         markerfacecolor='none')
        behind = 3
    for axis, name in zip(axes[behind:], layers, strict=False):
        _strip(axis, trace.maps[name], f'spikes\n{name}',
               trace.maps[name].max())
    _curves(axes[rows:], trace, classes)
    figure.suptitle(title.replace('$', r'\$'))
    figure.supxlabel(f'frame; spikes: {trace.kind_of_maps}', fontsize=9)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _put(axis: Any, t: int, image: Any, largest: float | None = None,
         alpha: float = 1.) -> None:
    """An image, or a map, in the place of its frame."""
    axis.imshow(image, extent=(t + .02, t + .98, 0, 1), aspect='auto',
                cmap='inferno', vmin=0, vmax=largest or None, alpha=alpha)


def _strip(axis: Any, images: Any, name: str,
           largest: float | None = None) -> None:
    """Images side by side, each in the place of its frame."""
    for t, image in enumerate(images):
        _put(axis, t, image, largest)
    axis.set(xlim=(0, len(images)), ylim=(0, 1), xticks=[], yticks=[],
             ylabel=name)
    axis.yaxis.label.set(rotation=0, ha='right', va='center')
    for side in axis.spines.values():
        side.set_visible(False)


def draw_cams(frames: np.ndarray, cams: Sequence[dict[int, np.ndarray]],
              path: str | Path, title: str = '') -> None:
    """Draw class activation maps over their frames, a row a stage.

    Args:
        frames (np.ndarray): (T, H, W, 3), uint8.
        cams (Sequence[dict[int, np.ndarray]]): Of
            :func:`respike_mmaction.apis.grad_cam`.
        path (str | Path): ``NAME.png``, or another format of Matplotlib.
        title (str): Above the picture. Defaults to ''.
    """
    plt = pyplot()
    _, height, width, _ = frames.shape
    figure, axes = plt.subplots(
        1 + len(cams), layout='constrained', squeeze=False,
        figsize=(16, .6 + (1 + len(cams)) * 14 / len(frames) * height / width))
    _strip(axes[0, 0], frames, 'frames')
    for i, (axis, maps) in enumerate(zip(axes[1:, 0], cams, strict=True)):
        _strip(axis, frames, f'stage{i + 1}')
        for t, cam in maps.items():
            _put(axis, t, cam, cam.max() or 1., .6)
    axes[-1, 0].set(xticks=np.arange(len(frames)) + .5,
                    xticklabels=[*range(len(frames))], xlabel='frame')
    figure.suptitle(title.replace('$', r'\$'))
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _attention(trace: Any, stage: str, t: int,
               position: tuple[int, int]) -> np.ndarray:
    """Weights of a pixel over the key frame, (h', w')."""
    if stage not in trace.attention:
        raise ValueError(f'stage={stage!r} is not allowed: attended are '
                         f'{tuple(trace.attention)}')
    size, attention = trace.frames.shape[1:3], trace.attention[stage]
    if not all(0 <= x < n for x, n in zip(position, size, strict=True)):
        raise ValueError(f'position={position} is not allowed: row and column '
                         f'of a frame of {size[0]} x {size[1]} (H x W)')
    row, column = (x * g // n for x, g, n in zip(
        position, attention.grid, size, strict=True))
    weights = attention.weights[t, row * attention.grid[1] + column]
    return weights.reshape(attention.key_grid)


def _curves(axes: Any, trace: Any, classes: Sequence[str]) -> None:
    scores, energy, rates = axes
    middle = np.arange(len(trace.frames)) + .5
    for label in _largest(trace.scores):
        scores.plot(middle, trace.scores[:, label], 'o-',
                    label=classes[label].replace('$', r'\$'))
    scores.set(ylabel='score')
    energy.bar(middle, trace.energy, .9, color=[
        'C0' if step else 'C1' for step in trace.steps])
    energy.set(ylabel=f'mJ by\n{trace.energy_model}')
    for name, rate in trace.rates_of_stages.items():
        rates.plot(middle, 100 * rate, 'o-', label=name)
    rates.set(ylabel='firing rate / %', ylim=(0, None), xticks=middle,
              xticklabels=[f'{t}\nstep {step}' if step else f'{t}\nkey frame'
                           for t, step in enumerate(trace.steps)])
    for axis in (scores, rates):
        axis.legend(loc='center left', bbox_to_anchor=(1, .5), frameon=False)
        axis.grid(alpha=.3)


def _largest(scores: np.ndarray) -> list[int]:
    """Classes with the largest scores at any time."""
    return np.argsort(-scores.max(0), kind='stable')[:_SHOWN].tolist()


def write_page(trace: Any, classes: Sequence[str], path: str | Path,
               title: str = '', label: str | None = None) -> None:
    """Write one HTML file that plays the trace; it needs no network.

    Args:
        trace (Trace): Of :func:`respike_mmaction.apis.trace_clip`.
        classes (Sequence[str]): Names of the classes.
        path (str | Path): ``NAME.html``.
        title (str): Of the page. Defaults to ''.
        label (str, optional): The true class. Defaults to None.
    """
    data = dict(
        title=title,
        label=label,
        height=trace.frames.shape[1],
        width=trace.frames.shape[2],
        frames=[_png(image) for image in trace.frames],
        residuals=[_png(image) for image in around_grey(trace.residuals)],
        steps=trace.steps.tolist(),
        positions=[trace.moving_position(t)
                   for t in range(len(trace.frames))],
        best=[classes[i] for i in trace.scores.argmax(1)],
        scores={classes[i]: trace.scores[:, i].round(4).tolist()
                for i in _largest(trace.scores)},
        energy=trace.energy.tolist(),
        energyModel=trace.energy_model,
        rates=_rates(trace.rates_of_stages),
        layers=_rates(trace.rates),
        kindOfMaps=trace.kind_of_maps,
        lastLayers=trace.last_layers,
        maps={name: dict(grid=maps.shape[1:], **_bytes(maps))
              for name, maps in trace.maps.items()},
        attention={name: dict(grid=x.grid, keyGrid=x.key_grid,
                              **_bytes(x.weights))
                   for name, x in trace.attention.items()})
    template = files(__package__).joinpath('page.html').read_text('utf-8')
    # no text of a file name or a class can end the script
    text = json.dumps(data).replace('<', r'\u003c')
    Path(path).write_text(template.replace('"DATA"', text, 1), 'utf-8')


def _rates(rates: dict[str, np.ndarray]) -> dict:
    """JSON has no nan: null for key frames."""
    return {name: [None if np.isnan(x) else round(float(x), 6) for x in rate]
            for name, rate in rates.items()}


def _png(image: np.ndarray) -> str:
    import cv2
    _, content = cv2.imencode('.png', image[..., ::-1])
    return base64.b64encode(content.tobytes()).decode()


def _bytes(values: np.ndarray) -> dict:
    """Values as bytes, 255 the largest of all."""
    largest = float(values.max()) or 1.
    content = (255 * values / largest).round().astype(np.uint8).tobytes()
    return dict(largest=largest, data=base64.b64encode(content).decode())
