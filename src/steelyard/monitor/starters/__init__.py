"""What monitoring starts with: rules, dashboards for Grafana and its provisioning. The server's own rules are among them."""

from importlib import resources

from steelyard.base.jsondoor import encode
from steelyard.monitor.starters.dashboards import DASHBOARDS, make_dashboard

READY_RULES = "rules.yml"
DATASOURCE, PROVIDER = "datasource.yml", "provider.yml"


def read_starter(name: str) -> str:
    """One of the files."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def list_starters(url: str, lang: str) -> dict[str, bytes]:
    """Every file that `monitor init` writes: its path and its content.

    Args:
        url: of the server, for Grafana's data source.
        lang: of the dashboards' titles, "en" or "zh".
    """
    files = {
        "rules/steelyard.yml": read_starter(READY_RULES).encode(),
        "grafana/provisioning/datasources/steelyard.yml": read_starter(DATASOURCE).replace("URL", url).encode(),
        "grafana/provisioning/dashboards/steelyard.yml": read_starter(PROVIDER).encode(),
    }
    for one in DASHBOARDS:
        files[f"grafana/dashboards/{one.name}.json"] = encode(make_dashboard(one, lang))
    return files
