"""Alpha of an output: in its frames, copied as a stream of its own, or refused where it would be lost in silence."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vdeblur.errors import UsageError
from vdeblur.frames import Frame
from vdeblur.video.encode.containers import Container
from vdeblur.video.encode.encoder_options import EncodeOptions
from vdeblur.video.encode.raw_video import RawVideoSpec
from vdeblur.video.formats.pixel_formats import canonical_format
from vdeblur.video.info import SourceInfo


@dataclass(frozen=True)
class AlphaPlan:
    """Where alpha goes: the source and the frames as the encoder sees them."""

    info: SourceInfo
    spec: RawVideoSpec
    #: The frames are encoded without their alpha, whose stream is copied.
    apart: bool

    @staticmethod
    def of(info: SourceInfo, spec: RawVideoSpec, container: Container, options: EncodeOptions) -> AlphaPlan:
        """Decide by the container.

        Raises:
            UsageError: the source has alpha that is not decoded.
        """
        if info.video.hidden_alpha and options.pixel_format is None:
            raise UsageError(_hidden_alpha(info))
        copied = [stream.index for stream in info.streams if stream.part_of_video == "alpha"]
        if not (container.alpha_is_a_stream and copied and spec.format.alpha and info.input_url is not None):
            return AlphaPlan(info, spec, False)
        streams = (replace(one, part_of_video="copied alpha") if one.index in copied else one for one in info.streams)
        opaque = canonical_format(spec.format.name.replace("yuva", "yuv").replace("gbrap", "gbrp"))
        return AlphaPlan(replace(info, streams=tuple(streams)), replace(spec, format=opaque), True)

    def frame(self, frame: Frame) -> Frame:
        """A frame as it is encoded."""
        if not self.apart or not frame.format.alpha:
            return frame
        return replace(frame, planes=frame.planes[:-1], format=self.spec.format)


def _hidden_alpha(info: SourceInfo) -> str:
    """Why alpha would be lost, and what to do."""
    return (
        f"{info.name} has its alpha in a layer of HEVC, which PyAV's FFmpeg does not decode; make it ProRes first "
        "(ffmpeg -i IN -c:v prores_ks -pix_fmt yuva444p10le -c:a copy OUT.mov, with FFmpeg 9), or give alpha up with "
        "pixel_format='yuv420p' (--pix-fmt yuv420p)"
    )
