"""Pictures, films, uploads and files with the unmodified dashscope SDK. What is saved is opened."""

import gzip
import io
import json
import urllib.request
from pathlib import Path
from typing import Any

import av
import dashscope
import pytest
from dashscope import BatchTextEmbedding, Files, ImageSynthesis, MultiModalConversation, VideoSynthesis
from dashscope.aigc.image_generation import ImageGeneration
from dashscope.api_entities.dashscope_response import Message
from dashscope.audio.asr import Transcription
from dashscope.audio.http_tts import HttpSpeechSynthesizer
from dashscope.audio.qwen_asr import QwenTranscription
from dashscope.audio.qwen_tts import SpeechSynthesizer
from PIL import Image

from conftest import TARGETS

POSTER, CAMERA = "local/poster", "local/camera-motion"
MODEL_OF: Any = {"model": POSTER, "n": 1, "size": "512*384"}


@pytest.fixture(autouse=True)
def pointed() -> None:
    dashscope.base_http_api_url = TARGETS["served"]["origin"] + "/api/v1"
    dashscope.api_key = TARGETS["served"]["key"]


def picture_at(url: str) -> Image.Image:
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("image/")
        return Image.open(io.BytesIO(answer.read()))


@pytest.fixture(scope="module")
def first_frame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frames") / "first.png"
    Image.new("RGB", (640, 480), (20, 90, 160)).save(path)
    return path


def check_film(url: str, width: int, height: int, seconds: int, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=20) as answer:
        path.write_bytes(answer.read())
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", width, height)
        assert abs(float(film.duration or 0) / 1e6 - seconds) < 0.2


def test_image_call() -> None:
    answer = ImageSynthesis.call(prompt="a lighthouse", **(MODEL_OF | {"n": 2}))
    assert answer.status_code == 200, answer
    assert answer.output.task_status == "SUCCEEDED"
    assert len(answer.output.results) == 2
    assert answer.usage.image_count == 2
    for one in answer.output.results:
        assert picture_at(one.url).size == (512, 384)


def test_image_async_wait_list() -> None:
    submitted = ImageSynthesis.async_call(prompt="a harbour", **MODEL_OF)
    assert submitted.output.task_status == "PENDING"
    done = ImageSynthesis.wait(submitted)
    assert done.output.task_status == "SUCCEEDED"
    assert done.output.task_metrics["SUCCEEDED"] == 1
    fetched = ImageSynthesis.fetch(submitted)
    assert fetched.output.results == done.output.results
    listed = ImageSynthesis.list(model_name=POSTER, page_size=50)
    assert submitted.output.task_id in [one["task_id"] for one in listed.output["data"]]


def test_cancel_of_a_finished_task() -> None:
    done = ImageSynthesis.call(prompt="x", **MODEL_OF)
    answer = ImageSynthesis.cancel(done)
    assert (answer.status_code, answer.code) == (400, "UnsupportedOperation")


def test_cancel_of_a_waiting_task() -> None:
    """The slots are full of films, so the last one waits for certain."""
    films = [
        VideoSynthesis.async_call(model=CAMERA, prompt="pan", img_url=None, duration=4, resolution="480P")
        for _ in range(5)
    ]
    answer = VideoSynthesis.cancel(films[-1])
    assert answer.status_code == 200, answer
    assert VideoSynthesis.fetch(films[-1]).output.task_status == "CANCELED"
    for one in films[:-1]:
        VideoSynthesis.cancel(one)


def test_unknown_task() -> None:
    answer = ImageSynthesis.fetch("0d9a6d2e-0000-4000-8000-000000000000")
    assert (answer.status_code, answer.output.task_status) == (200, "UNKNOWN")


def test_video_from_a_local_first_frame(first_frame: Path, tmp_path: Path) -> None:
    submitted = VideoSynthesis.async_call(
        model=CAMERA, prompt="zoom in slowly", img_url=f"file://{first_frame}", resolution="480P", duration=2
    )
    assert submitted.status_code == 200, submitted
    done = VideoSynthesis.wait(submitted)
    assert done.output.task_status == "SUCCEEDED", done
    width, height = (int(side) for side in done.usage["size"].split("*"))
    assert (done.usage["SR"], done.usage["duration"]) == (480, 2)
    assert abs(width / height - 640 / 480) < 0.03
    check_film(done.output.video_url, width, height, 2, tmp_path / "film.mp4")


def test_own_link_as_first_frame(tmp_path: Path) -> None:
    picture = ImageSynthesis.call(prompt="hills", **MODEL_OF).output.results[0].url
    done = VideoSynthesis.call(model=CAMERA, prompt="pan left", img_url=picture, resolution="480P", duration=1)
    assert done.output.task_status == "SUCCEEDED", done
    width, height = (int(side) for side in done.usage["size"].split("*"))
    check_film(done.output.video_url, width, height, 1, tmp_path / "film.mp4")


def test_wrong_link() -> None:
    done = VideoSynthesis.call(
        model=CAMERA, prompt="x", img_url="http://127.0.0.1:9/no.png", resolution="480P", duration=1
    )
    assert (done.status_code, done.output.task_status) == (200, "FAILED")
    assert done.output["code"] == "BadRequest.InputDownloadFailed"
    assert "Reference image download failed" in done.output["message"]


