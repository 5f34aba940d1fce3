"""Errors of single parameters: type, range, support. Source: errors.md 2.1."""

from steelyard.base.catalogue.row import IRE, Row, bad_parameter

_RANGE = ("The value lies outside the range.", "取值超出范围。")
_INTO_RANGE = ("Bring the value into the range that the message names.", "把取值调整到提示的范围内。")

ROWS: tuple[Row, ...] = (
    bad_parameter(
        "parameter_type",
        "'{field}' must be {type}",
        (
            "The JSON type is wrong, a string where a number is due for example.",
            "JSON 类型不对，例如该传数字却传了字符串。",
        ),
        ("Send the type that the message names, without quotes for numbers.", "按提示的类型传值，数字不要加引号。"),
        aliases=("'temperature' must be Float", "temperature must be Float", "'top_p' must be Float"),
    ),
    bad_parameter("temperature_range", "Temperature should be in [0.0, 2.0)", _RANGE, _INTO_RANGE),
    bad_parameter("top_p_range", "Range of top_p should be (0.0, 1.0]", _RANGE, _INTO_RANGE),
    bad_parameter("top_k_range", "Parameter top_k be greater than or equal to 0", _RANGE, _INTO_RANGE),
    bad_parameter("repetition_penalty_range", "Repetition_penalty should be greater than 0.0", _RANGE, _INTO_RANGE),
    bad_parameter("presence_penalty_range", "Presence_penalty should be in [-2.0, 2.0]", _RANGE, _INTO_RANGE),
    bad_parameter("frequency_penalty_range", "Frequency_penalty should be in [-2.0, 2.0]", _RANGE, _INTO_RANGE),
    bad_parameter("n_range", "Range of n should be [1, 4]", _RANGE, _INTO_RANGE),
    bad_parameter(
        "n_with_tools",
        "The n parameter must be 1 when tools are used",
        ("`n` above 1 was combined with `tools`.", "同时使用了 tools 和大于 1 的 n。"),
        ("Leave `n` out, or send no tools.", "去掉 n，或不传 tools。"),
    ),
    bad_parameter(
        "seed_range",
        "{value} is {relation} of {bound} - 'seed'",
        ("`seed` lies outside 0 to 2147483647.", "seed 超出 0 到 2147483647。"),
        _INTO_RANGE,
        code="invalid_value",
        aliases=("-1 is lesser than the minimum of 0 - 'seed'",),
    ),
    bad_parameter(
        "seed_range_native",
        "Range of seed should be [0, 9223372036854775807]",
        ("`seed` lies outside 0 to 9223372036854775807.", "seed 超出 0 到 9223372036854775807。"),
        _INTO_RANGE,
        code="invalid_value",
    ),
    bad_parameter(
        "field_missing",
        "{field}: Field required",
        ("A required field is absent.", "缺少必填字段。"),
        ("Send the field that the message names.", "补上提示中的字段。"),
    ),
    bad_parameter(
        "dimensions_range",
        "Range of dimensions should be one of the model's own; it must be a whole number of 1 or more.{detail}",
        ("The model has no vectors of that length.", "模型不支持该向量维度。"),
        ("Leave it out, or ask for one of the model's dimensions.", "不传该参数，或改用模型支持的维度。"),
    ),
    bad_parameter(
        "top_n_range",
        "Range of top_n should be [1, the number of documents]",
        _RANGE,
        _INTO_RANGE,
    ),
    bad_parameter(
        "embedding_input_empty",
        "Value error, contents must not be empty: input.contents",
        ("A text is empty, or there is none.", "文本为空，或没有文本。"),
        ("Send at least one text, and none that is empty.", "至少传一条文本，且不可为空。"),
    ),
    bad_parameter(
        "documents_too_many",
        "Range of documents should be [1, {limit}]",
        ("More documents than one call takes.", "单次请求的文档过多。"),
        ("Split the documents over several calls.", "分批请求。"),
    ),
    bad_parameter(
        "not_carried",
        "The model `{model}` is served over the {api} API here, which has no place for `{field}`.",
        (
            "The call came by one API, the model is behind another, and the field cannot be said there.",
            "请求所用的 API 与模型上游的 API 不同，该字段在上游没有对应项。",
        ),
        (
            "Leave the field out, call a model whose provider takes it, or let the route drop it (`routes set --unsupported drop`).",
            "去掉该字段、换用支持它的模型，或让路由忽略它（`routes set --unsupported drop`）。",
        ),
    ),
    bad_parameter(
        "seed_type",
        "'seed' must be Integer",
        ("`seed` is not an integer.", "seed 不是整数。"),
        ("Send a whole number.", "传入整数。"),
        code="invalid_value",
    ),
    bad_parameter(
        "max_tokens_range",
        "Range of max_tokens should be [1, {limit}]",
        ("`max_tokens` is below 1 or above what the model can write.", "max_tokens 小于 1 或超过模型上限。"),
        ("Lower it, or leave it out.", "调小，或不传。"),
    ),
    bad_parameter(
        "top_logprobs_range",
        "Range of top_logprobs should be [0, 5], and logprobs must be true",
        ("`top_logprobs` is out of range or `logprobs` is off.", "top_logprobs 超出范围，或未打开 logprobs。"),
        ("Send `logprobs: true` with 0 to 5.", "传 logprobs: true，并取 0 到 5。"),
    ),
    bad_parameter(
        "input_too_long",
        "Range of input length should be [1, {limit}]",
        ("The prompt is longer than the model's window.", "输入超过模型的上下文长度。"),
        ("Trim the history, or use a model with a longer window.", "精简输入，或换用上下文更长的模型。"),
        aliases=(
            "context_length_exceeded",
            "This model's maximum context length is",
            "exceeds the available context size",
        ),
    ),
    bad_parameter(
        "stop_type",
        'The "stop" parameter must be of type "str", "list[str]", "list[int]", or "list[list[int]]", '
        "and all elements within the list must be of the same type.",
        ("`stop` mixes types.", "stop 混用了不同类型。"),
        ("Send one type.", "元素使用同一类型。"),
    ),
    bad_parameter(
        "tools_not_supported",
        "The tool call is not supported.",
        ("The model cannot call tools.", "该模型不支持工具调用。"),
        ("Choose a model with tool calling.", "换用支持工具调用的模型。"),
    ),
    bad_parameter(
        "tools_invalid",
        'Each item of tools must be an object with type "function" and a function that has a name.{detail}',
        ("`tools` is not a list of function tools.", "tools 不是函数工具的列表。"),
        ("Follow the tools section of the reference.", "参照文档修正 tools。"),
    ),
    bad_parameter(
        "tool_choice_invalid",
        'tool_choice is one of the strings that should be ["none", "auto"]',
        (
            "`tool_choice` has an unknown value or names no tool of the call.",
            "tool_choice 取值未知，或指向了未声明的工具。",
        ),
        (
            "Use auto, none, required or an object that names one of the tools.",
            "使用 auto、none、required，或指向已声明工具的对象。",
        ),
    ),
    bad_parameter(
        "tool_choice_thinking",
        "The tool_choice parameter does not support being set to required or object in thinking mode",
        ("A tool was forced while the model thinks.", "思考模式下强制指定了工具。"),
        ("Set enable_thinking to false.", "关闭思考模式。"),
    ),
    bad_parameter(
        "tool_name_reserved",
        "Tool names are not allowed to be [search]",
        ("`search` is a reserved tool name.", "search 是保留的工具名。"),
        ("Rename the tool.", "更改工具名。"),
    ),
    bad_parameter(
        "json_word_missing",
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        ("JSON mode needs the word json in the prompt.", "JSON 模式要求提示词中出现 json。"),
        ("Say in the prompt that you want JSON.", "在提示词中说明需要 JSON。"),
    ),
    bad_parameter(
        "response_format_invalid",
        "Unknown format of response_format, response_format should be a dict, includes 'type' and an optional key "
        "'json_schema'. The response_format type from user is {type}.",
        ("`response_format` has an unknown shape.", "response_format 的形式未知。"),
        (
            'Send {"type": "text" | "json_object"} or a json_schema with a name and a schema.',
            '传 {"type": "text" | "json_object"}，或带 name 与 schema 的 json_schema。',
        ),
    ),
    bad_parameter(
        "json_schema_invalid",
        "Invalid schema for response_format: {detail}",
        ("The JSON schema cannot be used to constrain the answer.", "JSON Schema 无法用于约束输出。"),
        ("Correct the schema; the message names the place.", "按提示的位置修正 schema。"),
    ),
    bad_parameter(
        "json_mode_thinking",
        "Json mode response is not supported when enable_thinking is true",
        ("JSON mode and thinking were both asked for.", "同时要求了 JSON 模式和思考。"),
        ("Use one of them.", "二选一。"),
    ),
    bad_parameter(
        "thinking_needs_stream",
        "parameter.enable_thinking must be set to false for non-streaming calls",
        ("The model thinks only in streams.", "该模型仅在流式调用中支持思考。"),
        ("Stream, or set enable_thinking to false.", "使用流式，或关闭思考。"),
        aliases=("only support stream call",),
    ),
    bad_parameter(
        "thinking_not_supported",
        "The model {model} does not support enable_thinking.",
        ("The model cannot think.", "该模型不支持思考。"),
        ("Drop the field.", "去掉该参数。"),
        code="InvalidParameter.NotSupportEnableThinking",
        native_code="InvalidParameter.NotSupportEnableThinking",
    ),
    bad_parameter(
        "thinking_only",
        "The value of the enable_thinking parameter is restricted to True.",
        ("The model always thinks.", "该模型只能思考。"),
        ("Set enable_thinking to true or drop it.", "设为 true 或去掉。"),
    ),
    bad_parameter(
        "thinking_budget_range",
        "The thinking_budget parameter must be a positive integer and not greater than {limit}",
        _RANGE,
        _INTO_RANGE,
    ),
    bad_parameter(
        "stream_only",
        "This model only support stream mode, please enable the stream parameter to access the model. ",
        ("The model answers in streams only.", "该模型仅支持流式输出。"),
        ("Set `stream` to true.", "设置 stream 为 true。"),
        aliases=("current user api does not support http call.",),
    ),
    bad_parameter(
        "audio_needs_stream",
        "'audio' output only support with stream=true",
        ("Audio output was asked without a stream.", "非流式调用要求了音频输出。"),
        ("Set `stream` to true.", "设置 stream 为 true。"),
    ),
    bad_parameter(
        "search_not_supported",
        "This model does not support enable_search.",
        ("The model has no web search behind it.", "该模型没有联网搜索。"),
        ("Drop enable_search.", "去掉 enable_search。"),
    ),
    bad_parameter(
        "prompt_type",
        "The prompt parameter must be a string.",
        ("`prompt` is a list of several texts or of token ids.", "prompt 是多段文本或 token 编号的列表。"),
        ("Send one string.", "传入一个字符串。"),
    ),
    bad_parameter(
        "embedding_batch",
        "<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it should not be larger than "
        "{limit}.: input.contents",
        ("Too many texts in one embedding call.", "单次向量化的文本过多。"),
        ("Split into batches.", "分批调用。"),
        aliases=("batch size is invalid",),
    ),
    bad_parameter(
        "embedding_input_type",
        "Value error, contents is neither str nor list of str.: input.contents",
        ("Token ids were sent (LangChain's default).", "传入了 token 编号（LangChain 的默认行为）。"),
        (
            "Send text; in LangChain set check_embedding_ctx_length=False.",
            "传入文本；LangChain 中设 check_embedding_ctx_length=False。",
        ),
    ),
    Row(
        "parameter_invalid",
        400,
        IRE,
        "invalid_parameter_error",
        "InvalidParameter",
        "{detail}",
        ("A parameter was refused.", "某个参数被拒绝。"),
        ("Follow the message.", "按提示修改。"),
    ),
)
