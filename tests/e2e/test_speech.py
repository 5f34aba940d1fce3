"""Speech from texts and texts from speech, by the embedded models and by a vendor that cannot reach us."""

import io
import json
import re
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from installation import Installation, Served
from upstream.task_vendor import TaskVendor, sound, task_vendor_config

TRANSCRIPTIONS, SPEECH, MULTIMODAL = (
    "/api/v1/services/audio/asr/transcription",
    "/api/v1/services/audio/tts/SpeechSynthesizer",
    "/api/v1/services/aigc/multimodal-generation/generation",
)
#: The voice never says it twice in the same way: of the fox one in thirty was a "quit brown fox" to the small model that hears it. This
#: was heard 65 times of 65, as sound and as MP3.
TEXT = "Good morning. The weather is very nice today."


@pytest.fixture(scope="module")
def there() -> Iterator[TaskVendor]:
    with TaskVendor() as vendor:
        yield vendor


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory, there: TaskVendor) -> Iterator[Served]:
    installation = Installation(tmp_path_factory.mktemp("speaking"), task_vendor_config(there))
    for name in ("piper-joe", "whisper-base"):
        installation.cli("models", "pull", name)
    with installation:
        yield Served(installation)


def ask(served: Served, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    return httpx.post(served.origin + path, headers={**served.headers(), **headers}, json=body, timeout=120)


def speak(served: Served, text: str = TEXT, **wishes: Any) -> dict[str, Any]:
    answer = ask(served, SPEECH, {"model": "local/piper-joe", "input": {"text": text, "voice": "joe", **wishes}})
    assert answer.status_code == 200, answer.text
    return answer.json()


def hear(served: Served, model: str, links: list[str] | str, **headers: str) -> dict[str, Any]:
    asked = {"file_url": links} if isinstance(links, str) else {"file_urls": links}
    answer = ask(
        served,
        TRANSCRIPTIONS,
        {"model": model, "input": asked, "parameters": {"language_hints": ["en"]}},
        **{"X-DashScope-Async": "enable", **headers},
    )
    assert answer.status_code == 200, answer.text
    task_id = answer.json()["output"]["task_id"]
    give_up_at = time.monotonic() + 120
    while time.monotonic() < give_up_at:
        shown = httpx.get(f"{served.origin}/api/v1/tasks/{task_id}", headers=served.headers()).json()
        if shown["output"]["task_status"] in ("SUCCEEDED", "FAILED"):
            return shown
        time.sleep(0.1)
    raise AssertionError(shown)


def upload(served: Served, data: bytes, name: str = "a.wav") -> str:
    files = {"file": (name, data), "purpose": (None, "inference")}
    answer = httpx.post(f"{served.origin}/api/v1/files", headers=served.headers(), files=files)
    return f"fileid://{answer.json()['data']['uploaded_files'][0]['file_id']}"


def receipt(served: Served, request_id: str) -> dict[str, Any]:
    give_up_at = time.monotonic() + 10
    while time.monotonic() < give_up_at:
        answer = httpx.get(
            f"{served.origin}/control/v1/requests/{request_id}/receipt", headers=served.headers(served.admin_key)
        )
        if answer.status_code == 200:
            return answer.json()
        time.sleep(0.2)
    raise AssertionError(answer.text)


def test_spoken_and_heard_again(speaking: Served) -> None:
    """A text, its own link, the text: the link is followed by nobody."""
    spoken = speak(speaking)
    audio = spoken["output"]["audio"]
    assert audio["expires_at"] > time.time() + 3600
    assert spoken["usage"] == {"characters": len(TEXT)}
    data = httpx.get(audio["url"])
    assert data.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(data.content)) as file:
        assert 1 < file.getnframes() / file.getframerate() < 8
    heard = hear(speaking, "local/whisper-base", [audio["url"]])
    output = heard["output"]
    assert output["task_metrics"] == {"TOTAL": 1, "SUCCEEDED": 1, "FAILED": 0}
    assert output["results"][0]["subtask_status"] == "SUCCEEDED"
    assert output["results"][0]["file_url"] == audio["url"]
    told = httpx.get(output["results"][0]["transcription_url"]).json()
    assert told["file_url"] == audio["url"]
    words = set(re.findall("[a-z]+", told["transcripts"][0]["text"].lower()))
    assert {"good", "morning", "weather", "very", "nice", "today"} <= words
    sentence = told["transcripts"][0]["sentences"][0]
    assert "weather" in [word["text"] for word in sentence["words"]]
    assert (
        0
        <= sentence["begin_time"]
        < sentence["words"][-1]["end_time"]
        <= told["properties"]["original_duration_in_milliseconds"] + 100
    )
    assert told["properties"]["original_sampling_rate"] == 22_050
    settled = receipt(speaking, heard_request(speaking, output["task_id"]))
    assert settled["usage"]["audio_seconds"] == heard["usage"]["duration"]


