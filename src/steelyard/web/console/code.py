"""The code of a call in the languages that people write: it runs as pasted, with a key in place of the browser's token."""

import json
import pprint
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from steelyard.web.console.modes import CHAT, EMBEDDINGS, IMAGES, PREFIX, RERANK, VIDEOS, Mode

VARIABLE = "DASHSCOPE_API_KEY"
FIRST_QUESTION = "用js写一个1-100的随机函数"
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Call:
    """One call: where it goes, its body, and with what key; without one the code reads it from the environment."""

    mode: Mode
    body: dict[str, Any]
    base_url: str
    key: str = ""

    def quoted_key(self, read: str) -> str:
        """The key as a literal, or the expression that reads it."""
        return f'"{self.key}"' if self.key else read

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.base_url}{PREFIX}{self.mode.path}"

    @property
    def json(self) -> str:
        """The body, laid out."""
        return json.dumps(self.body, ensure_ascii=False, indent=2)


def first_call(base_url: str, key: str, model: str) -> Call:
    """What a newcomer pastes."""
    body = {"model": model, "messages": [{"role": "user", "content": FIRST_QUESTION}]}
    return Call(CHAT, body, base_url, key)


def code_of(call: Call) -> tuple[tuple[str, str], ...]:
    """(language, code) of a call, in every language that has an SDK for it or HTTP."""
    found = ((name, write(call)) for name, write in _LANGUAGES.items())
    return tuple((name, code) for name, code in found if code)


# what both SDKs call the operations; what they have none for goes by their plain `post`
_METHODS = {
    CHAT: "client.chat.completions.create",
    EMBEDDINGS: "client.embeddings.create",
    IMAGES: "client.images.generate",
    VIDEOS: "client.videos.create",
}
_SHOWN = {
    CHAT: "answer.choices[0].message.content",
    EMBEDDINGS: "answer.data[0].embedding",
    RERANK: "answer",
    IMAGES: "answer.data[0].url",
    VIDEOS: "answer.id",
}
#: Fields that the vendor has and the openai package does not know.
_EXTRA = ("enable_thinking", "thinking_budget", "enable_search", "top_k", "repetition_penalty")


def _curl(call: Call) -> str:
    body = call.json.replace("'", "'\\''")
    return (
        f'curl {call.url} \\\n  -H "Authorization: Bearer {call.key or "$" + VARIABLE}" \\\n'
        f"  -H \"Content-Type: application/json\" \\\n  -d '{body}'"
    )


def _literal(value: Any) -> str:
    return pprint.pformat(value, width=WIDTH, sort_dicts=False)


def _arguments(fields: dict[str, Any]) -> str:
    return "".join(
        f"    {name}={_literal(value).replace(chr(10), chr(10) + '    ')},\n" for name, value in fields.items()
    )


def _python_openai(call: Call) -> str:
    key = call.quoted_key(f'os.environ["{VARIABLE}"]')
    head = ("" if call.key else "import os\n\n") + (
        f'from openai import OpenAI\n\nclient = OpenAI(api_key={key}, base_url="{call.base_url}{PREFIX}")\n'
    )
    if call.mode not in _METHODS:
        asked = _literal(call.body)
        return f'{head}answer = client.post("{call.mode.path}", cast_to=object, body={asked})\nprint(answer)'
    fields = {name: value for name, value in call.body.items() if name not in _EXTRA and name != "stream"}
    extra = {name: value for name, value in call.body.items() if name in _EXTRA}
    fields |= {"extra_body": extra} if extra else {}
    return f"{head}answer = {_METHODS[call.mode]}(\n{_arguments(fields)})\nprint({_SHOWN[call.mode]})"


def _has_pictures(call: Call) -> bool:
    return any(isinstance(one.get("content"), list) for one in call.body.get("messages", ()))


def _native_parts(message: dict[str, Any]) -> dict[str, Any]:
    """A message with parts as the native API writes them."""
    content = message["content"]
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    native = [
        {"image": one["image_url"]["url"]} if one["type"] == "image_url" else {"text": one["text"]} for one in parts
    ]
    return {**message, "content": native}


