"""Lines that work as pasted: the same first call in several languages."""


def samples(base_url: str, key: str, model: str) -> tuple[tuple[str, str], ...]:
    """(name, code) of a first chat call."""
    values = {"base": base_url, "key": key, "model": model}
    return tuple((name, code.format(**values)) for name, code in _SAMPLES)


_SAMPLES = (
    (
        "curl",
        """curl {base}/compatible-mode/v1/chat/completions \\
  -H "Authorization: Bearer {key}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "用js写一个1-100的随机函数"}}]}}'""",
    ),
    (
        "Python · openai",
        """from openai import OpenAI

client = OpenAI(api_key="{key}", base_url="{base}/compatible-mode/v1")
answer = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "用js写一个1-100的随机函数"}}],
)
print(answer.choices[0].message.content)""",
    ),
    (
        "Python · dashscope",
        """import dashscope

dashscope.base_http_api_url = "{base}/api/v1"
answer = dashscope.Generation.call(
    api_key="{key}",
    model="{model}",
    messages=[{{"role": "user", "content": "用js写一个1-100的随机函数"}}],
    result_format="message",
)
print(answer.output.choices[0].message.content)""",
    ),
    (
        "Node",
        """import OpenAI from "openai";

const client = new OpenAI({{ apiKey: "{key}", baseURL: "{base}/compatible-mode/v1" }});
const answer = await client.chat.completions.create({{
  model: "{model}",
  messages: [{{ role: "user", content: "用js写一个1-100的随机函数" }}],
}});
console.log(answer.choices[0].message.content);""",
    ),
)