def heard_request(served: Served, task_id: str) -> str:
    """The request id of the call that submitted a task."""
    found = httpx.get(f"{served.origin}/api/v1/tasks?task_id={task_id}", headers=served.headers()).json()
    return str(found["data"][0]["request_id"])


@pytest.mark.parametrize("kind", ["wav", "pcm", "mp3"])
def test_formats_and_rates(speaking: Served, kind: str) -> None:
    """Twice as fast is about half as long."""
    lengths = []
    for rate in (1, 2):
        data = httpx.get(speak(speaking, format=kind, rate=rate)["output"]["audio"]["url"]).content
        if kind == "pcm":
            lengths.append(len(data) / 2 / 22_050)
            continue
        with av.open(io.BytesIO(data)) as file:
            lengths.append(float(file.duration or 0) / 1e6)
    assert 1.5 < lengths[0] / lengths[1] < 2.5


def test_qwen_tts_on_the_multimodal_path(speaking: Served, there: TaskVendor) -> None:
    """As the SDK calls it: by the model's kind, at a vendor whose link is not seen."""
    for model in ("local/piper-joe", "there-tts"):
        answer = ask(speaking, MULTIMODAL, {"model": model, "input": {"text": TEXT, "voice": "Cherry"}})
        assert answer.status_code == 200, answer.text
        url = answer.json()["output"]["audio"]["url"]
        assert url.startswith(speaking.origin + "/o/")
        assert httpx.get(url).headers["content-type"] == "audio/wav"
    assert httpx.get(url).content == there.sound
    settled = receipt(speaking, answer.json()["request_id"])
    # 100 characters at 100 yuan a million
    assert (settled["usage"]["prompt_tokens"], settled["settlement"]["cost_micros"]) == (100, 10_000)


def test_heard_by_a_vendor(speaking: Served, there: TaskVendor) -> None:
    """Own files are carried to it, its links are copied and none of its hosts is seen; one deaf file does not spoil the others."""
    link = upload(speaking, sound(2))
    shown = hear(speaking, "there-asr", [link, "https://example.com/deaf.mp3"])
    assert shown["output"]["task_metrics"] == {"TOTAL": 2, "SUCCEEDED": 1, "FAILED": 1}
    well, deaf = shown["output"]["results"]
    assert well["file_url"] == link
    told = httpx.get(well["transcription_url"]).json()
    assert (told["file_url"], told["transcripts"][0]["text"]) == (link, "hello from the vendor")
    assert (deaf["subtask_status"], deaf["code"], deaf["file_url"]) == (
        "FAILED",
        "InvalidFile.DecodeFailed",
        "https://example.com/deaf.mp3",
    )
    sent = list(there.bodies.values())[-1]["input"]["file_urls"]
    assert there.uploads[sent[0].removeprefix("oss://")] == sound(2)
    assert there.origin not in json.dumps(shown)
    settled = receipt(speaking, heard_request(speaking, shown["output"]["task_id"]))
    assert (settled["usage"]["audio_seconds"], settled["settlement"]["cost_micros"]) == (61, 610_000)


def test_qwen_transcription_tells_one_result(speaking: Served) -> None:
    """`file_url` in, `result` out."""
    spoken = speak(speaking)["output"]["audio"]["url"]
    shown = hear(speaking, "local/whisper-base", spoken)
    assert "results" not in shown["output"]
    assert "weather" in httpx.get(shown["output"]["result"]["transcription_url"]).text