def test_image_generation() -> None:
    message = Message(role="user", content=[{"text": "a bridge"}])
    done = ImageGeneration.call(model=POSTER, messages=[message], n=1, size="512*512")
    assert done.status_code == 200, done
    assert picture_at(done.output.choices[0].message.content[0]["image"]).size == (512, 512)
    submitted = ImageGeneration.async_call(model=POSTER, messages=[message], n=1, size="512*512")
    waited = ImageGeneration.wait(submitted)
    assert waited.output.task_status == "SUCCEEDED"
    assert waited.output.finished
    assert picture_at(waited.output.choices[0].message.content[0]["image"]).size == (512, 512)


def test_qwen_image_style() -> None:
    messages = [{"role": "user", "content": [{"text": "一座桥"}]}]
    answer = MultiModalConversation.call(model=POSTER, messages=messages, size="512*256")
    assert answer.status_code == 200, answer
    assert picture_at(answer.output.choices[0].message.content[0]["image"]).size == (512, 256)


def test_local_file_in_a_conversation(first_frame: Path) -> None:
    """An image editor's way: a picture from disk goes up by policy and is named by oss://."""
    messages = [{"role": "user", "content": [{"image": f"file://{first_frame}"}, {"text": "make it brighter"}]}]
    answer = MultiModalConversation.call(model=POSTER, messages=messages, size="512*256")
    assert answer.status_code == 200, answer


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"a": 1}\n')
    made = Files.upload(str(path), description="lines")
    assert made.status_code == 200, made
    file_id = made.output["uploaded_files"][0]["file_id"]
    got = Files.get(file_id)
    assert (got.output["name"], got.output["size"], got.output["description"]) == ("lines.jsonl", 9, "lines")
    assert file_id in [one["file_id"] for one in Files.list(page_size=50).output["files"]]
    with urllib.request.urlopen(got.output["url"], timeout=10) as answer:
        assert answer.read() == b'{"a": 1}\n'
    assert Files.delete(file_id).status_code == 200
    assert Files.get(file_id).status_code == 404


def test_batch_embeddings(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"text number {n}\n" for n in range(25)))
    file_id = Files.upload(str(path), purpose="inference").output["uploaded_files"][0]["file_id"]
    url = Files.get(file_id).output["url"]
    done = BatchTextEmbedding.call(model="fake", url=url, text_type="document")
    assert done.output.task_status == "SUCCEEDED", done
    assert done.usage.total_tokens > 0
    with urllib.request.urlopen(done.output.url, timeout=10) as answer:
        rows = [json.loads(row) for row in gzip.decompress(answer.read()).splitlines()]
    assert [row["text_index"] for row in rows] == list(range(25))
    assert len(rows[0]["embedding"]) > 1


#: Heard rightly 65 times of 65: the voice never says a text twice in the same way, and the small model mishears rarer words.
SAID = "Good morning. The weather is very nice today."


def test_speech_and_its_text(tmp_path: Path) -> None:
    """Spoken by both ways, heard by both ways."""
    spoken = SpeechSynthesizer.call(model="local/piper-joe", text=SAID, voice="joe")
    assert spoken.status_code == 200, spoken
    assert spoken.output.finish_reason == "stop"
    url = spoken.output.audio["url"]
    with urllib.request.urlopen(url, timeout=20) as answer, av.open(io.BytesIO(answer.read())) as file:
        assert file.streams.audio[0].codec_context.name == "pcm_s16le"
    again = HttpSpeechSynthesizer.call(model="local/piper-joe", text=SAID, voice="joe", audio_format="mp3")
    assert again.status_code == 200, again.message
    assert again.audio_url.split("?")[0].endswith(".mp3")
    heard = Transcription.call(model="local/whisper-base", file_urls=[url, again.audio_url], language_hints=["en"])
    assert heard.output.task_status == "SUCCEEDED", heard
    texts = []
    for one in heard.output["results"]:
        with urllib.request.urlopen(one["transcription_url"], timeout=20) as answer:
            texts.append(json.load(answer)["transcripts"][0]["text"].lower())
    for text in texts:
        assert "good morning" in text
        assert "weather is very nice today" in text
    one = QwenTranscription.call(model="local/whisper-base", file_url=url)
    assert one.output.task_status == "SUCCEEDED", one
    assert one.output["result"]["transcription_url"]


def test_a_local_recording(tmp_path: Path) -> None:
    """The SDK uploads it, and names it by an `oss://` address."""
    spoken = SpeechSynthesizer.call(model="local/piper-joe", text=SAID, voice="joe")
    path = tmp_path / "said.wav"
    with urllib.request.urlopen(spoken.output.audio["url"], timeout=20) as answer:
        path.write_bytes(answer.read())
    file_id = Files.upload(file_path=str(path), purpose="inference").output["uploaded_files"][0]["file_id"]
    heard = Transcription.call(model="local/whisper-base", file_urls=[f"fileid://{file_id}"])
    assert heard.output.task_status == "SUCCEEDED", heard


def test_a_document_by_its_file_id(tmp_path: Path) -> None:
    """As Qwen-Long is asked: the document's text reaches the model."""
    path = tmp_path / "paper.md"
    path.write_text("# 杆秤\n\n秤杆上刻着星点。", "utf-8")
    file_id = Files.upload(file_path=str(path), purpose="file-extract").output["uploaded_files"][0]["file_id"]
    messages = [
        {"role": "system", "content": f"fileid://{file_id}"},
        {"role": "user", "content": "what is in it?"},
    ]
    answer = dashscope.Generation.call(model="fake", messages=messages, result_format="message")
    assert answer.status_code == 200, answer
    with urllib.request.urlopen(f"http://127.0.0.1:{TARGETS['vendor']['port']}/_seen", timeout=10) as seen:
        body = json.load(seen)["calls"][-1]["body"]
    assert "秤杆上刻着星点" in json.dumps(body, ensure_ascii=False)
