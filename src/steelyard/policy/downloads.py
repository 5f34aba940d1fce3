"""Why a link could not be used, told twice: in the vendor's words, which programs look for, and in ours, which help. Pure.

Source: source-facts.md, questions 2 and 3; errors.md 2.4.
"""

from typing import Any

from steelyard.canon.task import TaskFailure

#: The vendor's own (code, message), verbatim.
FAILED = ("BadRequest.InputDownloadFailed", "Reference image download failed, please check image url.")
LATE = (
    "InvalidParameter.DataInspection",
    "Download the media resource timed out during the data inspection process.",
)
#: cause -> (what happened, what to do), each in English and Chinese; `{host}` and the like are filled in.
TEXTS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "incomplete_url": (
        ("The link is not a complete URL.", "链接不是完整的 URL。"),
        ("Write it whole, with https:// and the host, without blanks or credentials.", "请写完整链接，包含 https:// 与主机名，不含空格或账号信息。"),
    ),
    "scheme": (
        ("Only http and https links are followed.", "只支持 http 与 https 链接。"),
        ("Put the file behind an https link, or upload it.", "请使用 https 链接，或先上传文件。"),
    ),
    "host_denied": (
        ("The operator does not let {host} be asked.", "管理员不允许访问 {host}。"),
        ("Ask the operator ([outbound] only_hosts, deny_hosts), or upload the file.", "联系管理员（[outbound] only_hosts、deny_hosts），或先上传文件。"),
    ),
    "private_address": (
        ("{host} lies in a private network.", "{host} 位于内网。"),
        ("Use a public link, upload the file, or have the operator list the host in [outbound] private_hosts.", "使用公网链接、先上传文件，或请管理员将其加入 [outbound] private_hosts。"),
    ),
    "dns": (
        ("The name {host} is not known.", "域名 {host} 无法解析。"),
        ("Check the host's spelling.", "检查域名拼写。"),
    ),
    "refused": (
        ("{host} refuses connections.", "{host} 拒绝连接。"),
        ("Check the port, and whether the server runs.", "检查端口以及服务是否运行。"),
    ),
    "tls": (
        ("{host} has no valid certificate.", "{host} 的证书无效。"),
        ("Mend its certificate, or use another host.", "修复证书，或更换主机。"),
    ),
    "unauthorized": (
        ("{host} demands a permission ({status}).", "{host} 需要权限（{status}）。"),
        ("Make the link public, or sign it for a longer time.", "将链接设为公开，或使用有效期更长的签名链接。"),
    ),
    "not_found": (
        ("{host} has nothing there ({status}).", "{host} 上没有该文件（{status}）。"),
        ("Check the path; the file may have been deleted.", "检查路径；文件可能已被删除。"),
    ),
    "status": (
        ("{host} answered {status}.", "{host} 返回 {status}。"),
        ("Open the link in a browser and try again.", "用浏览器打开链接确认后重试。"),
    ),
    "not_an_image": (
        ("What the link leads to is no usable picture: {reason}.", "链接内容不是可用的图片：{reason}。"),
        ("Link the picture itself, not a page; PNG, JPEG, WebP, BMP and GIF are read.", "链接应直接指向图片文件而非网页；支持 PNG、JPEG、WebP、BMP、GIF。"),
    ),
    "not_a_recording": (
        ("What the link leads to is no usable film or sound: {reason}.", "链接内容不是可用的视频或音频：{reason}。"),
        ("Link the file itself, not a page; MP4, MOV, WebM, MP3, WAV, FLAC and OGG are read.", "链接应直接指向文件而非网页；支持 MP4、MOV、WebM、MP3、WAV、FLAC、OGG。"),
    ),
    "too_big": (
        ("The file has {bytes} bytes, over the limit of {limit}.", "文件有 {bytes} 字节，超过上限 {limit}。"),
        ("Compress it, or have the operator raise [outbound] max_bytes.", "压缩文件，或请管理员调大 [outbound] max_bytes。"),
    ),
    "timed_out": (
        ("{host} sent {bytes} bytes in {seconds} s and was not done.", "{host} 在 {seconds} 秒内只传了 {bytes} 字节，未完成。"),
        (
            "A host in another region is often too slow: move the file near this server, upload it, or ask for more with X-Steelyard-Download-Timeout (seconds).",
            "跨地域的主机往往过慢：把文件放到离本服务近的地方，或先上传，或用请求头 X-Steelyard-Download-Timeout（秒）延长。",
        ),
    ),
    "broken": (
        ("{host} broke off after {bytes} bytes.", "{host} 在传输 {bytes} 字节后中断。"),
        ("Try again; if it stays, use another host.", "重试；若仍失败请更换主机。"),
    ),
    "redirects": (
        ("{host} redirects in circles, or nowhere.", "{host} 循环重定向，或重定向无目标。"),
        ("Use the link that the redirects end at.", "使用重定向最终指向的链接。"),
    ),
    "not_yours": (
        ("The file is not this workspace's, or its time is over.", "文件不属于当前业务空间，或已过期。"),
        ("Upload it again with a key of this workspace.", "用当前业务空间的密钥重新上传。"),
    ),
    "not_resolved": (
        ("oss:// links are resolved only with the header X-DashScope-OssResourceResolve: enable.", "oss:// 链接需要请求头 X-DashScope-OssResourceResolve: enable。"),
        ("Send that header, as the SDKs do.", "发送该请求头（SDK 会自动发送）。"),
    ),
}  # fmt: skip


def explain(cause: str, **values: Any) -> dict[str, Any]:
    """What happened and what to do, in both languages, with what was measured.

    Args:
        values: `host`, `status`, `bytes`, `seconds`, `limit`, `reason`, as far as known.
    """
    what, cure = TEXTS[cause]
    places = {"host": "", "status": "", "bytes": 0, "seconds": 0, "limit": "", "reason": "", **values}
    if isinstance(places["seconds"], float):
        places["seconds"] = f"{places['seconds']:.1f}"
    told = {name: value for name, value in values.items() if value not in ("", 0, None)}
    if isinstance(told.get("seconds"), float):
        told["seconds"] = round(told["seconds"], 2)
    return {
        "cause": cause,
        **told,
        "explanation": {"en": what[0].format(**places), "zh": what[1].format(**places)},
        "cure": {"en": cure[0].format(**places), "zh": cure[1].format(**places)},
    }


def failure_of(cause: str, **values: Any) -> TaskFailure:
    """A task's failure for a link that could not be used."""
    code, message = LATE if cause == "timed_out" else FAILED
    return TaskFailure(code=code, message=message, detail=explain(cause, **values))
