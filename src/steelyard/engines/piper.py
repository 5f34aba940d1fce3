"""Speech from texts by Piper. Runs in a child process alone."""

import re
import wave
from pathlib import Path
from typing import Any

from steelyard.engines.child import JobError

#: The voice speaks English alone: other scripts would come out as noise or silence.
_OTHER_SCRIPTS = re.compile(
    r"[\u0400-\u04ff\u0590-\u06ff\u0900-\u0dff\u0e00-\u0eff\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
#: The vendor's volume that is the voice's own.
PLAIN_VOLUME = 50


class SpeechError(JobError):
    """A text cannot be spoken; its text is for people."""

    kind = "text"


def speak(asked: dict[str, Any], weights: Path, out: Path) -> dict[str, Any]:
    """Speaks a text.

    Args:
        asked: `text`, and as far as they are given `format`, `volume` (0 to 100), `rate` (0.5 to 2).

    Returns:
        `files`, `duration_ms`, `sample_rate`.

    Raises:
        SpeechError: the text is not English, or has neither letters nor digits.
    """
    from piper import PiperVoice, SynthesisConfig

    if _OTHER_SCRIPTS.search(asked["text"]):
        raise SpeechError("the embedded voice speaks English alone; add a provider with a model for other languages")
    if not any(one.isalnum() for one in asked["text"]):
        raise SpeechError("nothing of it can be spoken")
    voice = PiperVoice.load(str(next(weights.glob("*.onnx"))))
    config = SynthesisConfig(
        length_scale=1 / (asked.get("rate") or 1), volume=asked.get("volume", PLAIN_VOLUME) / PLAIN_VOLUME
    )
    path = out / "speech.wav"
    with wave.open(str(path), "wb") as file:
        voice.synthesize_wav(asked["text"], file, syn_config=config)
        frames, sample_rate = file.getnframes(), voice.config.sample_rate
    kind = asked.get("format") or "wav"
    made = path if kind == "wav" else _convert(path, out / f"speech.{kind}", kind)
    return {"files": [str(made)], "duration_ms": frames * 1000 // sample_rate, "sample_rate": sample_rate}


def _convert(path: Path, to: Path, kind: str) -> Path:
    if kind == "pcm":
        with wave.open(str(path), "rb") as file:
            to.write_bytes(file.readframes(file.getnframes()))
        return to
    import av

    with av.open(str(path)) as source, av.open(str(to), "w") as goal:
        stream = goal.add_stream("mp3", rate=source.streams.audio[0].codec_context.sample_rate)
        for frame in source.decode(audio=0):
            goal.mux(stream.encode(frame))
        goal.mux(stream.encode(None))
    return to
