"""gatewayctl dashboard: the link to the web chat."""

from urllib.parse import quote

import click

from gatewayd.ctl.output import print_json
from gatewayd.ctl.target import Target, pass_target, target_options


@click.command(epilog='Example: xdg-open "$(gatewayctl dashboard)"')
@target_options
@pass_target
def command(target: Target) -> None:
    """Print the link to the web chat, with the token.

    The token stands behind the `#`, which browsers never send. Whoever has the link can talk
    to the agent.
    """
    if target.is_foreign:
        page = target.address.replace("ws", "http", 1).rstrip("/") + "/"
    else:
        page = f"http://127.0.0.1:{target.port}/"
    token, _ = target.secrets()
    link = f"{page}#token={quote(token, safe='')}" if token else page
    if target.json:
        print_json({"url": link})
        return
    click.echo(link)
    if not token:
        click.echo("No token is configured: the page asks for the password.", err=True)
