"""Errors that people meet in the console."""

from steelyard.base.catalogue.row import IRE, Row


def _refusal(
    slug: str, status: int, message: str, cause: tuple[str, str], cure: tuple[str, str], **more: object
) -> Row:
    kind = "authentication_error" if status == 401 else "permission_error"
    return Row(slug, status, IRE, slug, "AccessDenied", message, cause, cure, anthropic_type=kind, **more)  # type: ignore[arg-type]


ROWS: tuple[Row, ...] = (
    _refusal(
        "sign_in_needed",
        401,
        "Nobody is signed in.",
        ("The console's session has ended, or there was none.", "控制台会话已结束，或尚未登录。"),
        ("Sign in again.", "请重新登录。"),
    ),
    _refusal(
        "sign_in_failed",
        401,
        "Name or password is wrong.",
        (
            "There is no member of this name with this password, or the member is disabled.",
            "用户名或密码不正确，或该成员已被停用。",
        ),
        (
            "Try again; an owner can set a new password, and `steelyard quickstart` prints a one-time link to whoever may read the data directory.",
            "请重试；所有者可以重设密码；能读取数据目录的人可用 `steelyard quickstart` 打印一次性链接。",
        ),
    ),
    _refusal(
        "sign_in_throttled",
        429,
        "Too many wrong passwords: wait {seconds} s.",
        (
            "This name, or this address, was tried with wrong passwords too often.",
            "该用户名或该地址的密码错误次数过多。",
        ),
        ("Wait as long as it says, then try again.", "请等待提示的时间后再试。"),
        is_retryable=True,
    ),
    _refusal(
        "sign_on_failed",
        502,
        "Signing in at the identity provider failed: {detail}",
        (
            "The provider does not answer, refuses, or said something that is not for this server.",
            "身份提供方没有响应、拒绝登录，或其答复不属于本服务器。",
        ),
        (
            "Try again; an operator compares [console.oidc] with what the provider has registered.",
            "请重试；运营人员请核对 [console.oidc] 与提供方登记的内容。",
        ),
    ),
    _refusal(
        "ticket_invalid",
        403,
        "The link was used already or has expired.",
        ("A one-time link opens once, within 15 minutes.", "一次性链接在 15 分钟内有效，且只能使用一次。"),
        ("`steelyard quickstart` prints a new one.", "用 `steelyard quickstart` 打印新的链接。"),
    ),
    _refusal(
        "invitation_invalid",
        403,
        "The invitation was used already or has expired.",
        ("An invitation is for one person, and for seven days.", "邀请链接仅供一人使用，七天内有效。"),
        ("Ask an owner for a new one.", "请所有者重新发送邀请。"),
    ),
    _refusal(
        "registration_closed",
        403,
        "Registration is closed here.",
        ("The operator has not opened registration.", "管理员没有开放注册。"),
        (
            'Ask an owner for an invitation; the operator opens registration by `[console] registration = "open"`.',
            '请向所有者索取邀请；管理员可设置 `[console] registration = "open"` 开放注册。',
        ),
    ),
    _refusal(
        "form_foreign",
        403,
        "The form was not sent from a page of this console.",
        (
            "Its token is missing or of another session, or another site sent it.",
            "表单令牌缺失、属于其他会话，或由其他网站提交。",
        ),
        ("Open the page again and send the form from there.", "请重新打开页面再提交。"),
    ),
    _refusal(
        "role_too_low",
        403,
        "This takes the role {role}.",
        ("The member's role does not allow it.", "成员的角色没有此权限。"),
        ("Ask an owner to do it, or for a higher role.", "请所有者代为操作，或申请更高的角色。"),
    ),
    _refusal(
        "workspace_not_seen",
        403,
        "The workspace is not open to you.",
        ("The member was given other workspaces.", "该成员没有被授权访问此业务空间。"),
        ("Ask an owner for access to it.", "请所有者授权。"),
    ),
    _refusal(
        "login_taken",
        409,
        "Somebody is a member under this name already.",
        ("Names are unique.", "用户名不能重复。"),
        ("Take another name, or sign in.", "请换一个用户名，或直接登录。"),
    ),
    _refusal(
        "last_owner",
        409,
        "An installation keeps at least one owner who can sign in.",
        ("The change would leave nobody who may manage members.", "此操作会导致没有可登录的所有者。"),
        ("Make another member an owner first.", "请先把其他成员设为所有者。"),
    ),
)
