"""The tables as they are now. How older databases get here is in `migrations/`; a test holds the two equal."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text

#: SQLite numbers rows by itself only where the key is INTEGER.
_RowId = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

workspace = Table(
    "workspace",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
    Column("activated_us", BigInteger),
    Column("free_tokens_granted", BigInteger, nullable=False),
    Column("free_tokens_left", BigInteger, nullable=False),
    #: JSON; null where nothing was said
    Column("policy", Text),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("masked", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("operations", Text, nullable=False),
    Column("networks", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("is_disabled", Boolean, nullable=False),
    #: JSON; null sets none
    Column("limits", Text),
    #: the key that this one goes back to by rotation: they share one budget
    Column("lineage", Text),
    #: an access key's secret, sealed: signatures are computed with it
    Column("sealed_secret", Text),
    #: JSON list; null allows all
    Column("tools", Text),
    Index("ix_api_key_workspace", "workspace"),
    Index("ix_api_key_workspace_created_us_id", "workspace", "created_us", "id"),
)

receipt = Table(
    "receipt",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("is_stream", Boolean, nullable=False),
    Column("status", Integer, nullable=False),
    Column("error", Text),
    Column("outcome", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("first_token_us", BigInteger),
    Column("hold_tokens", BigInteger, nullable=False),
    Column("hold_micros", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("is_estimated", Boolean, nullable=False),
    Column("counted_tokens", BigInteger, nullable=False),
    Column("price_version", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("cost_micros", BigInteger, nullable=False),
    Column("free_tokens_used", BigInteger, nullable=False),
    Column("charged_micros", BigInteger, nullable=False),
    Column("client_request_id", Text),
    Column("settled_us", BigInteger, nullable=False),
    Column("image_count", BigInteger, nullable=False, server_default="0"),
    Column("video_seconds", BigInteger, nullable=False, server_default="0"),
    Column("audio_seconds", BigInteger, nullable=False, server_default="0"),
    #: JSON list; null where the first attempt answered
    Column("failed_attempts", Text),
    #: JSON list of the budgets' accounts that it was settled in
    Column("accounts", Text),
    #: the call that it is a part of
    Column("parent", Text),
    Index("ix_receipt_parent", "parent"),
    Index("ix_receipt_workspace_started_us", "workspace", "started_us"),
    Index("ix_receipt_started_us", "started_us"),
    Index("ix_receipt_settled_us", "settled_us"),
)

#: What was used: by model a day, by key a month (UTC). Sums of receipts, added in the transaction that settles them.
used_sum = Table(
    "used_sum",
    metadata,
    Column("workspace", Text, primary_key=True),
    #: "model" or "key"
    Column("kind", Text, primary_key=True),
    #: when the day or the month began
    Column("since_us", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("failed_calls", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("free_tokens_used", BigInteger, nullable=False),
    Column("charged_micros", BigInteger, nullable=False),
    #: both kinds together: who used the most is found by it
    Column("tokens", BigInteger, nullable=False),
    Index("ix_used_sum_workspace_kind_since_us_tokens", "workspace", "kind", "since_us", "tokens"),
)

account = Table(
    "account",
    metadata,
    Column("name", Text, primary_key=True),
    #: spent before it was opened; `settled` counts it in
    Column("opened_with", BigInteger, nullable=False),
    Column("settled", BigInteger, nullable=False),
    Column("ends_us", BigInteger),
)

lease = Table(
    "lease",
    metadata,
    Column("account", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("granted", BigInteger, nullable=False),
)

provider = Table(
    "provider",
    metadata,
    Column("name", Text, primary_key=True),
    Column("spec", Text, nullable=False),
    Column("api_key", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

route = Table(
    "route",
    metadata,
    Column("model", Text, primary_key=True),
    Column("spec", Text, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)

key_network = Table(
    "key_network",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("network", Text, primary_key=True),
    Column("first_us", BigInteger, nullable=False),
)

revocation = Table(
    "revocation",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("expires_us", BigInteger, nullable=False),
)

change = Table(
    "change",
    metadata,
    Column("id", _RowId, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)

replay = Table(
    "replay",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_digest", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("answer", LargeBinary),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_replay_created_us", "created_us"),
)

response = Table(
    "response",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    #: JSON: the response as it was told, and the items of the conversation up to it
    Column("body", LargeBinary, nullable=False),
    Column("items", LargeBinary, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_response_created_us", "created_us"),
)

object_ = Table(
    "object",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    #: null keeps it until it is deleted
    Column("keep_until_us", BigInteger),
    #: a higher one makes older links void
    Column("link_epoch", Integer, nullable=False),
    Index("ix_object_digest", "digest"),
    Index("ix_object_keep_until_us", "keep_until_us"),
    Index("ix_object_workspace_created_us", "workspace", "created_us"),
)

file = Table(
    "file",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_file_workspace_created_us", "workspace", "created_us"),
)

#: What was uploaded under an `oss://` address.
upload = Table(
    "upload",
    metadata,
    Column("key", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)

task = Table(
    "task",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("status", Text, nullable=False),
    #: which workers' slots it takes: "local", "vendor" or "calls"
    Column("lane", Text, nullable=False),
    #: the worker that has it; '' while it waits for one, '-' once it is over
    Column("owner", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("ready_us", BigInteger, nullable=False),
    #: how often it was claimed: whoever finishes it names the claim that it had
    Column("attempt", Integer, nullable=False),
    Column("ask", LargeBinary, nullable=False),
    #: JSON, the runner's own: what it must know after a restart
    Column("notes", Text),
    Column("target", Text, nullable=False),
    Column("done_count", Integer, nullable=False),
    Column("total_count", Integer, nullable=False),
    Column("outcome", LargeBinary),
    Column("failure", Text),
    Column("is_cancelling", Boolean, nullable=False),
    #: JSON: what of budgets is held for it, [account, amount]
    Column("holds", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("started_us", BigInteger),
    Column("ended_us", BigInteger),
    Column("deadline_us", BigInteger, nullable=False),
    #: null keeps it without end, once it is over
    Column("keep_until_us", BigInteger),
    Index("ix_task_owner_lane_priority", "owner", "lane", "priority"),
    Index("ix_task_workspace_created_us", "workspace", "created_us"),
    Index("ix_task_keep_until_us", "keep_until_us"),
)

worker = Table(
    "worker",
    metadata,
    Column("name", Text, primary_key=True),
    Column("beat_us", BigInteger, nullable=False),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", Text, primary_key=True),
    Column("task_id", Text, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    #: "waiting", "delivered" or "failed"
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_us", BigInteger, nullable=False),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_delivery_state_next_us", "state", "next_us"),
    Index("ix_delivery_task_id", "task_id"),
)

category = Table(
    "category",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("parent_id", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_category_workspace_created_us", "workspace", "created_us"),
)

document = Table(
    "document",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("category_id", Text, nullable=False),
    Column("category_type", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("parser", Text, nullable=False),
    #: JSON list
    Column("tags", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    #: the object with what it was parsed into; '' until then
    Column("blocks_id", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("modified_us", BigInteger, nullable=False),
    Index("ix_document_workspace_category_id_created_us", "workspace", "category_id", "created_us"),
)

knowledge_base = Table(
    "knowledge_base",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("name", Text, nullable=False),
    #: JSON
    Column("spec", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("modified_us", BigInteger, nullable=False),
    Index("ix_knowledge_base_workspace_created_us", "workspace", "created_us"),
)

base_document = Table(
    "base_document",
    metadata,
    Column("base_id", Text, primary_key=True),
    Column("document_id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    #: JSON
    Column("cutting", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("modified_us", BigInteger, nullable=False),
    Index("ix_base_document_document_id", "document_id"),
    Index("ix_base_document_job_id", "job_id"),
)

app = Table(
    "app",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("name", Text, nullable=False),
    #: JSON
    Column("draft", Text, nullable=False),
    #: 0 before the first version
    Column("published", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("modified_us", BigInteger, nullable=False),
    Index("ix_app_workspace_created_us", "workspace", "created_us"),
)

app_version = Table(
    "app_version",
    metadata,
    Column("app_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    #: JSON
    Column("spec", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

session_turn = Table(
    "session_turn",
    metadata,
    #: the request that it came with
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("app_id", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    #: JSON: what was asked and answered
    Column("messages", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Index("ix_session_turn_workspace_app_id_session_id_created_us", "workspace", "app_id", "session_id", "created_us"),
    Index("ix_session_turn_expires_us", "expires_us"),
)

plugin = Table(
    "plugin",
    metadata,
    Column("workspace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    #: JSON, secrets as references or sealed
    Column("spec", Text, nullable=False),
    #: JSON: the tools as they were approved
    Column("tools", Text, nullable=False),
    Column("is_enabled", Boolean, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("modified_us", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _RowId, primary_key=True, autoincrement=True),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

member = Table(
    "member",
    metadata,
    Column("id", Text, primary_key=True),
    Column("login", Text, nullable=False, unique=True),
    #: Argon2, with its parameters
    Column("password", Text, nullable=False),
    Column("role", Text, nullable=False),
    #: JSON list; an empty one sees all
    Column("workspaces", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("is_disabled", Boolean, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

#: Who members are at an identity provider: issuer and subject.
member_identity = Table(
    "member_identity",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("member_id", Text, nullable=False),
)

#: Wishes for higher limits, and what became of them.
quota_wish = Table(
    "quota_wish",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    #: JSON
    Column("limits", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decided_us", BigInteger),
    Column("answer", Text, nullable=False),
    Index("ix_quota_wish_workspace_asked_us", "workspace", "asked_us"),
)

#: Calls that workspaces keep whole, so that they can be asked again.
kept_call = Table(
    "kept_call",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    #: body and answer, under the master key
    Column("sealed", Text, nullable=False),
    Index("ix_kept_call_workspace_created_us", "workspace", "created_us"),
    Index("ix_kept_call_created_us", "created_us"),
)

console_session = Table(
    "console_session",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("member_id", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Index("ix_console_session_member_id", "member_id"),
    Index("ix_console_session_expires_us", "expires_us"),
)

invitation = Table(
    "invitation",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("role", Text, nullable=False),
    #: JSON list
    Column("workspaces", Text, nullable=False),
    Column("invited_by", Text, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)
