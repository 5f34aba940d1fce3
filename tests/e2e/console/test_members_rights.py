"""Who may do what in the console."""

import re
from pathlib import Path
from types import SimpleNamespace

from installation import Installation
from people import Person
from steelyard.canon.members import ROLES

#: In place of services that a list of acts has no need of.
HOLLOW = SimpleNamespace(bases=None, documents=None, retriever=None)
LINKS = SimpleNamespace(monitor=None, embed=None, list_processes=None, identity_provider=None)


def test_roles(house: Installation, owner: Person) -> None:
    """Every act of the console, tried by every role: refused below its own, never refused for the role from there on."""
    from steelyard.web.console.apps_room import AppServices
    from steelyard.web.console.console import Console, ConsoleRules

    rules = ConsoleRules("closed", "developer", "", "viewer", True, 1, "http://x", {}, Path(), dict)
    acts = Console(None, None, None, None, None, HOLLOW, AppServices(None, None, None), LINKS, b"k" * 32, rules).acts  # type: ignore[arg-type]
    people = {role: owner.invite(role) if role != "owner" else Person(house).found("matrix") for role in ROLES}
    tokens = {role: person.token() for role, person in people.items()}
    tried = 0
    for act in acts:
        if act.role is None or act.path == "/console/sign-out":
            continue
        path = re.sub(r"\{\w+(:path)?\}", "none", act.path)
        for role, person in people.items():
            if act.method == "GET":
                answer = person.get(path)
            else:
                answer = person.http.post(path, data={"form_token": tokens[role]})
            is_refused = answer.status_code == 403 and "role_too_low" in answer.text
            assert is_refused == (ROLES.index(role) < ROLES.index(act.role)), (act.method, act.path, role)
            assert answer.status_code < 500, (act.method, act.path, role, answer.text)
            tried += 1
    assert tried > 100


def test_a_viewer_changes_nothing(house: Installation, owner: Person) -> None:
    """Whatever changes something but one's own account takes more than a viewer."""
    from steelyard.canon.members import VIEWER
    from steelyard.web.console.apps_room import AppServices
    from steelyard.web.console.console import Console, ConsoleRules

    rules = ConsoleRules("closed", "developer", "", "viewer", False, 1, "http://x", {}, Path(), dict)
    own = {"/console/sign-out", "/console/workspace", "/console/settings/account"}
    for act in Console(
        None, None, None, None, None, HOLLOW, AppServices(None, None, None), LINKS, b"k" * 32, rules
    ).acts:  # type: ignore[arg-type]
        if act.method != "GET" and act.role == VIEWER:
            assert act.path in own, act.path


def test_workspaces_stay_apart(house: Installation, owner: Person) -> None:
    """Who was given one workspace sees nothing of another, by no page and no address."""
    assert owner.post("/console/settings/workspaces", name="apart").status_code == 303
    key = house.create_key("--workspace", "default", name="of-default")
    member = owner.invite("operator", "apart")
    assert "of-default" not in member.get("/console/settings/keys").text
    assert member.get(f"/console/settings/keys/{key['id']}").status_code == 404
    assert member.post(f"/console/settings/keys/{key['id']}/delete").status_code == 404
    assert member.post("/console/workspace", workspace="default").status_code == 403
    assert member.get("/console/settings/workspaces/default").status_code == 403
    assert member.post("/console/settings/workspaces/default/limits", rpm="1").status_code == 403
    assert member.post("/console/settings/workspaces", name="another").status_code == 403
    for path in ("/console/providers", "/console/providers/new", "/console/settings/audit"):
        assert member.get(path).status_code == 403, path
        assert f'href="{path}"' not in member.get("/console/").text
    assert member.post("/console/providers/fake/remove").status_code == 403
    assert member.post("/console/settings/keys", name="mine", kind="admin").status_code == 403
    admin = house.create_key("--kind", "admin", "--workspace", "apart", name="admin-of-apart")
    assert member.post(f"/console/settings/keys/{admin['id']}/rotate").status_code == 403
    assert "of-default" not in member.get("/console/playground").text
    assert member.post("/console/playground/token", key=key["id"], model="priced").status_code == 404


def test_developers_reach_no_admin_key(house: Installation, owner: Person) -> None:
    """Nobody becomes an admin by replacing an admin's key."""
    admin = house.create_key("--kind", "admin", name="the-admin")
    developer = owner.invite("developer")
    for act in ("rotate", "delete", "disable", "limits", "token"):
        assert developer.post(f"/console/settings/keys/{admin['id']}/{act}").status_code == 403
    assert developer.post("/console/settings/keys", name="mine", kind="admin").status_code == 403
    assert developer.post("/console/playground/token", key=admin["id"], model="priced").status_code == 404
    assert developer.post("/console/settings/keys", name="mine").status_code == 200
