"""Errors of the request's shape: path, method, body, messages. Source: errors.md 2.1."""

from steelyard.base.catalogue.row import IRE, Row, bad_parameter

ROWS: tuple[Row, ...] = (
    bad_parameter(
        "body_invalid",
        "Required body invalid, please check the request body format.{detail}",
        ("The body is not a JSON object.", "请求体不是合法的 JSON 对象。"),
        (
            "Correct the JSON: a stray comma, an open bracket, full-width quotes or a wrong encoding are the usual faults.",
            "修正请求体 JSON：常见原因是多余的逗号、未闭合的括号、全角引号或编码错误。",
        ),
        aliases=(
            "Required body invalid",
            "The request body is not valid JSON",
            "BadRequest.IllegalInput",
            "The input parameter requires json format.",
        ),
    ),
    bad_parameter(
        "body_too_complex",
        "Required body invalid, please check the request body format. The JSON is nested or itemised beyond the limit.",
        ("The JSON is nested too deeply or has too many elements.", "JSON 嵌套过深或元素过多。"),
        ("Flatten the document or split the call.", "减少嵌套层数，或拆成多次调用。"),
    ),
    bad_parameter(
        "model_missing",
        "you must provide a model parameter.",
        ("`model` is absent, null or empty.", "缺少 model，或其值为 null、空字符串。"),
        (
            'Set `model`, for example "qwen-plus"; GET /v1/models lists the names.',
            '填写 model，例如 "qwen-plus"；可用 GET /v1/models 查看名称。',
        ),
        code=None,
        native_code="BadRequest.EmptyModel",
        aliases=('Required parameter "model" missing from request.', "you must provide a model parameter"),
    ),
    bad_parameter(
        "input_missing",
        "Required input parameter missing from request.",
        ("A flat body was sent to a native path.", "向原生接口发送了扁平的请求体。"),
        ("Nest the messages under `input`.", "把内容放进 input。"),
        native_code="BadRequest.EmptyInput",
    ),
    bad_parameter(
        "parameters_missing",
        'Required parameter "parameters" missing from request.',
        ("`parameters` is absent.", "缺少 parameters。"),
        ("Add `parameters`, an empty object will do.", "补上 parameters，可为空对象。"),
        native_code="BadRequest.EmptyParameters",
    ),
    bad_parameter(
        "messages_empty",
        "[] is too short - 'messages'",
        ("`messages` is an empty list.", "messages 是空列表。"),
        ("Send at least one message.", "至少传入一条消息。"),
        aliases=("[] is too short",),
    ),
    bad_parameter(
        "prompt_and_messages_missing",
        'Either "prompt" or "messages" must exist and cannot both be none',
        (
            "Neither `prompt` nor `messages` was sent, or they were nested in the wrong place.",
            "prompt 与 messages 都没有，或嵌套位置不对。",
        ),
        (
            "Send `messages` (chat) or `prompt` (completions) at the top level.",
            "在顶层传入 messages（对话）或 prompt（补全）。",
        ),
    ),
    bad_parameter(
        "content_missing",
        "The content field is a required field.",
        ("A message has no `content`.", "某条消息缺少 content。"),
        ("Give every message a `content`.", "为每条消息补充 content。"),
    ),
    bad_parameter(
        "content_not_text",
        "input content must be a string.",
        (
            "A list with image, audio or video parts went to a text-only model.",
            "向纯文本模型传入了图片、音频或视频内容。",
        ),
        ("Choose a multimodal model or send a string.", "换用多模态模型，或改传字符串。"),
        aliases=("Unexpected item type in content", "Invalid part type."),
    ),
    bad_parameter(
        "message_invalid",
        "Each item of messages must be an object with a role and content.{detail}",
        (
            "An entry of `messages` is not an object or its fields have the wrong type.",
            "messages 的某一项不是对象，或字段类型不对。",
        ),
        ('Send {"role": "user", "content": "..."} objects.', '传入 {"role": "user", "content": "..."} 形式的对象。'),
    ),
    bad_parameter(
        "role_invalid",
        "Role must be in [system, user, assistant, tool].",
        ("A message has an unknown `role`.", "某条消息的 role 未知。"),
        ("Use system, developer, user, assistant or tool.", "使用 system、developer、user、assistant 或 tool。"),
        aliases=("Role must be in [user, assistant]", "InternalError.Algo"),
    ),
    bad_parameter(
        "user_message_missing",
        "The input messages do not contain elements with the role of user.",
        ("Only system or assistant messages were sent.", "只有 system 或 assistant 消息。"),
        ("Add a user message.", "添加一条 user 消息。"),
    ),
    bad_parameter(
        "last_message_not_user",
        "list index out of range",
        ("The history ends with an assistant message.", "历史以 assistant 消息结尾。"),
        (
            'End with a user message, or mark the last assistant message `"partial": true`.',
            '以 user 消息结尾，或给最后一条 assistant 消息加 "partial": true。',
        ),
    ),
    bad_parameter(
        "tool_message_orphan",
        'messages with role "tool" must be a response to a preceeding message with "tool_calls"',
        (
            "A tool message does not follow the assistant message that made the call.",
            "tool 消息之前没有带 tool_calls 的 assistant 消息。",
        ),
        ("Send the assistant message with its tool_calls first.", "先回传带 tool_calls 的 assistant 消息。"),
        aliases=("preceding message with tool_calls",),
    ),
    bad_parameter(
        "tool_arguments_invalid",
        'The "function.arguments" parameter of the code model must be in JSON format.',
        ("An echoed tool call carries arguments that are not JSON.", "回传的工具调用参数不是 JSON。"),
        ("Send `{}` where there are none.", "没有参数时传 {}。"),
    ),
    bad_parameter(
        "tool_calls_repeated",
        "Repetitive tool calls detected in the conversation history. Please break the loop.",
        ("The same tool call stands in the history again and again.", "历史中反复出现同一工具调用。"),
        ("Break the loop in your agent.", "在智能体中终止循环。"),
        native_code="InternalError.Algo.InvalidParameter",
    ),
    bad_parameter(
        "method_not_supported",
        "Request method '{method}' is not supported.",
        ("The path exists, but not with this HTTP method.", "路径存在，但不支持该 HTTP 方法。"),
        ("Use the method of the reference page (mostly POST).", "使用文档中的方法（多为 POST）。"),
        aliases=("Method Not Allowed", "Request method 'GET' is not supported."),
    ),
    Row(
        "path_not_found",
        404,
        IRE,
        None,
        "NotFound",
        "Not found!{detail}",
        (
            "No operation answers at this path; a doubled or missing `/v1` is usual.",
            "该路径没有对应的接口，常见原因是 /v1 重复或缺失。",
        ),
        (
            "Base URL: ORIGIN/compatible-mode/v1 (or ORIGIN/v1); the client adds /chat/completions.",
            "基础地址为 ORIGIN/compatible-mode/v1（或 ORIGIN/v1），客户端会自行加上 /chat/completions。",
        ),
        anthropic_type="not_found_error",
        aliases=("404 page not found", "Not Found", "Unknown path"),
    ),
)
