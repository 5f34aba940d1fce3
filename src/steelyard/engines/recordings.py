"""Films and sound, decoded for real so that a damaged one is found out. Runs in a child process alone."""

from typing import Any

from steelyard.engines.child import JobError


class RecordingError(JobError):
    """A file is no film or sound that can be used; its text is for people."""

    kind = "recording"


def describe(path: str) -> dict[str, Any]:
    """What a film or a sound is; the first frame of each is decoded.

    Returns:
        `duration_s`; `video` (`codec`, `width`, `height`, `fps`) and `audio` (`codec`, `sample_rate`, `channels`), None where there is none.

    Raises:
        RecordingError: it is none, or it is damaged.
    """
    import av

    try:
        with av.open(path, metadata_errors="ignore") as file:
            video = next(iter(file.streams.video), None)
            audio = next(iter(file.streams.audio), None)
            seen = None if video is None else _look(file, video)
            file.seek(0)
            heard = None if audio is None else _listen(file, audio)
            length_us = file.duration or max((_length_us(one) for one in (video, audio) if one is not None), default=0)
    except RecordingError:
        raise
    except Exception as exc:
        # decoders fail in many ways, and all of them mean the same here
        raise RecordingError("the file is no film or sound that can be read, or it is damaged") from exc
    if seen is None and heard is None:
        raise RecordingError("the file has neither pictures nor sound")
    return {"duration_s": length_us / 1_000_000, "video": seen, "audio": heard}


def _look(file: Any, stream: Any) -> dict[str, Any]:
    frame = next(file.decode(stream))
    rate = stream.average_rate
    return {
        "codec": stream.codec_context.name,
        "width": frame.width,
        "height": frame.height,
        "fps": None if rate is None else round(float(rate), 3),
    }


def _listen(file: Any, stream: Any) -> dict[str, Any]:
    next(file.decode(stream))
    context = stream.codec_context
    return {"codec": context.name, "sample_rate": context.sample_rate, "channels": context.channels or 1}


def _length_us(stream: Any) -> int:
    if stream.duration is None or stream.time_base is None:
        return 0
    return int(stream.duration * stream.time_base * 1_000_000)
