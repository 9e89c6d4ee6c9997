"""Scores over time: a picture, and the video with its answers written in."""
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .figures import pyplot


def draw_timeline(timeline: Any, classes: Sequence[str], path: str | Path,
                  title: str = '', min_score: float = 0.,
                  num_classes: int = 8) -> None:
    """Draw scores over time: a band per class, the answers above them.

    Args:
        timeline (Timeline): The scores.
        classes (Sequence[str]): Names of the classes.
        path (str | Path): ``NAME.png``, or another format of Matplotlib.
        title (str): Above the picture. Defaults to ''.
        min_score (float): Of :meth:`Timeline.segments`. Defaults to 0.
        num_classes (int): The classes with the largest scores are drawn.
            Defaults to 8.
    """
    plt = pyplot()
    edges = timeline.edges
    shown = np.argsort(-timeline.scores.max(axis=0),
                       kind='stable')[:num_classes]
    scores = timeline.scores[:, shown].T  # (bands, N)
    fig, (upper, lower) = plt.subplots(
        2, sharex=True, figsize=(9, 1.6 + .3 * len(shown)),
        height_ratios=[1, max(2, len(shown))], layout='constrained')
    colours = plt.get_cmap('tab10')
    row = {int(label): i for i, label in enumerate(shown)}
    pixels = 9 * 70 / (edges[-1] - edges[0])  # a second, about
    for segment in timeline.segments(min_score):
        colour = colours(row.get(segment.label, 9) % 10)
        upper.axvspan(segment.start, segment.end, color=colour, alpha=.45,
                      linewidth=0)
        name = classes[segment.label].replace('$', r'\$')
        if (segment.end - segment.start) * pixels > 6 * len(name):
            upper.text((segment.start + segment.end) / 2, .5,
                       f'{name}\n{segment.score:.2f}', ha='center',
                       va='center', fontsize=8)
    upper.set(ylim=(0, 1), yticks=[.5], yticklabels=['answer'],
              title=title.replace('$', r'\$'))
    probabilities = scores.min() >= 0 and scores.max() <= 1
    image = lower.pcolormesh(
        edges, np.arange(len(shown) + 1), scores, cmap='viridis',
        vmin=0 if probabilities else None, vmax=1 if probabilities else None)
    lower.set(yticks=np.arange(len(shown)) + .5, xlabel='seconds',
              yticklabels=[classes[i].replace('$', r'\$') for i in shown],
              xlim=(edges[0], edges[-1]))
    lower.invert_yaxis()
    fig.colorbar(image, ax=[upper, lower], label='score')
    fig.savefig(path, dpi=100)
    plt.close(fig)


def annotate_video(frames: Any, timeline: Any, classes: Sequence[str],
                   path: str | Path, top_k: int = 3) -> None:
    """Write a video with the answers of every moment in its frames.

    Its size is even, as H.264 wants it, and it has no sound.

    Args:
        frames (FrameSource): The video, of which no frame was read yet.
        timeline (Timeline): Its scores.
        classes (Sequence[str]): Names of the classes.
        path (str | Path): ``NAME.mp4``, or another container for H.264.
        top_k (int): Classes of a moment. Defaults to 3.

    Raises:
        ValueError: If the file has a suffix that no container has.
        VideoReadError: If a frame cannot be decoded.
    """
    import av
    path = Path(path)
    part = path.with_name(f'{path.stem}.part{path.suffix}')
    try:
        container = av.open(str(part), 'w')
    except ValueError as error:
        raise ValueError(f'{path} is no name of a video: allowed is one such '
                         'as NAME.mp4') from error

    @lru_cache(maxsize=1)
    def label_of(window: int, width: int, height: int) -> np.ndarray:
        scores = timeline.scores[window]
        best = np.argsort(-scores, kind='stable')[:top_k]
        return _label([f'{classes[i]}  {scores[i]:.2f}' for i in best], width,
                      height)

    with container:
        stream: Any = None
        for number, frame in enumerate(frames):
            image = frames.rgb(frame)
            if stream is None:
                rate = Fraction(frames.fps).limit_denominator(2**15)
                height, width = (side // 2 * 2 for side in image.shape[:2])
                stream = container.add_stream('libx264', rate=rate)
                stream.width, stream.height = width, height
                stream.pix_fmt = 'yuv420p'
            image = np.ascontiguousarray(image[:height, :width])
            label = label_of(timeline.at(number / frames.fps), width, height)
            image[:label.shape[0], :label.shape[1]] = label
            container.mux(stream.encode(
                av.VideoFrame.from_ndarray(image, format='rgb24')))
        if stream is not None:
            container.mux(stream.encode())
    part.replace(path)


def _label(lines: list[str], width: int, height: int) -> np.ndarray:
    """Lines of text on black, (h, w, 3), no larger than the frame."""
    from PIL import Image, ImageDraw, ImageFont
    font = ImageFont.load_default(max(8, height // 18))
    text = '\n'.join(lines)
    box = ImageDraw.Draw(Image.new('RGB', (1, 1))).multiline_textbbox(
        (4, 4), text, font=font)
    image = Image.new('RGB', (min(width, int(box[2]) + 4),
                              min(height, int(box[3]) + 4)))
    ImageDraw.Draw(image).multiline_text((4, 4), text, font=font,
                                         fill=(255, 255, 255))
    return np.asarray(image)
