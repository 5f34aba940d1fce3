"""`steelyard speech`."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from cyclopts import App

from steelyard.base.errors import SetupFault
from steelyard.cli.context import print_json
from steelyard.cli.media_flags import HERE, EndpointFlags, calling, hinting, native_root, put_up, told
from steelyard.client.steelyard import Steelyard

app = App(name="speech", help="Speech from text, and text from speech.")
SYNTHESIS = "/services/audio/tts/SpeechSynthesizer"
TRANSCRIPTION = "/services/audio/asr/transcription"


@app.command
def create(
    text: str,
    *,
    model: str = "local/piper-joe",
    voice: str = "joe",
    format: str = "wav",  # noqa: A002 - the field's name
    out: Path | None = None,
    endpoint: EndpointFlags = HERE,
    json: bool = False,
) -> None:
    """Speak a text; prints the link of the sound, or where it was saved.

    Parameters
    ----------
    text
        What to say; the embedded voice speaks English alone.
    model
        The model's name.
    voice
        The voice's name.
    format
        wav, pcm or mp3.
    out
        Save it to this file.
    endpoint
        Whose.
    json
        Print JSON.
    """
    with calling(endpoint) as client, hinting(model, "piper-joe", "voice"):
        body = {"model": model, "input": {"text": text, "voice": voice, "format": format}}
        answer = client.post(native_root(client.endpoint) + SYNTHESIS, body).json()
        url = answer["output"]["audio"]["url"]
        if out is not None:
            client.save(url, out)
    if json:
        print_json(answer)
        return
    print(url if out is None else out)


@app.command
def transcribe(
    sound: str,
    *,
    model: str = "local/whisper-base",
    language: str | None = None,
    endpoint: EndpointFlags = HERE,
    json: bool = False,
) -> None:
    """Write down what is said in a sound or a film.

    Parameters
    ----------
    sound
        A file or a link.
    model
        The model's name.
    language
        Its language, such as zh or en; found out where nothing is said.
    endpoint
        Whose.
    json
        Print JSON with the times of every sentence and word.
    """
    with calling(endpoint) as client, hinting(model, "whisper-base", "speech"):
        root = native_root(client.endpoint)
        link = sound if "://" in sound else put_up(client, Path(sound))
        parameters = {} if language is None else {"language_hints": [language]}
        body = {"model": model, "input": {"file_urls": [link]}, "parameters": parameters}
        submitted = client.post(root + TRANSCRIPTION, body, {"X-DashScope-Async": "enable"}).json()
        with told(), Steelyard(root, client.endpoint.api_key, api="dashscope") as waiting:
            output = waiting.wait(submitted["output"]["task_id"])
        result = output["results"][0]
        if "transcription_url" not in result:
            raise SetupFault(f"{result['code']}: {result['message']}")
        with tempfile.NamedTemporaryFile() as file:
            heard: dict[str, Any] = msgspec.json.decode(
                client.save(result["transcription_url"], Path(file.name)).read_bytes()
            )
    if json:
        print_json(heard)
        return
    print(heard["transcripts"][0]["text"])