def test_what_cannot_be_heard(speaking: Served) -> None:
    """Fails, says why, and costs nothing; a good file beside it is heard."""
    broken = upload(speaking, b"RIFF....WAVEfmt nothing", "broken.wav")
    text = upload(speaking, b"not a sound", "a.txt")
    failed = hear(speaking, "local/whisper-base", [broken, text])
    assert (failed["output"]["task_status"], failed["output"]["code"]) == ("FAILED", "InvalidFile.DecodeFailed")
    good = speak(speaking)["output"]["audio"]["url"]
    mixed = hear(speaking, "local/whisper-base", [broken, good, "http://127.0.0.1/a.wav"])["output"]
    assert [one["subtask_status"] for one in mixed["results"]] == ["FAILED", "SUCCEEDED", "FAILED"]
    assert mixed["results"][2]["code"] == "BadRequest.InputDownloadFailed"
    assert "private" in mixed["results"][2]["explanation"]["en"]


@pytest.mark.parametrize(
    ("path", "asked", "headers", "part"),
    [
        (SPEECH, {}, {}, "input.text"),
        (SPEECH, {"text": " "}, {}, "input.text"),
        (SPEECH, {"text": 5}, {}, "input.text"),
        (SPEECH, {"text": "x" * 10_001}, {}, "10000 characters"),
        (SPEECH, {"text": "x", "format": "flac"}, {}, "wav, pcm, mp3"),
        (SPEECH, {"text": "x", "rate": 9}, {}, "[0.5, 2]"),
        (SPEECH, {"text": "x", "volume": "loud"}, {}, "[0, 100]"),
        (SPEECH, {"text": "x"}, {"X-DashScope-SSE": "enable"}, "stream"),
        (SPEECH, {"text": "你好"}, {}, "English alone"),
        (SPEECH, {"text": "!!!"}, {}, "spoken"),
        (TRANSCRIPTIONS, {"file_urls": ["https://x/y.wav"]}, {}, "synchronous"),
        (TRANSCRIPTIONS, {}, {"X-DashScope-Async": "enable"}, "input.file_urls"),
        (TRANSCRIPTIONS, {"file_urls": "x"}, {"X-DashScope-Async": "enable"}, "input.file_urls"),
        (TRANSCRIPTIONS, {"file_urls": ["https://x"] * 101}, {"X-DashScope-Async": "enable"}, "100 links"),
    ],
)
def test_refusals(speaking: Served, path: str, asked: dict[str, Any], headers: dict[str, str], part: str) -> None:
    """Each names the field."""
    model = "local/piper-joe" if path == SPEECH else "local/whisper-base"
    answer = ask(speaking, path, {"model": model, "input": asked}, **headers)
    assert answer.status_code in (400, 403), answer.text
    assert part in answer.text


def test_by_the_command_line(speaking: Served, tmp_path: Path) -> None:
    """Spoken to a file, heard from the file; a document uploaded, listed, saved and deleted."""
    flags = ("--base-url", f"{speaking.origin}/v1", "--api-key", speaking.key)

    def cli(*words: str) -> str:
        return speaking.installation.cli(*words).stdout

    sound_file = tmp_path / "fox.mp3"
    assert cli("speech", "create", TEXT, "--format", "mp3", "--out", str(sound_file), *flags).strip() == str(sound_file)
    assert "weather" in cli("speech", "transcribe", str(sound_file), *flags)
    told = json.loads(cli("speech", "transcribe", str(sound_file), "--language", "en", "--json", *flags))
    assert told["transcripts"][0]["language"] == "en"
    paper = tmp_path / "论文.md"
    paper.write_text("# 杆秤")
    file_id = cli("files", "upload", str(paper), *flags).strip()
    listed = json.loads(cli("files", "list", "--purpose", "file-extract", "--json", *flags))
    assert [one["filename"] for one in listed] == ["论文.md"]
    cli("files", "save", file_id, str(tmp_path / "copy.md"), *flags)
    assert (tmp_path / "copy.md").read_text() == "# 杆秤"
    assert "deleted" in cli("files", "delete", file_id, *flags)
    assert json.loads(cli("files", "list", "--json", "--purpose", "file-extract", *flags)) == []
