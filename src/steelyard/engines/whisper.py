"""Texts of speech by Whisper. Runs in a child process alone; what it tells has the vendor's form. Source: dashscope.md 14."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from steelyard.engines.child import JobError

#: Longer sound is refused: the vendor's own bound.
MAX_SECONDS = 12 * 3600


class SoundError(JobError):
    """A file has no sound that can be heard; its text is for people."""

    kind = "sound"


def describe(path: str) -> dict[str, Any]:
    """What a file's sound is.

    Returns:
        the vendor's `properties`.

    Raises:
        SoundError: there is none.
    """
    import av

    try:
        with av.open(path, metadata_errors="ignore") as file:
            stream = next(iter(file.streams.audio), None)
            if stream is None:
                raise SoundError("the file has no sound")
            length_us = file.duration
            if length_us is None and stream.duration is not None and stream.time_base is not None:
                length_us = int(stream.duration * stream.time_base * 1_000_000)
            context = stream.codec_context
            properties = {
                "audio_format": context.name,
                "channels": list(range(context.channels or 1)),
                "original_sampling_rate": context.sample_rate,
                "original_duration_in_milliseconds": (length_us or 0) // 1000,
            }
    except SoundError:
        raise
    except Exception as exc:
        # decoders fail in many ways, and all of them mean the same here
        raise SoundError("the file is no sound or film that can be read, or it is damaged") from exc
    if (length_us or 0) > MAX_SECONDS * 1_000_000:
        raise SoundError(f"the sound is longer than {MAX_SECONDS // 3600} hours")
    return properties


def transcribe(
    path: str, weights: Path, hints: list[str], tell: Callable[[float], None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file's speech: (the vendor's `properties`, its `transcript`). Channels are heard together, as the first.

    Raises:
        SoundError: there is no sound in it.
    """
    from faster_whisper import WhisperModel

    properties = describe(path)
    model = WhisperModel(str(weights), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)
    language = next((one for one in hints if one in model.supported_languages), None)
    segments, info = model.transcribe(
        path, language=language, beam_size=5, word_timestamps=True, condition_on_previous_text=False
    )
    sentences: list[dict[str, Any]] = []
    for segment in segments:
        words = [
            {"begin_time": _ms(word.start), "end_time": _ms(word.end), "text": word.word.strip(), "punctuation": ""}
            for word in segment.words or ()
        ]
        sentences.append(
            {
                "begin_time": _ms(segment.start),
                "end_time": _ms(segment.end),
                "sentence_id": len(sentences) + 1,
                "text": segment.text.strip(),
                "words": words,
            }
        )
        tell(min(segment.end / max(info.duration, 0.001), 0.999))
    # what the file says of its length may be missing or wrong; this was decoded
    properties["original_duration_in_milliseconds"] = _ms(info.duration)
    transcript = {
        "channel_id": 0,
        "content_duration_in_milliseconds": sum(one["end_time"] - one["begin_time"] for one in sentences),
        "text": " ".join(one["text"] for one in sentences),
        "language": info.language,
        "sentences": sentences,
    }
    return properties, transcript


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
