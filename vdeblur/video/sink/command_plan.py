"""Command plan: the FFmpeg command lines of a job, from the video plan and the stream plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from vdeblur.video.changes.side_data_watch import CAPTIONS, LOST_SIDE_DATA
from vdeblur.video.encode.containers import Container
from vdeblur.video.encode.raw_video import RawVideoSpec
from vdeblur.video.encode.video_plan import VideoPlan
from vdeblur.video.ffmpeg.command import Input, Output, OutputStream, build_command, file_url
from vdeblur.video.ffmpeg.user_arguments import UserArguments, sort_arguments
from vdeblur.video.formats.pixel_formats import canonical_format
from vdeblur.video.info import SourceInfo
from vdeblur.video.segments.joining import container_aspect
from vdeblur.video.sink.picture_files import lost_tags_of
from vdeblur.video.sink.spatial_marks import SpatialMarks, marks_for
from vdeblur.video.sink.targets import Target
from vdeblur.video.streams.file_tags import moved_tags
from vdeblur.video.streams.outcomes import Outcome
from vdeblur.video.streams.plan import StreamPlan
from vdeblur.video.streams.retimed_copy import RetimedCopy
from vdeblur.video.streams.timeline import Timeline

#: Input options that apply to the encoded video as well.
_KEPT_OPTIONS = frozenset({"display_rotation", "display_hflip"})
#: MP4's own bookkeeping, which FFmpeg shows as tags; every file has its own.
_BRAND_TAGS = ("major_brand", "minor_version", "compatible_brands")
#: Largest timescale of an MP4 for whole ticks of both video and audio.
_FINEST_CLOCK = 1_000_000


@dataclass(frozen=True)
class CommandPlan:
    """Everything that is decided before the first frame: video, streams, attachments and target."""

    info: SourceInfo
    container: Container
    spec: RawVideoSpec
    video: VideoPlan
    streams: StreamPlan
    #: Covers and fonts to attach: URL and tags.
    attached: tuple[tuple[str, tuple[str, ...]], ...]
    extra: tuple[str, ...]
    target: Target
    #: A single picture is written, to a file of just that name.
    single: bool
    #: The source's other streams on the time line of its pictures, where its own clock is not on one.
    retimed: RetimedCopy | None = None
    #: Closed captions are put back into the pictures, for they are encoded in segments.
    keeps_captions: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """Copies, conversions and losses, for people."""
        lost = self._lost()
        notes = [*self.streams.notes, *self.video.notes]
        if lost:
            notes.append(f"not kept: {', '.join(lost)}")
        if self.info.chapters and self.info.input_url is None:
            notes.append("chapters do not come along from a pipe")
        return tuple(notes)

    @property
    def lost_outcomes(self) -> list[Outcome]:
        """The same losses for the line at the end, but for those of pictures."""
        where = dict.fromkeys(self._lost_of_frames(), f"no place in {self.container.name}")
        if self.video.encoder.carries_captions and (captions := LOST_SIDE_DATA[CAPTIONS]) in where:
            where[captions] = "not encoded in segments"
        return [Outcome("left out", "tag", words, why) for words, why in where.items()]

    @cached_property
    def marks(self) -> SpatialMarks:
        """What is kept of the projection of 360° video and the arrangement of 3D video."""
        video = self.info.video
        same = (self.spec.width, self.spec.height) == (video.width, video.height)
        changeable = self.target.seekable and self.target.partial_path is not None
        return marks_for(video.spatial, self.container, changeable=changeable, same_picture=same)

    def command(self, timeline: Timeline) -> list[str]:
        """Command that encodes the raw frames from the pipe, with the source's other streams."""
        pipe_options = dict(self.video.input_options)
        if timeline.lead:
            pipe_options["itsoffset"] = f"-{timeline.lead_seconds}"
        return self._whole(timeline, Input("pipe:0", pipe_options), self.video.options, self.extra)

    def segment_command(self, path: Path, carrier: Container) -> list[str]:
        """Command that encodes the raw frames from the pipe, and nothing else, into a segment."""
        stream = OutputStream(0, from_pipe=True, options=self.video.options)
        options = carrier.time_options(self.spec.time_base)
        output = Output(file_url(str(path)), carrier.muxer, options, extra=self.arguments.video)
        return build_command(Input("pipe:0", self.video.input_options), [stream], output)

    def joining_command(self, timeline: Timeline, carrier: Container) -> list[str]:
        """Command that copies the joined segments from the pipe, and muxes them with the source's other streams."""
        turn = {name: value for name, value in self.video.input_options.items() if name in _KEPT_OPTIONS}
        return self._whole(
            timeline, Input("pipe:0", {**turn, "format": carrier.muxer}), self._copied_video(), self.arguments.others
        )

    def _copied_video(self) -> dict[str, str]:
        """Options of the encoded video when it is copied; PyAV does not pass the pixel aspect ratio on."""
        options = {"c": "copy"}
        if "tag" in self.video.options:
            options["tag"] = self.video.options["tag"]
        if aspect := container_aspect(self.video, self.spec):
            options["aspect"] = f"{aspect.numerator}:{aspect.denominator}"
        return options

    @property
    def arguments(self) -> UserArguments:
        """The user's own options, sorted into those of the video and the others."""
        return sort_arguments(self.extra)

    def _whole(
        self, timeline: Timeline, pipe: Input, video_options: Mapping[str, str], extra: tuple[str, ...]
    ) -> list[str]:
        info, position = self.info, self.streams.video_position
        streams = list(self.streams.streams)
        options = {**streams[position].options, **video_options}
        tags = (*streams[position].tags, *self._untrue(), *self.marks.tags)
        if self.marks.room:
            tags = (*tags, f"title={self.marks.room}")
        streams[position] = replace(streams[position], options=options, tags=tags)
        source = copy = None
        if info.input_url is not None:
            source = Input(info.input_url, {**info.input_options, **timeline.source_options()})
        else:
            streams = [replace(stream, tags_of=None) for stream in streams]
        if self.retimed is not None:
            copy = Input(self.retimed.url, self.retimed.input_options(timeline.source_options()))
        output = Output(
            self.target.url,
            self.container.muxer,
            self._options(timeline),
            self._tags(),
            self._words(),
            self.attached,
            extra,
        )
        index = info.video.stream_index
        return build_command(pipe, streams, output, source=source, copy=copy, video_index=index)

    def _clock(self, ticks: int) -> int:
        """Movie timescale of MP4, in which late starts are counted: the video's, finer where audio needs it."""
        for stream in self.info.streams:
            if stream.sample_rate and math.lcm(ticks, stream.sample_rate) <= _FINEST_CLOCK:
                ticks = math.lcm(ticks, stream.sample_rate)
        return ticks

    def _untrue(self) -> tuple[str, ...]:
        """Tags of the source's video to remove, because they are wrong for the new one (alpha)."""
        tags = self.info.streams[self.info.video.stream_index].metadata
        given_up = not canonical_format(self.video.pixel_format).alpha
        return tuple(f"{name}=" for name in tags if given_up and name.lower() == "alpha_mode")

    def _lost(self) -> dict[str, None]:
        """Side data of the frames that the output will lose, in words."""
        pictures = lost_tags_of(self.info, self.container, self.video.encoder, changeable=self.target.seekable)
        return dict.fromkeys([*self._lost_of_frames(), *pictures])

    def _lost_of_frames(self) -> dict[str, None]:
        kept = CAPTIONS if self.keeps_captions else None
        names = [name for name in self.info.video.side_data if name in LOST_SIDE_DATA and name != kept]
        return dict.fromkeys([*self.marks.lost, *(LOST_SIDE_DATA[name] for name in names)])

    def _tags(self) -> tuple[str, ...]:
        """Tags of the file that FFmpeg does not copy by itself, and those to remove."""
        tags = {} if self.info.input_url is not None else dict(self.info.metadata)
        tags |= {name: "" for name in _BRAND_TAGS if name in self.info.metadata}
        # In a pipe the header cannot be changed later; a date that is said twice is better than none.
        dated_later = self.newer_list and self.target.partial_path is not None
        tags |= moved_tags(self.info, self.container, newer_list=self.newer_list, dated_later=dated_later)
        return tuple(f"{name}={value}" for name, value in tags.items())

    def _words(self) -> tuple[str, ...]:
        """Program names and stream identifiers (PID), from one transport stream to another."""
        identifiers = self.container.identifiers
        if identifiers is None:
            return ()
        words: tuple[str, ...] = ()
        if self.info.programs.programs:
            indexes = [stream.tags_of for stream in self.streams.streams]
            pids = [self.info.streams[index].id for index in indexes if index is not None]
            words = self.info.programs.words(pids, identifiers)
        if "-streamid" not in words:
            words += tuple(identifiers.words_for_videos([stream.kind for stream in self.streams.streams]))
        return words

    @property
    def newer_list(self) -> bool:
        """Whether tags need the list of MP4 and QuickTime that takes any name."""
        names = self.info.metadata
        return self.container.iso_base_media and any(_needs_newer_list(name, self.container) for name in names)

    def _options(self, timeline: Timeline) -> dict[str, str]:
        options = {
            **self.container.output_options(self.spec, seekable=self.target.seekable),
            **timeline.output_options(),
            # Audio may arrive long before a slow first frame.
            "max_muxing_queue_size": "100000",
        }
        if self.container.iso_base_media:
            options["movie_timescale"] = str(self._clock(int(options["movie_timescale"])))
            if self.newer_list:
                options["movflags"] += "+use_metadata_tags"
        if self.container.identifiers is not None:
            options |= self.info.programs.options()
        if not self.streams.chapters:
            options["map_chapters"] = "-1"
        if self.target.is_standard_output or self.target.sink is not None:
            options["flush_packets"] = "1"  # whoever reads the pipe may wait for each frame
        if self.single:
            options["update"] = "1"
        elif self.container.one_file_a_frame:
            options["start_number"] = self.info.input_options.get("start_number", "1")
        return options


def _needs_newer_list(tag: str, container: Container) -> bool:
    return tag.lower() not in _BRAND_TAGS and tag.lower().split("-")[0] not in container.classic_tags
