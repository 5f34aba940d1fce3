"""千问（Qwen） 对话：先整段，再流式。

默认调用本机的 steelyard；要直接调用厂商，设置环境变量即可，代码不变：

    STEELYARD_BASE_URL=https://dashscope.aliyuncs.com/compatible-mode/v1 STEELYARD_API_KEY=你的密钥 STEELYARD_MODEL=厂商的模型名 python examples/qwen_chat.py
"""

import os

from steelyard.client import ApiError, Steelyard

# 地址、密钥、模型名都取自环境变量；密钥不要写进代码
BASE_URL = os.environ.get("STEELYARD_BASE_URL", "http://127.0.0.1:8090/v1")
API_KEY = os.environ.get("STEELYARD_API_KEY") or os.environ.get("DASHSCOPE_API_KEY", "")
MODEL = os.environ.get("STEELYARD_MODEL", "qwen-plus")


def main() -> None:
    """问一个问题，打印回答与用量。"""
    with Steelyard(BASE_URL, API_KEY) as client:
        # 整段回答：出错会抛出 ApiError，里面有原因与解决办法
        reply = client.chat(MODEL, "用一句话介绍天平。", max_tokens=64)
        print("回答：", reply.text)
        if reply.usage is not None:
            print("用量：", reply.usage.prompt_tokens, "+", reply.usage.completion_tokens, "tokens")
        if reply.target.startswith("local/"):
            print("提示：当前由内置小模型", reply.target, "代答；配置厂商后即由厂商模型回答。")

        # 流式回答：一段一段地来，最后一段带用量
        print("流式：", end="", flush=True)
        for delta in client.stream(MODEL, "用一句话介绍天平。", max_tokens=64):
            print(delta.text, end="", flush=True)
        print()


if __name__ == "__main__":
    try:
        main()
    except ApiError as error:
        cause, cure = error.explained("zh")
        raise SystemExit(f"调用失败（{error.status}）：{error}\n原因：{cause}\n办法：{cure}") from None
