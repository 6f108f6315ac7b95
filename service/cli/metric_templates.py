"""`opportune metric templates`: metrics that everybody knows, as YAML to be used or changed."""

import click

from service.catalog.findings import did_you_mean
from service.catalog.metric_templates import TEMPLATES, yaml_of


@click.command("templates")
@click.argument("name", required=False)
def templates(name: str | None) -> None:
    """Print what templates stand for.

    Each is a metric of a catalog as it is; `{template: NAME}` is short for it: opportune metric templates
    average_order_value. Without NAME all are printed.
    """
    if name is not None and name not in TEMPLATES:
        hint = did_you_mean(name, TEMPLATES) or "`opportune metric templates` lists them"
        raise click.BadParameter(f"there is no template '{name}': {hint}", param_hint="NAME")
    chosen = TEMPLATES if name is None else (name,)
    click.echo("metrics:\n" + "".join(map(yaml_of, chosen)), nl=False)