def _python_dashscope(call: Call) -> str:
    body = {name: value for name, value in call.body.items() if name not in ("stream", "max_completion_tokens")}
    shown = "answer.output"
    if call.mode is CHAT:
        name, shown = "Generation", "answer.output.choices[0].message.content"
        if _has_pictures(call):
            name = "MultiModalConversation"
            body["messages"] = [_native_parts(one) for one in body["messages"]]
        else:
            body["result_format"] = "message"
    elif call.mode is EMBEDDINGS:
        name, shown = "TextEmbedding", 'answer.output["embeddings"][0]["embedding"]'
        body = {("dimension" if field == "dimensions" else field): value for field, value in body.items()}
    elif call.mode is RERANK:
        name = "TextReRank"
    elif call.mode in (IMAGES, VIDEOS):
        name = "ImageSynthesis" if call.mode is IMAGES else "VideoSynthesis"
        body = {field: value for field, value in body.items() if field in ("model", "prompt", "n", "size")}
        if "size" in body:
            body["size"] = str(body["size"]).replace("x", "*")
    key = call.quoted_key(f'os.environ["{VARIABLE}"]')
    return ("" if call.key else "import os\n\n") + (
        f'import dashscope\n\ndashscope.base_http_api_url = "{call.base_url}/api/v1"\n'
        f"answer = dashscope.{name}.call(\n    api_key={key},\n{_arguments(body)})\nprint({shown})"
    )


def _node(call: Call) -> str:
    key = call.quoted_key(f"process.env.{VARIABLE}")
    head = (
        'import OpenAI from "openai";\n\n'
        f'const client = new OpenAI({{ apiKey: {key}, baseURL: "{call.base_url}{PREFIX}" }});\n'
    )
    body = json.dumps({name: one for name, one in call.body.items() if name != "stream"}, ensure_ascii=False, indent=2)
    asked = (
        f"{_METHODS[call.mode]}({body})"
        if call.mode in _METHODS
        else f'client.post("{call.mode.path}", {{ body: {body} }})'
    )
    return f"{head}const answer = await {asked};\nconsole.log({_SHOWN[call.mode]});"


def _java(call: Call) -> str:
    key = call.quoted_key(f'System.getenv("{VARIABLE}")')
    body = call.json.replace("\\", "\\\\").replace('"""', '\\"""')
    return f'''import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class Main {{
    public static void main(String[] args) throws Exception {{
        String body = """
{_indent(body, 16)}
                """;
        HttpRequest request = HttpRequest.newBuilder(URI.create("{call.url}"))
                .header("Authorization", "Bearer " + {key})
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
        HttpResponse<String> answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.body());
    }}
}}'''


def _go(call: Call) -> str:
    key = call.quoted_key(f'os.Getenv("{VARIABLE}")')
    reads = "" if call.key else '\n\t"os"'
    body = call.json.replace("`", '` + "`" + `')
    return f'''package main

import (
	"fmt"
	"io"
	"net/http"{reads}
	"strings"
)

func main() {{
	body := `{body}`
	request, err := http.NewRequest("POST", "{call.url}", strings.NewReader(body))
	if err != nil {{
		panic(err)
	}}
	request.Header.Set("Authorization", "Bearer "+{key})
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {{
		panic(err)
	}}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {{
		panic(err)
	}}
	fmt.Println(string(text))
}}'''


def _csharp(call: Call) -> str:
    key = call.quoted_key(f'Environment.GetEnvironmentVariable("{VARIABLE}")')
    fence = '"' * max(3, _longest_run(call.json) + 1)
    return f'''using System.Net.Http.Headers;
using System.Text;

var body = {fence}
{call.json}
{fence};
using var client = new HttpClient();
client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", {key});
var answer = await client.PostAsync(
    "{call.url}",
    new StringContent(body, Encoding.UTF8, "application/json"));
Console.WriteLine(await answer.Content.ReadAsStringAsync());'''


def _indent(text: str, width: int) -> str:
    return "\n".join(" " * width + line for line in text.splitlines())


def _longest_run(text: str) -> int:
    """The most quotes in a row."""
    longest = run = 0
    for one in text:
        run = run + 1 if one == '"' else 0
        longest = max(longest, run)
    return longest


_LANGUAGES: dict[str, Callable[[Call], str]] = {
    "curl": _curl,
    "Python · openai": _python_openai,
    "Python · dashscope": _python_dashscope,
    "Node": _node,
    "Java": _java,
    "Go": _go,
    "C#": _csharp,
}
