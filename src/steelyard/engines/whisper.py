"""Texts of speech by Whisper. Runs in a child process alone; what it tells has the vendor's form. Source: dashscope.md 14."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from steelyard.engines import recordings
from steelyard.engines.recordings import RecordingError

#: Longer sound is refused: the vendor's own bound.
MAX_SECONDS = 12 * 3600


def describe(path: str) -> dict[str, Any]:
    """What a file's sound is.

    Returns:
        the vendor's `properties`.

    Raises:
        RecordingError: there is none, or it is too long.
    """
    found = recordings.describe(path)
    sound = found["audio"]
    if sound is None:
        raise RecordingError("the file has no sound")
    if found["duration_s"] > MAX_SECONDS:
        raise RecordingError(f"the sound is longer than {MAX_SECONDS // 3600} hours")
    return {
        "audio_format": sound["codec"],
        "channels": list(range(sound["channels"])),
        "original_sampling_rate": sound["sample_rate"],
        "original_duration_in_milliseconds": _ms(found["duration_s"]),
    }


def transcribe(
    path: str, weights: Path, hints: list[str], tell: Callable[[float], None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file's speech: (the vendor's `properties`, its `transcript`). Channels are heard together, as the first.

    Raises:
        RecordingError: there is no sound in it.
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
