"""Predict videos: ``predict.py INPUT... [CONFIG.py] CHECKPOINT``.

INPUT is a file, a folder, a list (.txt, .csv, .lst), the number of a camera,
or an address (rtsp://, http://, file://). CONFIG may be left out where the
checkpoint holds one, as those of publish_model.py and of every training do.
"""
import sys
from collections import Counter
from dataclasses import replace
from itertools import count, groupby
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from respike_mmaction.apis import (
    AnswerFile,
    FrameSource,
    Span,
    Timeline,
    accelerate,
    expand,
    load_trained,
    predict_sources,
    table_line,
    write_scores,
    write_segments,
)
from respike_mmaction.apis.sources import is_live
from respike_mmaction.command_line import make_parser, run_tool
from respike_mmaction.visualization import annotate_video, draw_timeline

CONFIGS = '.py', '.json', '.yaml', '.yml'  # what MMEngine reads


def parse_args(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument('words', nargs='+', metavar='INPUT... [CONFIG.py] '
                        'CHECKPOINT')
    parser.add_argument('--root', help='folder of the paths in lists '
                        '(default: that of the list)')
    parser.add_argument('--label-map', help='names of the classes, one a line '
                        '(default: those in the checkpoint or the config)')
    parser.add_argument('--top-k', type=int, default=5, help='default: 5')
    parser.add_argument('--out', help='answers as NAME.csv or NAME.jsonl; '
                        'videos whose answers it holds are not run again')
    parser.add_argument('--window', type=Span.parse, help='an answer for each '
                        'window of 2.5 (seconds) or 64f (frames); default: '
                        'one a video, and 2 seconds of cameras and streams')
    parser.add_argument('--hop', type=Span.parse,
                        help='from window to window (default: the window)')
    parser.add_argument('--timeline', metavar='DIR', help='write scores over '
                        'time (CSV, picture) and segments of each video here')
    parser.add_argument('--min-score', type=float, default=0., help='of a '
                        'window, to belong to a segment (default: 0)')
    parser.add_argument('--annotate', metavar='OUT.mp4', help='write the '
                        'video with its answers, of one file')
    parser.add_argument('--batch-size', type=int, default=8,
                        help='videos or windows at once (default: 8)')
    parser.add_argument('--workers', type=int, default=0,
                        help='processes that read files (default: 0)')
    parser.add_argument('--device', default='cpu', help='default: cpu')
    parser.add_argument('--accelerate', nargs='?', const='int8',
                        choices=['int8', 'int8x2'], help='spikes in eight '
                        'bits, all else in bfloat16 (default: int8)')
    args = parser.parse_args(argv)
    *args.inputs, args.checkpoint = args.words
    args.config = None
    if args.inputs and Path(args.inputs[-1]).suffix in CONFIGS:
        args.config = args.inputs.pop()
    if not args.inputs:
        parser.error('name at least one INPUT before [CONFIG.py] CHECKPOINT')
    if (args.timeline or args.annotate or args.hop) and not args.window:
        parser.error('--hop, --timeline and --annotate need --window')
    if args.top_k < 1:
        parser.error(f'--top-k {args.top_k}: at least 1')
    return args


def unique_stems(names):
    """A name for the files of each video; folders and suffixes may differ."""
    stems, taken = {}, set()
    for name in names:
        stem = first = Path(name).stem
        for number in count(2):
            if stem not in taken:
                break
            stem = f'{first}-{number}'
        taken.add(stem)
        stems[name] = stem
    return stems


def share(answer):
    """How much of its file an answer over time leaves behind."""
    if answer.error is not None or not answer.num_frames or not answer.fps:
        return 0
    return min(1, answer.end * answer.fps / answer.num_frames)


class Report:
    """What is printed, written and counted of each video."""

    def __init__(self, args, network, sources):
        self.args = args
        self.network = network
        self.counts = Counter()
        self.file = args.out and AnswerFile(
            args.out, network.classes, self.run_name(), args.top_k)
        self.width = min(44, max(len(source.name) for source in sources))
        self.stems = unique_stems(source.name for source in sources)

    def run_name(self):
        window, hop = self.args.window, self.args.hop or self.args.window
        return self.network.identity + (
            f' window={window} hop={hop}' if window else '')

    def left(self, sources):
        """The sources that are not answered yet."""
        done = self.file.done if self.file else {}
        left = [s for s in sources if s.name not in done or is_live(s.name)]
        if len(left) < len(sources):
            held = [done[s.name] for s in sources
                    if s.name in done and not is_live(s.name)]
            self.counts.update(videos=len(held), unreadable=held.count(False))
            print(f'{len(held)} videos are left out: {self.args.out} holds '
                  f'them ({held.count(False)} unreadable)')
        return left

    def answer(self, prediction):
        print(table_line(prediction, self.network.classes, self.args.top_k,
                         self.width), flush=True)

    def video(self, name, predictions):
        """All answers of a video, or one of a camera."""
        counts, last = self.counts, predictions[-1]
        counts['videos'] += 1
        counts['unreadable'] += last.error is not None
        # a whole video of which less than half was looked at
        if not self.args.window and last.num_frames and (
                last.end - last.start) * last.fps < last.num_frames / 2:
            counts['parts'] += 1
        if not self.args.window and last.label >= 0:
            counts['labelled'] += 1
            counts['right'] += last.label in dict(last.top(1))
        if self.args.window and last.error is None:
            self.over_time(name, predictions)
        if self.file:
            self.file.write(predictions)

    def over_time(self, name, predictions):
        args, classes = self.args, self.network.classes
        timeline = Timeline.of(predictions)
        segments = timeline.segments(args.min_score)
        for segment in segments:
            print(f'  {segment.start:8.2f} - {segment.end:8.2f} s  '
                  f'{classes[segment.label]}  {segment.score:.3f}')
        if args.timeline:
            stem = Path(args.timeline) / self.stems[name]
            stem.parent.mkdir(parents=True, exist_ok=True)
            paths = [stem.with_name(stem.name + end) for end in (
                '.scores.csv', '.segments.csv', '.scores.png')]
            write_scores(timeline, classes, paths[0])
            write_segments(segments, classes, paths[1])
            draw_timeline(timeline, classes, paths[2], Path(name).name,
                          args.min_score)
            for path in paths:
                print('written:', path)
        if args.annotate:
            with FrameSource(name) as frames:
                annotate_video(frames, timeline, classes, args.annotate)
            print('written:', args.annotate)

    def end(self):
        counts = self.counts
        print(f"{counts['videos']} videos, {counts['unreadable']} cannot be "
              'read')
        if counts['labelled']:
            print(f"top-1 accuracy {counts['right'] / counts['labelled']:.4f} "
                  f"on {counts['labelled']} labelled videos")
        if counts['parts']:
            print(f"Of {counts['parts']} videos less than half was looked at "
                  '(second column): --window gives answers over time.')
        if self.file:
            print('written:', self.args.out)
        return int(counts['unreadable'] > 0)


def main(argv=None):
    args = parse_args(argv)
    sources = expand(args.inputs, args.root)
    if args.annotate and (len(sources) > 1 or is_live(sources[0].name)):
        raise ValueError('--annotate is for one file')
    network = load_trained(args.checkpoint, args.config, args.label_map,
                           args.device)
    if args.accelerate:
        network = replace(
            network, model=accelerate(network.model, args.accelerate),
            identity=f'{network.identity} {args.accelerate}')
    report = Report(args, network, sources)
    left = report.left(sources)
    answers = predict_sources(
        network, left, window=args.window, hop=args.hop,
        batch_size=args.batch_size, num_workers=args.workers)
    terminal = sys.stderr.isatty()
    console = Console(stderr=True)
    with Progress(console=console, disable=not terminal, transient=True,
                  redirect_stdout=sys.stdout.isatty()) as progress:
        task = progress.add_task('videos', total=len(left))
        for number, (name, group) in enumerate(
                groupby(answers, lambda answer: answer.file), 1):
            found = []
            for answer in group:
                report.answer(answer)
                progress.update(task, completed=number - 1 + share(answer))
                if is_live(name):
                    if report.file:
                        report.file.write([answer])
                    report.counts['unreadable'] += answer.error is not None
                else:
                    found.append(answer)
            if found:
                report.video(name, found)
            progress.update(task, completed=number)
            if not terminal and number * 10 // len(left) > (
                    number - 1) * 10 // len(left):
                print(f'{number} of {len(left)} videos', file=sys.stderr)
    return report.end()


if __name__ == '__main__':
    run_tool(main)
